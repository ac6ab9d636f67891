"""Losses that compare voxel by voxel: cross entropy."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxseg.batch import Array, Target
from jaxseg.losses import voxels


def cross_entropy(
  logits: Array,
  target: Target,
  *,
  label_smoothing: float = 0.0,
  class_weights: Sequence[float] | None = None,
  positive_weight: float | Sequence[float] | None = None,
  sigmoid: bool = False,
) -> jax.Array:
  """Cross entropy of the softmax, or of each channel's sigmoid: sum of w * l over sum of w.

  w is the voxel's weight times its class's, as in PyTorch: smoothing spreads the truth, but the
  divisor stays that of the true class. Soft labels count each class's weight by its share. When
  every voxel is ignored the loss is 0.

  Args:
    logits: (b, *space, k), any float dtype.
    target: labels (b, *space) int, or (b, *space, k) soft or region labels; optional weight.
    label_smoothing: share of the truth that is spread evenly, in [0, 1).
    class_weights: k numbers; None means 1.
    positive_weight: with `sigmoid`, factor of the positive term: one number, or k of them.
    sigmoid: k independent channels (regions) instead of k exclusive classes. A single channel is
      class 1 of integer labels.

  Returns:
    A float32 scalar.
  """
  if positive_weight is not None and not sigmoid:
    raise ValueError("cross_entropy: positive_weight needs sigmoid=True; use class_weights.")
  logits, truth, weight = voxels.prepare(logits, target, sigmoid=sigmoid)
  channel_weight = voxels.per_class(class_weights, logits, "class_weights")
  smoothed = truth * (1 - label_smoothing) + label_smoothing / (2 if sigmoid else logits.shape[-1])
  if sigmoid:
    if positive_weight is not None and jnp.ndim(positive_weight) == 0:
      positive_weight = (positive_weight,) * logits.shape[-1]
    positive = voxels.per_class(positive_weight, logits, "positive_weight")
    yes, no = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
    losses = -weight * channel_weight * (positive * smoothed * yes + (1 - smoothed) * no)
    return voxels.weighted_mean(losses, weight * channel_weight)
  losses = -(channel_weight * smoothed * jax.nn.log_softmax(logits, -1)).sum(-1, keepdims=True)
  return voxels.weighted_mean(
    weight * losses, weight * (channel_weight * truth).sum(-1, keepdims=True)
  )
