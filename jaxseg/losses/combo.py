"""Combo loss: cross entropy and Dice."""

from collections.abc import Sequence

import jax

from jaxseg.batch import Array, Target
from jaxseg.losses import voxels


def combo(
  logits: Array,
  target: Target,
  *,
  alpha: float = 0.5,
  beta: float = 0.5,
  smooth: float = 1.0,
  include_background: bool = True,
  batch: bool = False,
  class_weights: Sequence[float] | None = None,
  sigmoid: bool = False,
) -> jax.Array:
  """Combo loss, alpha * mCE - (1 - alpha) * Dice; a perfect prediction has alpha - 1.

  mCE is the mean over voxels and classes of -(beta g ln p + (1 - beta) (1 - g) ln(1 - p)), each
  class against the rest also under a softmax. Dice is the mean over classes of
  (2 sum pg + s) / (sum p + sum g + s), 1 for a sample of nothing but ignored voxels.

  Args:
    logits: (b, *space, k), any float dtype; the sums are float32.
    target: labels (b, *space) int, or (b, *space, k) soft or region labels; optional weight.
    alpha: share of the cross entropy.
    beta: above 1/2 it punishes false negatives more, below false positives.
    smooth: s.
    include_background: False leaves out class 0. With `sigmoid` every channel is a region of its
      own, and none is left out.
    batch: one Dice per class over the whole batch, instead of one per sample.
    class_weights: k factors of the classes' terms, before their means; None means 1.
    sigmoid: k independent channels (regions) instead of k exclusive classes. A single channel is
      class 1 of integer labels.

  Returns:
    A float32 scalar.

  Source: Taghanaki et al. 2018, 1805.02798.
  """
  shared, predicted, true = voxels.overlap(logits, target, batch=batch, sigmoid=sigmoid)
  similarity = voxels.class_mean(
    1 - voxels.dissimilarity(2 * shared + smooth, predicted + true + smooth),
    class_weights=class_weights,
    include_background=include_background,
    sigmoid=sigmoid,
  )
  logits, truth, weight = voxels.prepare(logits, target, sigmoid=sigmoid)
  yes = voxels.log_probabilities(logits, sigmoid=sigmoid)
  no = voxels.log_complements(logits, sigmoid=sigmoid)
  entropy = voxels.class_mean(
    -(beta * truth * yes + (1 - beta) * (1 - truth) * no),
    weight,
    class_weights=class_weights,
    include_background=include_background,
    sigmoid=sigmoid,
  )
  return alpha * entropy - (1 - alpha) * similarity
