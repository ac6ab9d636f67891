"""Soft Jaccard (IoU) loss, from the soft counts of `dice`."""

from collections.abc import Sequence

import jax

from jaxseg.batch import Array, Target
from jaxseg.losses import voxels


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
