"""Focal loss."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxseg.batch import Array, Target
from jaxseg.losses import voxels


def focal(
  logits: Array,
  target: Target,
  *,
  gamma: float = 2.0,
  alpha: float | Sequence[float] | None = None,
  average: str = "voxels",
  class_weights: Sequence[float] | None = None,
  weight_map: str | None = None,
  sigmoid: bool = False,
) -> jax.Array:
  """Focal loss, -alpha (1 - p_t)^gamma log p_t, mean over voxels; gamma = 0 is cross entropy.

  Args:
    logits: (b, *space, k), any float dtype.
    target: labels (b, *space) int, or (b, *space, k) soft or region labels; optional weight.
    gamma: 0 or more; how little well-predicted voxels count.
    alpha: k numbers that multiply the loss of each class (with `sigmoid`, of each channel); or
      one number, for the foreground, and 1 - alpha for class 0 (for the outside of a region).
      Unlike `class_weights` it stays out of the divisor, as MONAI's `weight` does.
    average: "voxels" divides by the voxels' weights, "channels" by k times these, as MONAI does
      with a softmax too. With `sigmoid` every channel of a voxel is a term of its own in either.
    class_weights: k numbers, weights in sum and divisor as in `cross_entropy`; None means 1.
    weight_map: a map of the target, (b, *space), that multiplies the voxels' weights.
    sigmoid: k independent channels (regions) instead of k exclusive classes. A single channel is
      class 1 of integer labels.

  Returns:
    A float32 scalar.

  Source: Lin et al. 2017, 1708.02002.
  """
  if average not in ("voxels", "channels"):
    raise ValueError(f"focal: average is '{average}'; expected 'voxels' or 'channels'.")
  target = voxels.weigh_by_map(target, weight_map, tuple(logits.shape[:-1]), "focal")
  logits, truth, weight = voxels.prepare(logits, target, sigmoid=sigmoid)
  weights = weight * voxels.per_class(class_weights, logits, "class_weights")
  inside, outside = voxels.class_factors(alpha, logits, sigmoid=sigmoid)
  log_yes = voxels.log_probabilities(logits, sigmoid=sigmoid)
  losses = -inside * truth * voxels.power(-jnp.expm1(log_yes), gamma) * log_yes
  if sigmoid:
    log_no = voxels.log_complements(logits, sigmoid=True)
    losses -= outside * (1 - truth) * voxels.power(-jnp.expm1(log_no), gamma) * log_no
    return voxels.weighted_mean(weights * losses, weights)
  mean = voxels.weighted_mean(
    (weights * losses).sum(-1, keepdims=True), (weights * truth).sum(-1, keepdims=True)
  )
  return mean / logits.shape[-1] if average == "channels" else mean
