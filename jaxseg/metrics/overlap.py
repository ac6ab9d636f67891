"""Overlap of two segmentations, from counts of true positives, false positives, false negatives.

Counts add up, over windows, cases or devices, before a ratio is taken. An empty class has no
overlap to speak of: absent from both segmentations it scores NaN (means are nanmeans; `empty=1.0`
calls it perfect instead), absent from one of them 0.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.batch import Array

# bincount works on int64: a slab at a time keeps that copy small
_SLAB = 1 << 22


def confusion(
  prediction: Array, label: Array, weight: Array | None = None, *, classes: int
) -> Array:
  """Counts of voxels per class: (classes, 3) true positives, false positives, false negatives.

  Works inside jit (int32, exact to 2^31 - 1 voxels); NumPy arrays are counted on the host (int64)
  and never go to a device. All axes are summed over, the batch's too: use `jax.vmap` for one
  result per sample.

  Args:
    prediction: (*space) int classes, or (*space, classes) bool, for overlapping regions.
    label: the same; region labels may also be float, more than 1/2 meaning inside.
    weight: (*space), 0 = ignored; positive weights all count 1.
    classes: number of classes, background included, or of regions.
  """
  arrays = (prediction, label) if weight is None else (prediction, label, weight)
  on_host = all(isinstance(x, np.ndarray | np.generic) for x in arrays)
  if prediction.shape != label.shape:
    raise ValueError(
      f"confusion: the prediction has shape {tuple(prediction.shape)}, the label "
      f"{tuple(label.shape)}; both are (*space) classes or (*space, {classes}) regions."
    )
  regions = not np.issubdtype(prediction.dtype, np.integer)
  if regions and (prediction.ndim == 0 or prediction.shape[-1] != classes):
    raise ValueError(
      f"confusion: a {prediction.dtype} prediction of shape {tuple(prediction.shape)} holds "
      f"regions, and needs a last axis of {classes}; classes are integers."
    )
  space = prediction.shape[:-1] if regions else prediction.shape
  if weight is not None and weight.shape != space:
    raise ValueError(f"confusion: the weight has shape {tuple(weight.shape)}; expected {space}.")
  if on_host and not regions:
    return _count_classes(prediction, label, weight, classes)
  xp = np if on_host else jnp
  if regions:
    inside, truth = prediction > 0.5, label > 0.5
  else:
    index = xp.arange(classes).reshape((1,) * len(space) + (classes,))
    inside, truth = prediction[..., None] == index, label[..., None] == index
  if weight is not None:
    counted = (weight > 0)[..., None]
    inside, truth = inside & counted, truth & counted
  axes, dtype = tuple(range(len(space))), np.int64 if on_host else np.int32
  return xp.stack(
    [x.sum(axes, dtype=dtype) for x in (inside & truth, inside & ~truth, ~inside & truth)], -1
  )


def _count_classes(prediction, label, weight, classes: int) -> np.ndarray:
  """The counts from the full confusion matrix: one pass over the voxels, whatever `classes`."""
  prediction, label = prediction.reshape(-1), label.reshape(-1)
  matrix = np.zeros(classes * classes, np.int64)
  for start in range(0, math.prod(prediction.shape), _SLAB):
    slab = slice(start, start + _SLAB)
    p, t = prediction[slab].astype(np.int64), label[slab].astype(np.int64)
    if weight is not None:
      kept = weight.reshape(-1)[slab] > 0
      p, t = p[kept], t[kept]
    for what, values in (("prediction", p), ("label", t)):
      if values.size and (values.min() < 0 or values.max() >= classes):
        raise ValueError(
          f"confusion: the {what} holds classes {values.min()} to {values.max()}; expected 0 to "
          f"{classes - 1}. Encode stored values with LabelSpec.encode first."
        )
    matrix += np.bincount(t * classes + p, minlength=classes * classes)
  matrix = matrix.reshape(classes, classes)
  hits = np.diag(matrix)
  return np.stack([hits, matrix.sum(0) - hits, matrix.sum(1) - hits], -1)


def _ratio(numerator: Array, denominator: Array, empty: float) -> Array:
  xp = jnp if isinstance(numerator, jax.Array) else np
  ratio = numerator / xp.where(denominator > 0, denominator, 1)
  return xp.where(denominator > 0, ratio, empty)


def dice(counts: Array, *, empty: float = math.nan) -> Array:
  """Dice, 2 TP / (2 TP + FP + FN), of (..., 3) counts (Dice 1945); `empty` where all are 0."""
  true, false_positive, false_negative = (counts[..., i] for i in range(3))
  # halved on both sides, so that int32 counts of huge volumes cannot overflow
  return _ratio(true, true + (false_positive + false_negative) / 2, empty)


def iou(counts: Array, *, empty: float = math.nan) -> Array:
  """Intersection over union, TP / (TP + FP + FN), of (..., 3) counts; `empty` where all are 0."""
  return _ratio(counts[..., 0], counts.sum(-1), empty)
