"""Tversky loss and focal Tversky loss, from the soft counts of `dice`."""

from collections.abc import Sequence

import jax

from jaxseg.batch import Array, Target
from jaxseg.losses import voxels


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
