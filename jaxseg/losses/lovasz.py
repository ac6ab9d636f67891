"""The Lovasz losses: the Jaccard index as a function of sets, extended to real-valued errors."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxseg.batch import Array, Target
from jaxseg.losses import voxels


def lovasz_softmax(
  logits: Array,
  target: Target,
  *,
  classes: str = "present",
  batch: bool = True,
  hinge: bool = False,
  include_background: bool = True,
  class_weights: Sequence[float] | None = None,
  sigmoid: bool = False,
) -> jax.Array:
  """Lovasz-softmax: the Lovasz extension of 1 - Jaccard, at the errors |g - p|, mean over classes.

  It has no smoothing: at hard predictions it is 1 - Jaccard itself. A voxel's weight is its size
  as a member of the sets, so that ignored voxels are in none. Soft labels count in either set
  by their share.

  Args:
    logits: (b, *space, k), any float dtype.
    target: labels (b, *space) int, or (b, *space, k) soft or region labels; optional weight.
    classes: "present" leaves out, sample by sample, the classes that the truth hasn't; "all"
      counts them. With `sigmoid` all regions count, as no other channel punishes their false
      positives.
    batch: one value over the whole batch, as in the paper; False is the mean of one per sample.
    hinge: with `sigmoid`, the Lovasz hinge: errors max(0, 1 - z) and max(0, 1 + z) of the logit z
      instead of |g - p|.
    include_background: False leaves out class 0. With `sigmoid` every channel is a region of its
      own, and none is left out.
    class_weights: k factors of the classes' losses, before their mean (MONAI's); None means 1.
    sigmoid: k independent channels (regions) instead of k exclusive classes. A single channel is
      class 1 of integer labels.

  Returns:
    A float32 scalar.

  Source: Berman et al. 2018, 1705.08790.
  """
  if classes not in ("present", "all"):
    raise ValueError(f"lovasz_softmax: classes is '{classes}'; expected 'present' or 'all'.")
  if hinge and not sigmoid:
    raise ValueError("lovasz_softmax: hinge=True is for regions; it needs sigmoid=True.")
  logits, truth, weight = voxels.prepare(logits, target, sigmoid=sigmoid)
  if hinge:
    # between the two hinges for soft labels
    errors = truth * jax.nn.relu(1 - logits) + (1 - truth) * jax.nn.relu(1 + logits)
  else:
    errors = jnp.abs(truth - voxels.probabilities(logits, sigmoid=sigmoid))
  weight = jnp.broadcast_to(weight, truth.shape)
  errors, truth, weight = (_flat(x, batch=batch) for x in (errors, truth, weight))
  losses = jaccard_extension(errors, weight * truth, weight * (1 - truth))
  losses *= voxels.per_class(class_weights, losses, "class_weights")
  counted = jnp.ones_like(losses)
  if classes == "present" and not sigmoid:
    counted = jnp.where((weight * truth).sum(1) > 0, counted, 0)
  losses, counted = (
    voxels.foreground(x, include_background=include_background, sigmoid=sigmoid)
    for x in (losses, counted)
  )
  total = counted.sum(-1)
  return ((losses * counted).sum(-1) / jnp.where(total > 0, total, 1)).mean()


def _flat(values: jax.Array, *, batch: bool) -> jax.Array:
  """(b, *space, k) -> (b, n, k); (1, n, k) of the whole batch."""
  return values.reshape(1 if batch else values.shape[0], -1, values.shape[-1])


def jaccard_extension(errors: jax.Array, inside: jax.Array, outside: jax.Array) -> jax.Array:
  """The Lovasz extension of the Jaccard distance, (s, n, k) each -> (s, k).

  Args:
    errors: how wrong each voxel is, 0 or more.
    inside, outside: the voxel's size as a member of the true set, and as a non-member.

  With the errors in falling order, each is multiplied with the Jaccard distance that the voxel
  adds to that of the set of voxels before it.
  """
  order = jnp.argsort(errors, 1, descending=True)
  errors, inside, outside = (jnp.take_along_axis(x, order, 1) for x in (errors, inside, outside))
  true = inside.sum(1, keepdims=True)
  union = true + jnp.cumsum(outside, 1)
  hit = true - jnp.cumsum(inside, 1)
  union_before, hit_before = union - outside, hit + inside
  # hit_before / union_before - hit / union on one denominator: in float32 the difference of two
  # ratios near 1 would be mostly rounding once there are millions of voxels
  started = union_before > 0
  steps = (hit_before * outside + inside * union_before) / jnp.where(
    started, union_before * union, 1
  )
  # of a class that the truth hasn't, the first error makes the whole distance
  steps = jnp.where(started, steps, jnp.where(union > 0, 1, 0))
  return (errors * jax.lax.stop_gradient(steps)).sum(1)
