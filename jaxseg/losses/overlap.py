"""Losses that compare regions: soft Dice."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxseg.batch import Array, Target
from jaxseg.losses import voxels


def dice(
  logits: Array,
  target: Target,
  *,
  include_background: bool = True,
  batch: bool = False,
  squared: bool = False,
  smooth_numerator: float = 1e-5,
  smooth_denominator: float = 1e-5,
  class_weights: Sequence[float] | None = None,
  sigmoid: bool = False,
) -> jax.Array:
  """Soft Dice loss, 1 - (2 sum pg + s) / (sum p + sum g + s), mean over classes.

  A class that is absent and not predicted has loss 0. Ignored voxels enter no sum, and a sample
  of nothing else has loss 0.

  Args:
    logits: (b, *space, k), any float dtype; the sums are float32.
    target: labels (b, *space) int, or (b, *space, k) soft or region labels; optional weight.
    include_background: False leaves out class 0. With `sigmoid` every channel is a region of its
      own, and none is left out.
    batch: one Dice per class over the whole batch, instead of one per sample.
    squared: sum p^2 + sum g^2 in the denominator (V-Net, Milletari et al. 2016, 1606.04797).
    smooth_numerator, smooth_denominator: the two s.
    class_weights: k numbers for the mean over classes; None means 1.
    sigmoid: k independent channels (regions) instead of k exclusive classes. A single channel is
      class 1 of integer labels.

  Returns:
    A float32 scalar.
  """
  logits, truth, weight = voxels.prepare(logits, target, sigmoid=sigmoid)
  scores = voxels.probabilities(logits, sigmoid=sigmoid)
  power = 2 if squared else 1
  shared = voxels.class_sums(weight * scores * truth, batch=batch)
  total = voxels.class_sums(weight * (scores**power + truth**power), batch=batch)
  divisor = total + smooth_denominator
  # without smoothing, an absent class that isn't predicted is 0 / 0: perfect
  ratio = (2 * shared + smooth_numerator) / jnp.where(divisor > 0, divisor, 1)
  losses = jnp.where(divisor > 0, 1 - ratio, 0)
  class_weight = voxels.per_class(class_weights, losses, "class_weights")
  if not (include_background or sigmoid):
    losses, class_weight = losses[:, 1:], class_weight[:, 1:]
  return voxels.weighted_mean(losses * class_weight, class_weight)
