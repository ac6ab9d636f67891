"""Exponential logarithmic loss: powers of the logarithms of Dice and cross entropy."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxseg.batch import Array, Target
from jaxseg.losses import voxels


def exponential_log(
  logits: Array,
  target: Target,
  *,
  dice_weight: float = 0.8,
  cross_weight: float = 0.2,
  gamma_dice: float = 0.3,
  gamma_cross: float = 0.3,
  smooth: float = 1.0,
  include_background: bool = True,
  batch: bool = False,
  class_weights: Sequence[float] | None = None,
  sigmoid: bool = False,
) -> jax.Array:
  """Exponential logarithmic loss: both terms' logarithms, to a power that sets their steepness.

  dice_weight * mean over classes of (-ln D)^gamma_dice + cross_weight * mean over voxels of
  w (-ln p_t)^gamma_cross, with D = (2 sum pg + s) / (sum p + sum g + s). The weight w of the
  voxel's class is sqrt(n / N_k), from the N_k of the batch's n voxels that have it; it stays out
  of the mean's divisor. A sample of nothing but ignored voxels has loss 0.

  Args:
    logits: (b, *space, k), any float dtype; the sums are float32.
    target: labels (b, *space) int, or (b, *space, k) soft or region labels; optional weight.
    dice_weight, cross_weight: of the two terms.
    gamma_dice, gamma_cross: below 1 both well and badly predicted things are steep.
    smooth: s, positive, so that the logarithm is finite.
    include_background: False leaves class 0 out of the Dice term, not with `sigmoid`.
    batch: one Dice per class over the whole batch, instead of one per sample.
    class_weights: k numbers instead of the batch's w, for example the training set's by
      "inverse_sqrt", as in the paper.
    sigmoid: k independent channels (regions) instead of k exclusive classes: the second term is
      the mean over voxels and channels, with weights from the voxels inside and outside of each.
      A single channel is class 1 of integer labels.

  Returns:
    A float32 scalar.

  Source: Wong et al. 2018, 1809.00076.
  """
  if smooth <= 0:
    raise ValueError(f"exponential_log: smooth is {smooth}; expected a positive number.")
  shared, predicted, true = voxels.overlap(logits, target, batch=batch, sigmoid=sigmoid)
  similarity = (2 * shared + smooth) / (predicted + true + smooth)
  dice_term = voxels.class_mean(
    voxels.power(-jnp.log(similarity), gamma_dice),
    class_weights=None,
    include_background=include_background,
    sigmoid=sigmoid,
  )
  logits, truth, weight = voxels.prepare(logits, target, sigmoid=sigmoid)
  if class_weights is None:
    inside, outside = _rarity(truth, weight), _rarity(1 - truth, weight)
  else:
    inside = outside = voxels.per_class(class_weights, logits, "class_weights")
  yes = voxels.log_probabilities(logits, sigmoid=sigmoid)
  losses = inside * truth * voxels.power(-yes, gamma_cross)
  if sigmoid:
    no = voxels.log_complements(logits, sigmoid=True)
    losses += outside * (1 - truth) * voxels.power(-no, gamma_cross)
  else:
    losses = losses.sum(-1, keepdims=True)
  cross_term = voxels.weighted_mean(weight * losses, weight)
  return dice_weight * dice_term + cross_weight * cross_term


def _rarity(truth: jax.Array, weight: jax.Array) -> jax.Array:
  """sqrt(n / N_k), (1, ..., 1, k), of the voxels that are not ignored; 0 for an absent class."""
  axes = tuple(range(truth.ndim - 1))
  size = (weight * truth).sum(axes, keepdims=True)
  share = weight.sum() / jnp.where(size > 0, size, 1)
  return jnp.where(size > 0, jnp.sqrt(jnp.where(size > 0, share, 1)), 0)
