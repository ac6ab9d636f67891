"""Losses that compare regions: soft Dice and its relatives, from the same soft counts.

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


def jaccard(
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
  """Soft Jaccard (IoU) loss, 1 - (sum pg + s) / (sum p + sum g - sum pg + s), mean over classes.

  Arguments, empty classes and ignored voxels as in `dice`; `squared` sums p^2 + g^2 - pg below.
  Source: Rahman and Wang 2016, "Optimizing intersection-over-union in deep neural networks".
  """
  shared, predicted, true = voxels.overlap(
    logits, target, batch=batch, sigmoid=sigmoid, squared=squared
  )
  return voxels.class_mean(
    voxels.dissimilarity(shared + smooth_numerator, predicted + true - shared + smooth_denominator),
    class_weights=class_weights,
    include_background=include_background,
    sigmoid=sigmoid,
  )


def tversky(
  logits: Array,
  target: Target,
  *,
  alpha: float = 0.3,
  beta: float = 0.7,
  include_background: bool = True,
  batch: bool = False,
  smooth_numerator: float = 1e-5,
  smooth_denominator: float = 1e-5,
  class_weights: Sequence[float] | None = None,
  sigmoid: bool = False,
) -> jax.Array:
  """Tversky loss, 1 - (TP + s) / (TP + alpha FP + beta FN + s), mean over classes.

  alpha weighs false positives and beta false negatives: 1/2 and 1/2 give Dice, 1 and 1 Jaccard.
  Other arguments, empty classes and ignored voxels as in `dice`.
  Source: Salehi et al. 2017, 1706.05721, whose best pair for lesions is the default.
  """
  losses = _tversky(
    logits,
    target,
    alpha=alpha,
    beta=beta,
    batch=batch,
    smooth=(smooth_numerator, smooth_denominator),
    sigmoid=sigmoid,
  )
  return voxels.class_mean(
    losses, class_weights=class_weights, include_background=include_background, sigmoid=sigmoid
  )


def focal_tversky(
  logits: Array,
  target: Target,
  *,
  alpha: float = 0.3,
  beta: float = 0.7,
  gamma: float = 4 / 3,
  include_background: bool = True,
  batch: bool = False,
  smooth_numerator: float = 1e-5,
  smooth_denominator: float = 1e-5,
  class_weights: Sequence[float] | None = None,
  sigmoid: bool = False,
) -> jax.Array:
  """Focal Tversky loss, the mean over classes of (1 - TI) ** (1 / gamma).

  gamma > 1 makes the loss steeper near TI = 1, where a class is nearly right, gamma < 1 near 0.
  Other arguments as in `tversky`.
  Source: Abraham and Khan 2018, 1810.07842 (there alpha weighs false negatives).
  """
  losses = _tversky(
    logits,
    target,
    alpha=alpha,
    beta=beta,
    batch=batch,
    smooth=(smooth_numerator, smooth_denominator),
    sigmoid=sigmoid,
  )
  return voxels.class_mean(
    voxels.power(losses, 1 / gamma),
    class_weights=class_weights,
    include_background=include_background,
    sigmoid=sigmoid,
  )


def _tversky(logits, target, *, alpha, beta, batch, smooth, sigmoid):
  """1 - the Tversky index of each class, (b, k)."""
  if alpha == beta == 0:
    raise ValueError("tversky: alpha and beta are 0, which counts no error; expected one above 0.")
  shared, predicted, true = voxels.overlap(logits, target, batch=batch, sigmoid=sigmoid)
  wrong = alpha * (predicted - shared) + beta * (true - shared)
  return voxels.dissimilarity(shared + smooth[0], shared + wrong + smooth[1])


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
