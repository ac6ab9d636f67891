"""Overlap of two segmentations, from counts of true and false positives and negatives.

Counts add up, over windows, cases or devices, before a ratio is taken. An empty class has no
overlap to speak of: absent from both segmentations it scores NaN (means are nanmeans; `empty=1.0`
calls it perfect instead), absent from one of them 0.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.batch import Array
from jaxseg.metrics.checks import check_classes, holds_regions

# bincount works on int64: a slab at a time keeps that copy small
_SLAB = 1 << 22


def confusion(
  prediction: Array, label: Array, weight: Array | None = None, *, classes: int
) -> Array:
  """Counts of voxels per class: (classes, 4) true and false positives, false and true negatives.

  The order of the last axis is TP, FP, FN, TN. Works inside jit (int32, exact to 2^31 - 1 voxels);
  NumPy arrays are counted on the host (int64) and never go to a device. All axes are summed over,
  the batch's too: use `jax.vmap` for one result per sample.

  Args:
    prediction: (*space) int classes, or (*space, classes) bool, for overlapping regions.
    label: the same; regions may also be float, more than 1/2 meaning inside. A pair holds regions
      if one of the two is not an array of integers.
    weight: (*space), 0 = ignored; positive weights all count 1.
    classes: number of classes, background included, or of regions.
  """
  arrays = (prediction, label) if weight is None else (prediction, label, weight)
  on_host = all(isinstance(x, np.ndarray | np.generic) for x in arrays)
  regions = holds_regions("confusion", prediction, label, weight, classes)
  if on_host and not regions:
    return _count_classes(prediction, label, weight, classes)
  xp = np if on_host else jnp
  if regions:
    inside, truth = prediction > 0.5, label > 0.5
  else:
    index = xp.arange(classes).reshape((1,) * label.ndim + (classes,))
    inside, truth = prediction[..., None] == index, label[..., None] == index
  groups = [inside & truth, inside & ~truth, ~inside & truth, ~(inside | truth)]
  if weight is not None:
    counted = (weight > 0)[..., None]
    groups = [group & counted for group in groups]
  axes, dtype = tuple(range(inside.ndim - 1)), np.int64 if on_host else np.int32
  return xp.stack([group.sum(axes, dtype=dtype) for group in groups], -1)


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
    check_classes("confusion", "prediction", p, classes)
    check_classes("confusion", "label", t, classes)
    matrix += np.bincount(t * classes + p, minlength=classes * classes)
  matrix = matrix.reshape(classes, classes)
  hits = np.diag(matrix)
  predicted, present = matrix.sum(0), matrix.sum(1)
  rest = matrix.sum() - predicted - present + hits
  return np.stack([hits, predicted - hits, present - hits, rest], -1)


def _parts(counts: Array) -> tuple[Array, ...]:
  return tuple(counts[..., i] for i in range(4))


def _ratio(numerator: Array, denominator: Array, empty: float) -> Array:
  xp = jnp if isinstance(numerator, jax.Array) else np
  ratio = numerator / xp.where(denominator > 0, denominator, 1)
  return xp.where(denominator > 0, ratio, empty)


def dice(counts: Array, *, empty: float = math.nan) -> Array:
  """Dice, 2 TP / (2 TP + FP + FN), of (..., 4) counts (Dice 1945); `empty` where all are 0."""
  tp, fp, fn, _ = _parts(counts)
  # halved on both sides, so that int32 counts of huge volumes cannot overflow
  return _ratio(tp, tp + (fp + fn) / 2, empty)


def iou(counts: Array, *, empty: float = math.nan) -> Array:
  """Intersection over union, TP / (TP + FP + FN), of (..., 4) counts; `empty` where all are 0."""
  return _ratio(counts[..., 0], counts[..., :3].sum(-1), empty)


def sensitivity(counts: Array, *, empty: float = math.nan) -> Array:
  """Sensitivity (recall), TP / (TP + FN), of (..., 4) counts; `empty` where the label has none."""
  tp, _, fn, _ = _parts(counts)
  return _ratio(tp, tp + fn, empty)


def specificity(counts: Array, *, empty: float = math.nan) -> Array:
  """Specificity, TN / (TN + FP), of (..., 4) counts; `empty` where the label is everywhere."""
  _, fp, _, tn = _parts(counts)
  return _ratio(tn, tn + fp, empty)


def precision(counts: Array, *, empty: float = math.nan) -> Array:
  """Precision, TP / (TP + FP), of (..., 4) counts; `empty` where nothing is predicted."""
  tp, fp, _, _ = _parts(counts)
  return _ratio(tp, tp + fp, empty)


def accuracy(counts: Array, *, empty: float = math.nan) -> Array:
  """Accuracy, (TP + TN) / all, of (..., 4) counts; `empty` where every voxel is ignored.

  Most voxels of a small object are true negatives: it is near 1 whatever is predicted.
  """
  tp, _, _, tn = _parts(counts)
  return _ratio(tp + tn, counts.sum(-1), empty)


def volume_similarity(counts: Array, *, empty: float = math.nan) -> Array:
  """Volume similarity, 1 - |FN - FP| / (2 TP + FP + FN), of (..., 4) counts.

  1 for equal volumes, wherever they lie. `empty` where all three are 0 (Taha and Hanbury 2015,
  doi 10.1186/s12880-015-0068-x).
  """
  tp, fp, fn, _ = _parts(counts)
  return 1 - _ratio(abs(fn - fp) / 2, tp + (fp + fn) / 2, 1 - empty)


def f_beta(counts: Array, *, beta: float = 1.0, empty: float = math.nan) -> Array:
  """F-measure of (..., 4) counts, sensitivity weighing beta times as much as precision.

  (1 + beta^2) TP / ((1 + beta^2) TP + beta^2 FN + FP), `empty` where all three are 0; beta = 1 is
  Dice (van Rijsbergen 1979).
  """
  if not beta > 0:
    raise ValueError(f"f_beta: beta is {beta}; expected a positive number.")
  tp, fp, fn, _ = _parts(counts)
  share = beta**2 / (1 + beta**2)
  return _ratio(tp, tp + share * fn + (1 - share) * fp, empty)


def mcc(counts: Array, *, empty: float = math.nan) -> Array:
  """Matthews correlation coefficient, -1 to 1, of (..., 4) counts (Matthews 1975).

  (TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN)). `empty` where the class is
  nowhere in both segmentations, or everywhere in both; 0 where only one of them is constant.
  """
  # floats first: the products exceed any integer
  tp, fp, fn, tn = _parts(counts * 1.0)
  product = math.prod(margin**0.5 for margin in (tp + fp, tp + fn, tn + fp, tn + fn))
  xp = jnp if isinstance(counts, jax.Array) else np
  alike = (fp + fn == 0) & ((tp == 0) | (tn == 0))
  return xp.where(alike, empty, _ratio(tp * tn - fp * fn, product, 0.0))
