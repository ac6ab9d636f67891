"""Scores of neurite segmentation in electron micrographs: splits and mergers of the segments.

The segments are what the membrane separates: components by faces (4 neighbours in 2D) of what is
not membrane. Both scores look at the label's segments only (foreground-restricted), compare in
them which pairs of voxels, or how much information, the two segmentations share, and take the best
of several thresholds of the membrane's probability, as the ISBI 2012 challenge does.

The width of the predicted membrane should not matter (`thin`). The challenge's evaluation thins it
to a line of one pixel; here the segments grow, each voxel going to the nearest one, until nothing
of it is left, so that no pixel of that line counts as a segment of its own. The two agree where the
line lies on the label's membrane, which is not counted.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from jaxseg.batch import Array
from jaxseg.metrics.checks import check_binary, holds_regions
from jaxseg.metrics.probabilities import check_probabilities, inside

# those of the challenge, but 1, at which nothing is a segment
THRESHOLDS = tuple(i / 10 for i in range(10))


class _Shares(NamedTuple):
  """Shares of the label's foreground, each summing to 1: (n,) of every segment, or shared part."""

  both: np.ndarray
  prediction: np.ndarray
  label: np.ndarray


class _Options(NamedTuple):
  alpha: float
  thresholds: Sequence[float]
  membrane: bool
  thin: bool
  sections: bool


def v_rand(
  prediction: Array,
  label: Array,
  weight: Array | None,
  classes: int,
  probabilities: Array | None = None,
  *,
  alpha: float = 0.5,
  thresholds: Sequence[float] = THRESHOLDS,
  membrane: bool = True,
  thin: bool = True,
  sections: bool = False,
) -> np.ndarray:
  """Foreground-restricted Rand score V^Rand, (classes,), of each class as the membrane.

  Sum p_ij^2 / (alpha sum s_i^2 + (1 - alpha) sum t_j^2), where p_ij is the share of voxels in
  predicted segment i and labelled segment j, s and t its margins (Arganda-Carreras et al. 2015,
  doi 10.3389/fnana.2015.00142). 1 is perfect. NaN where the label has no segment, and for class 0
  of integer classes, the background.

  Args:
    prediction, label: (*space) int classes, or (*space, classes) regions, the label's of 0 and 1.
    weight: (*space), 0 = ignored: not in the label's foreground.
    classes: number of classes, background included, or of regions.
    probabilities: (*space, classes); None scores the one prediction, without thresholds.
    alpha: 0 is the Rand split score (recall), 1 the merge score (precision), 1/2 their F-score.
    thresholds: a voxel is of a segment if the probability that it is not membrane exceeds it.
    membrane: the class is the membrane; False: it is the inside of the segments.
    thin: let the predicted segments grow over the membrane between them; otherwise each of its
      voxels is a segment of its own.
    sections: score the sections of a volume (its first axis) one by one, in 2D, and average them
      before the best threshold is taken, as the challenge does.
  """

  def measure(shares: _Shares) -> float:
    both, s, t = (float((x**2).sum()) for x in shares)
    return both / (alpha * s + (1 - alpha) * t)

  options = _Options(alpha, thresholds, membrane, thin, sections)
  return _best("v_rand", measure, prediction, label, weight, classes, probabilities, options)


def v_info(
  prediction: Array,
  label: Array,
  weight: Array | None,
  classes: int,
  probabilities: Array | None = None,
  *,
  alpha: float = 0.5,
  thresholds: Sequence[float] = THRESHOLDS,
  membrane: bool = True,
  thin: bool = True,
  sections: bool = False,
) -> np.ndarray:
  """Foreground-restricted information score V^Info, (classes,), of each class as the membrane.

  I(S; T) / ((1 - alpha) H(S) + alpha H(T)) of the predicted and labelled segments S and T
  (Arganda-Carreras et al. 2015, doi 10.3389/fnana.2015.00142); 1 where both are one segment.
  Arguments, and what is NaN, as for `v_rand`.
  """

  def measure(shares: _Shares) -> float:
    both, s, t = (-float((x * np.log(x)).sum()) for x in shares)
    whole = (1 - alpha) * s + alpha * t
    return (s + t - both) / whole if whole > 0 else 1.0

  options = _Options(alpha, thresholds, membrane, thin, sections)
  return _best("v_info", measure, prediction, label, weight, classes, probabilities, options)


def _best(
  where: str,
  measure: Callable[[_Shares], float],
  prediction,
  label,
  weight,
  classes: int,
  probabilities,
  options: _Options,
) -> np.ndarray:
  alpha, thresholds, membrane, thin, sections = options
  if not 0 <= alpha <= 1:
    raise ValueError(f"{where}: alpha is {alpha}; expected 0 to 1.")
  if not len(thresholds) or not all(0 <= level < 1 for level in thresholds):
    raise ValueError(
      f"{where}: thresholds are {tuple(thresholds)}; expected at least one, from 0 to below 1."
    )
  prediction, label = np.asarray(prediction), np.asarray(label)
  weight = None if weight is None else np.asarray(weight)
  regions = holds_regions(where, prediction, label, weight, classes)
  if sections and label.ndim - regions != 3:
    raise ValueError(
      f"{where}: sections are those of a volume; the label's shape is {label.shape}."
    )
  if regions:
    # one of the two may be integers: 0 and 1, no classes
    check_binary(where, "label", label, "the true segments need")
    prediction, label = prediction > 0.5, label > 0.5
  if probabilities is not None:
    probabilities, *_ = check_probabilities(where, probabilities, label, weight, classes)
  values = np.full(classes, math.nan)
  for c in range(0 if regions else 1, classes):
    truth = inside(label, c) != membrane
    if weight is not None:
      truth &= weight > 0
    if probabilities is None:
      proposals = [inside(prediction, c) != membrane]
    else:
      p = probabilities[..., c]
      proposals = [(1 - p if membrane else p) > level for level in thresholds]
    planes = list(truth) if sections else [truth]
    targets = [ndimage.label(plane)[0] for plane in planes]
    if any(target.any() for target in targets):
      values[c] = max(
        np.mean(
          [
            measure(_shares(plane, target, thin))
            for plane, target in zip(proposal if sections else [proposal], targets, strict=True)
            if target.any()
          ]
        )
        for proposal in proposals
      )
  return values


def _shares(proposal: np.ndarray, target: np.ndarray, thin: bool) -> _Shares:
  """The shares of a predicted mask's segments and the labelled segments, (*space) numbered."""
  segments = ndimage.label(proposal)[0]
  if thin and proposal.any() and not proposal.all():
    grow(segments)
  counted = target > 0
  s, t = segments[counted].astype(np.int64), target[counted].astype(np.int64)
  alone = s == 0
  s[alone] = s.max() + 1 + np.arange(alone.sum())
  both = np.unique(s * (t.max() + 1) + t, return_counts=True)[1]
  margins = (np.bincount(ids) for ids in (s, t))
  return _Shares(both / len(t), *(sizes[sizes > 0] / len(t) for sizes in margins))


def grow(segments: np.ndarray) -> None:
  """Gives every voxel in no segment (0) to the nearest one of (*space) int segments, in place."""
  membrane = segments == 0
  (slices,) = ndimage.find_objects(membrane.astype(np.int8))
  # the nearest voxel of a segment is next to the membrane: one step from it leads closer
  box = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in slices)
  nearest = ndimage.distance_transform_edt(
    membrane[box], return_distances=False, return_indices=True
  )
  segments[box] = segments[box][tuple(nearest)]
