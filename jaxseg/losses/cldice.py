"""Overlap of centre lines: the soft skeleton and clDice, for vessels and other thin things."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxseg.batch import Array, Target
from jaxseg.losses import voxels
from jaxseg.losses.dice import dice
from jaxseg.morphology import largest_along


def cldice(
  logits: Array,
  target: Target,
  *,
  iterations: int = 3,
  alpha: float = 0.5,
  smooth: float = 1.0,
  include_background: bool = False,
  batch: bool = False,
  class_weights: Sequence[float] | None = None,
  sigmoid: bool = False,
) -> jax.Array:
  """(1 - alpha) * Dice loss + alpha * clDice loss, mean over classes.

  With S the soft skeletons of p and g: precision = (sum S_p g + s) / (sum S_p + s), sensitivity
  = (sum S_g p + s) / (sum S_g + s), and clDice is their harmonic mean. Ignored voxels are outside
  of the image: they enter no sum and no voxel's neighbourhood. A sample of nothing else has
  loss 0.

  Args:
    logits: (b, *space, k), any float dtype; the sums are float32.
    target: labels (b, *space) int, or (b, *space, k) soft or region labels; optional weight.
    iterations: erosions of the skeleton; at least the largest radius in voxels.
    alpha: share of clDice, in [0, 1].
    smooth: s, positive, in Dice too.
    include_background: True counts class 0 as well. With `sigmoid` every channel is a region of
      its own, and all count.
    batch: one value per class over the whole batch, instead of one per sample.
    class_weights: k factors of the classes' losses, before their mean (MONAI's); None means 1.
    sigmoid: k independent channels (regions) instead of k exclusive classes. A single channel is
      class 1 of integer labels.

  Returns:
    A float32 scalar.

  Source: Shit et al. 2021, 2003.07311.
  """
  if smooth <= 0:
    raise ValueError(f"cldice: smooth is {smooth}; expected a positive number.")
  options = {
    "include_background": include_background,
    "class_weights": class_weights,
    "sigmoid": sigmoid,
  }
  overlap = dice(
    logits, target, batch=batch, smooth_numerator=smooth, smooth_denominator=smooth, **options
  )
  logits, truth, weight = voxels.prepare(logits, target, sigmoid=sigmoid)
  scores = voxels.probabilities(logits, sigmoid=sigmoid)

  def share_within(values, other):
    """The share of the skeleton of `values` that lies in `other`, by class."""
    skeleton = weight * soft_skeleton(values, weight, iterations=iterations)
    inside = voxels.class_sums(skeleton * other, batch=batch)
    return (inside + smooth) / (voxels.class_sums(skeleton, batch=batch) + smooth)

  precision, sensitivity = share_within(scores, truth), share_within(truth, scores)
  similarity = 2 * precision * sensitivity / (precision + sensitivity)
  return (1 - alpha) * overlap + alpha * voxels.class_mean(1 - similarity, **options)


def soft_skeleton(
  values: jax.Array, weight: jax.Array | None = None, *, iterations: int
) -> jax.Array:
  """The soft skeleton of (b, *space, k) scores in [0, 1], any rank; a hard mask's is hard.

  Args:
    values: what to thin, each channel on its own.
    weight: (b, *space, 1); voxels of weight 0 are treated like those beyond the border.
    iterations: erosions, at least the largest radius in voxels.

  Each erosion takes the least of a voxel and its 2 * rank neighbours, each dilation the largest
  of the 3^rank around it; what an opening removes at some scale belongs to the skeleton.
  """

  axes = range(1, values.ndim - 1)

  def within(values, beyond):
    return values if weight is None else jnp.where(weight > 0, values, beyond)

  def opening(values):
    """The eroded values, and what eroding and dilating removes."""
    negative = -within(values, 1.0)
    eroded = -functools.reduce(jnp.maximum, [largest_along(negative, axis) for axis in axes])
    opened = within(eroded, 0.0)
    for axis in axes:
      opened = largest_along(opened, axis)
    return eroded, jax.nn.relu(values - opened)

  def thinner(carry, _):
    values, skeleton = carry
    values, found = opening(values)
    return (values, skeleton + jax.nn.relu(found - skeleton * found)), None

  return jax.lax.scan(thinner, opening(values), length=iterations)[0][1]
