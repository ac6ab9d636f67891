"""Whether probabilities are true to their word, and how well they rank the voxels."""

import math

import numpy as np

from jaxseg.batch import Array
from jaxseg.metrics.probabilities import pairs

_FORMS = ("top_label", "per_class")


def expected_calibration_error(
  probabilities: Array,
  label: Array,
  weight: Array | None,
  classes: int,
  *,
  bins: int = 15,
  form: str = "top_label",
) -> np.ndarray:
  """Expected calibration error, (classes,): mean |accuracy - confidence| over equal bins.

  Each bin weighs as much as it holds voxels; its edges are ((m - 1) / bins, m / bins]. NaN where
  no voxel counts (Guo et al. 2017, 1706.04599; per class: Kull et al. 2019, 1910.12656).

  Args:
    probabilities: (*space, classes).
    label: (*space) int classes, or (*space, classes) regions of 0 and 1.
    weight: (*space), 0 = ignored, or None.
    classes: number of classes, background included, or of regions.
    bins: number of bins.
    form: "top_label", of the most probable class, as in the paper: one number, given for every
      class (of regions: that of the more probable side, one for each); "per_class", of the
      probability of each class against how often the voxel belongs to it.
  """
  if form not in _FORMS:
    raise ValueError(
      f"expected_calibration_error: form is '{form}'; expected one of {', '.join(_FORMS)}."
    )
  if isinstance(bins, bool) or not isinstance(bins, int | np.integer) or bins < 1:
    raise ValueError(f"expected_calibration_error: bins is {bins}; expected a whole number from 1.")
  voxels = pairs("expected_calibration_error", probabilities, label, weight, classes)
  if form == "top_label" and not voxels.regions:
    top = voxels.probabilities.argmax(-1)
    right = np.zeros(len(top), bool)
    for c in range(classes):
      right |= (top == c) & voxels.truth(c)
    return np.full(classes, _gap(voxels.probabilities.max(-1), right, bins))
  values = []
  for c in range(classes):
    confidence, right = voxels.probabilities[:, c], voxels.truth(c)
    if form == "top_label":
      positive = confidence > 0.5
      confidence, right = np.where(positive, confidence, 1 - confidence), right == positive
    values.append(_gap(confidence, right, bins))
  return np.array(values)


def _gap(confidence: np.ndarray, right: np.ndarray, bins: int) -> float:
  if not len(confidence):
    return math.nan
  index = np.clip(np.ceil(confidence.astype(np.float64) * bins).astype(np.int64) - 1, 0, bins - 1)
  hits = np.bincount(index, right, bins)
  sums = np.bincount(index, confidence, bins)
  return float(abs(hits - sums).sum() / len(confidence))


def auc(probabilities: Array, label: Array, weight: Array | None, classes: int) -> np.ndarray:
  """Area under the ROC curve of each class against the rest, (classes,), exact with ties.

  It is the share of pairs of a voxel of the class and one outside of it that the probability
  orders rightly, ties counting half: the Mann-Whitney statistic (Hanley and McNeil 1982). NaN
  where the class is nowhere or everywhere. In DRIVE the weight is the field of view; papers often
  pool the voxels of all test images, which is not the mean over images that `evaluate` reports.

  Args:
    probabilities: (*space, classes).
    label: (*space) int classes, or (*space, classes) regions of 0 and 1.
    weight: (*space), 0 = ignored, or None.
    classes: number of classes, background included, or of regions.
  """
  voxels = pairs("auc", probabilities, label, weight, classes)
  values = np.full(classes, math.nan)
  for c in range(classes):
    truth = voxels.truth(c)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if positives and negatives:
      # per distinct probability: voxels of the class, and others
      _, which, all_of = np.unique(
        voxels.probabilities[:, c], return_inverse=True, return_counts=True
      )
      inside = np.bincount(which, truth, len(all_of))
      outside = all_of - inside
      below = np.cumsum(outside) - outside / 2
      values[c] = (inside * below).sum() / positives / negatives
  return values


def average_precision(
  probabilities: Array, label: Array, weight: Array | None, classes: int
) -> np.ndarray:
  """Average precision of each class against the rest, (classes,): precision over recall's steps.

  The sum over the distinct thresholds, falling, of precision times the recall that the threshold
  adds; nothing is interpolated. NaN where the class is nowhere. Unlike `auc` it is not flattered
  by a large background (Davis and Goadrich 2006).

  Args:
    probabilities: (*space, classes).
    label: (*space) int classes, or (*space, classes) regions of 0 and 1.
    weight: (*space), 0 = ignored, or None.
    classes: number of classes, background included, or of regions.
  """
  voxels = pairs("average_precision", probabilities, label, weight, classes)
  values = np.full(classes, math.nan)
  for c in range(classes):
    truth = voxels.truth(c)
    if truth.any():
      order = np.argsort(-voxels.probabilities[:, c], kind="stable")
      falling = voxels.probabilities[order, c]
      # ties fall under one threshold: the last of them
      last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))
      hits = np.cumsum(truth[order])[last]
      values[c] = (np.diff(hits, prepend=0) * hits / (last + 1)).sum() / hits[-1]
  return values
