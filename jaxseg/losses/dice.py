"""Soft Dice loss, by class and generalised.

With p the probabilities and g the truth, a class's counts are shared = sum pg, predicted = sum p
and true = sum g, over the voxels that are not ignored (`voxels.overlap`).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxseg.batch import Array, Target
from jaxseg.losses import voxels

_SIZE_WEIGHTS = {
  "square": lambda size: 1 / size**2,
  "simple": lambda size: 1 / size,
  "uniform": jnp.ones_like,
}


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
    class_weights: k factors of the classes' losses, before their mean (MONAI's); None means 1.
    sigmoid: k independent channels (regions) instead of k exclusive classes. A single channel is
      class 1 of integer labels.

  Returns:
    A float32 scalar.
  """
  shared, predicted, true = voxels.overlap(
    logits, target, batch=batch, sigmoid=sigmoid, squared=squared
  )
  return voxels.class_mean(
    voxels.dissimilarity(2 * shared + smooth_numerator, predicted + true + smooth_denominator),
    class_weights=class_weights,
    include_background=include_background,
    sigmoid=sigmoid,
  )


def generalized_dice(
  logits: Array,
  target: Target,
  *,
  weighting: str = "square",
  include_background: bool = True,
  batch: bool = False,
  smooth_numerator: float = 1e-5,
  smooth_denominator: float = 1e-5,
  sigmoid: bool = False,
) -> jax.Array:
  """Generalised Dice loss, 1 - (2 sum_k w_k sum pg + s) / (sum_k w_k (sum p + sum g) + s).

  The weights are scaled to a largest one of 1, which changes nothing but what the smoothing
  weighs: 1/N^2 of a class of a million voxels would drown in it. An absent class takes the
  largest weight, as in MONAI. Where every class is absent all weigh 1, so that false positives
  count; a sample of nothing but ignored voxels has loss 0.

  Args:
    logits: (b, *space, k), any float dtype; the sums are float32.
    target: labels (b, *space) int, or (b, *space, k) soft or region labels; optional weight.
    weighting: w_k is "square": 1 / (sum g)^2, "simple": 1 / sum g, "uniform": 1.
    include_background: False leaves out class 0. With `sigmoid` every channel is a region of its
      own, and none is left out.
    batch: one value over the whole batch, instead of the mean of one per sample.
    smooth_numerator, smooth_denominator: the two s.
    sigmoid: k independent channels (regions) instead of k exclusive classes. A single channel is
      class 1 of integer labels.

  Returns:
    A float32 scalar.

  Source: Sudre et al. 2017, 1707.03237.
  """
  if weighting not in _SIZE_WEIGHTS:
    raise ValueError(
      f"generalized_dice: weighting '{weighting}' is unknown; choices: {', '.join(_SIZE_WEIGHTS)}."
    )
  shared, predicted, true = (
    voxels.foreground(x, include_background=include_background, sigmoid=sigmoid)
    for x in voxels.overlap(logits, target, batch=batch, sigmoid=sigmoid)
  )
  present = true > 0
  weights = _SIZE_WEIGHTS[weighting](jnp.where(present, true, 1))
  largest = jnp.where(present, weights, 0).max(-1, keepdims=True)
  weights = jnp.where(present, weights / jnp.where(largest > 0, largest, 1), 1)
  numerator = 2 * (weights * shared).sum(-1) + smooth_numerator
  denominator = (weights * (predicted + true)).sum(-1) + smooth_denominator
  return voxels.dissimilarity(numerator, denominator).mean()
