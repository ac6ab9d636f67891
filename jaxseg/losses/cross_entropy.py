"""Cross entropy of all voxels, or of the hardest ones."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.batch import Array, Target
from jaxseg.losses import blocks, voxels


def cross_entropy(
  logits: Array,
  target: Target,
  *,
  label_smoothing: float = 0.0,
  class_weights: Sequence[float] | None = None,
  positive_weight: float | Sequence[float] | None = None,
  weight_map: str | None = None,
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
    class_weights: k numbers, in sum and divisor, as PyTorch's; None means 1.
    positive_weight: with `sigmoid`, factor of the positive term: one number, or k of them.
    weight_map: a map of the target, (b, *space), that multiplies the voxels' weights: "border"
      is U-Net's (Ronneberger et al. 2015, 1505.04597).
    sigmoid: k independent channels (regions) instead of k exclusive classes. A single channel is
      class 1 of integer labels.

  Returns:
    A float32 scalar.
  """
  target = voxels.weigh_by_map(target, weight_map, tuple(logits.shape[:-1]), "cross_entropy")

  def sums(logits, target):
    parts = _cross_entropies(
      logits, target, label_smoothing, class_weights, positive_weight, sigmoid=sigmoid
    )
    return tuple(x.reshape(logits.shape[0], -1).sum(1, keepdims=True) for x in parts)

  return voxels.weighted_mean(*blocks.sums(sums, logits, target))


def topk_cross_entropy(
  logits: Array,
  target: Target,
  *,
  share: float = 0.1,
  label_smoothing: float = 0.0,
  class_weights: Sequence[float] | None = None,
  positive_weight: float | Sequence[float] | None = None,
  weight_map: str | None = None,
  sigmoid: bool = False,
) -> jax.Array:
  """Cross entropy of the hardest voxels only: those whose weighted loss is largest in the batch.

  Of n voxels that are not ignored, floor(share * n) are taken, and at least one; share = 1 is
  `cross_entropy`. With `sigmoid` each channel of a voxel competes on its own.

  Args:
    share: of the voxels, in (0, 1]; 0.1 is nnU-Net's.
    logits, target and the other options: as in `cross_entropy`.

  Returns:
    A float32 scalar.

  Source: Wu et al. 2016, 1605.06885; nnU-Net's TopKLoss.
  """
  if not 0 < share <= 1:
    raise ValueError(f"topk_cross_entropy: share is {share}; expected a number in (0, 1].")
  target = voxels.weigh_by_map(target, weight_map, tuple(logits.shape[:-1]), "topk_cross_entropy")
  losses, weight = _cross_entropies(
    logits, target, label_smoothing, class_weights, positive_weight, sigmoid=sigmoid
  )
  losses, weight = losses.reshape(-1), jnp.broadcast_to(weight, losses.shape).reshape(-1)
  counted = weight > 0
  # NaN is the hardest, whatever its sign: a network that broke must not look good
  hardness = jnp.where(counted, jnp.where(jnp.isnan(losses), jnp.inf, losses), -1)
  # how many there are is known at run time only: candidates enough for the case that all count
  index = jax.lax.top_k(hardness, math.ceil(share * losses.size))[1]
  # the small number makes 0.29 * 100 a whole one
  count = jnp.maximum(jnp.floor(share * counted.sum() + 1e-3), 1)
  taken = (jnp.arange(index.size) < count) & counted[index]
  return voxels.weighted_mean(
    jnp.where(taken, losses[index], 0), jnp.where(taken, weight[index], 0)
  )


def _cross_entropies(
  logits, target, label_smoothing, class_weights, positive_weight, *, sigmoid: bool
):
  """(weighted losses, weights): of each voxel, (b, *space, 1); by channel with `sigmoid`."""
  if positive_weight is not None and not sigmoid:
    raise ValueError("cross_entropy: positive_weight needs sigmoid=True; use class_weights.")
  logits, truth, weight = voxels.prepare(logits, target, sigmoid=sigmoid)
  channel_weight = voxels.per_class(class_weights, logits, "class_weights")
  smoothed = truth * (1 - label_smoothing) + label_smoothing / (2 if sigmoid else logits.shape[-1])
  yes = voxels.log_probabilities(logits, sigmoid=sigmoid)
  if sigmoid:
    if positive_weight is not None and np.ndim(positive_weight) == 0:
      positive_weight = (positive_weight,) * logits.shape[-1]
    positive = voxels.per_class(positive_weight, logits, "positive_weight")
    no = voxels.log_complements(logits, sigmoid=True)
    weight = weight * channel_weight
    return -weight * (positive * smoothed * yes + (1 - smoothed) * no), weight
  losses = -(channel_weight * smoothed * yes).sum(-1, keepdims=True)
  return weight * losses, weight * (channel_weight * truth).sum(-1, keepdims=True)
