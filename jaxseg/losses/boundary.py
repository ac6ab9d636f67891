"""Boundary loss: probabilities weighed by their signed distance to the true border."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxseg.batch import Array, Target
from jaxseg.losses import voxels


def boundary(
  logits: Array,
  target: Target,
  *,
  include_background: bool = False,
  class_weights: Sequence[float] | None = None,
  sigmoid: bool = False,
) -> jax.Array:
  """Boundary loss: mean of p * phi, phi the signed distance to the true border, negative inside.

  Negative where the prediction is good, and flat: an empty prediction has the loss 0, a local
  minimum for small objects. It is meant to be added to a regional loss, with a weight that grows
  (`schedules`).

  Args:
    logits: (b, *space, k), any float dtype.
    target: labels (b, *space) int, or (b, *space, k) soft or region labels; optional weight; the
      map "distance", (b, *space, k) in millimetres, that `data.prepared.maps` makes
      (an absent class is 0 everywhere).
    include_background: False leaves out class 0. With `sigmoid` every channel is a region of its
      own, and none is left out.
    class_weights: k factors of the classes' losses, before their mean (MONAI's); None means 1.
    sigmoid: k independent channels (regions) instead of k exclusive classes.

  Returns:
    A float32 scalar, in millimetres: the mean over the classes and over the voxels of the batch
    that are not ignored. Raises ValueError without the map.

  Source: Kervadec et al. 2019, 1812.07032.
  """
  logits, _, weight = voxels.prepare(logits, target, sigmoid=sigmoid)
  phi = voxels.named_map(target, "distance", tuple(logits.shape), "boundary")
  return voxels.class_mean(
    voxels.probabilities(logits, sigmoid=sigmoid) * jnp.asarray(phi, jnp.float32),
    weight,
    include_background=include_background,
    class_weights=class_weights,
    sigmoid=sigmoid,
  )
