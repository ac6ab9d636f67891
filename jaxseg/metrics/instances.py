"""Objects found, missed and invented: lesion-wise detection, panoptic quality.

The objects of a class are its connected components, or what an instance map tells apart. Ignored
voxels belong to no object: one that they cut through counts as its parts.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from jaxseg.batch import Array
from jaxseg.metrics.class_masks import Masks


class Matches(NamedTuple):
  """The objects of one class and which of them share voxels.

  Attributes:
    prediction, label: number of objects.
    pairs: (m, 2) indices of a predicted and a labelled object that share a voxel.
    iou: (m,), their intersection over union.
  """

  prediction: int
  label: int
  pairs: np.ndarray
  iou: np.ndarray


def match(
  masks: Masks, instances: tuple[Array, Array] | None = None, *, connectivity: int | None = None
) -> Matches:
  """Which predicted and labelled objects of a class touch each other.

  Args:
    masks: one class of `class_masks`.
    instances: (*space) int maps of prediction and label, a number per object (0 is none of them);
      None takes connected components.
    connectivity: 1 for neighbours by faces, up to the rank for those by corners too, the default.
  """
  if instances is None:
    rank = masks.label.ndim
    if connectivity is not None and connectivity not in range(1, rank + 1):
      raise ValueError(f"connectivity is {connectivity}; expected a whole number from 1 to {rank}.")
    structure = ndimage.generate_binary_structure(rank, connectivity or rank)
    maps = [ndimage.label(mask, structure)[0] for mask in (masks.prediction, masks.label)]
  else:
    for what, ids in zip(("prediction", "label"), instances, strict=True):
      if np.shape(ids) != masks.space:
        raise ValueError(
          f"instances: the map of the {what} has shape {np.shape(ids)}; expected {masks.space}."
        )
    maps = [
      np.where(mask, np.pad(np.asarray(ids)[masks.box], 1), 0)
      for mask, ids in zip((masks.prediction, masks.label), instances, strict=True)
    ]
  either = (maps[0] != 0) | (maps[1] != 0)
  # numbered 0 (none), 1, 2, ... without gaps
  (names_p, p), (names_t, t) = (
    np.unique(np.append(ids[either], 0), return_inverse=True) for ids in maps
  )
  none_p, none_t = (int(np.searchsorted(names, 0)) for names in (names_p, names_t))
  sizes_p, sizes_t = np.bincount(p), np.bincount(t)
  joint, shared = np.unique(p.astype(np.int64) * len(sizes_t) + t, return_counts=True)
  pairs = np.stack(np.divmod(joint, len(sizes_t)), -1)
  real = (pairs[:, 0] != none_p) & (pairs[:, 1] != none_t)
  pairs, shared = pairs[real], shared[real]
  union = sizes_p[pairs[:, 0]] + sizes_t[pairs[:, 1]] - shared
  return Matches(len(names_p) - 1, len(names_t) - 1, pairs, shared / union)


class _Detection(NamedTuple):
  found: int  # labelled objects that a predicted one matches
  right: int  # predicted objects that match a labelled one
  matches: Matches


def _detect(masks, instances, iou: float, connectivity) -> list[_Detection | None]:
  if not 0 <= iou <= 1:
    raise ValueError(f"lesion detection: iou is {iou}; expected 0 (any overlap) to 1.")
  detections = []
  for pair in masks:
    if pair is None:
      detections.append(None)
      continue
    matches = match(pair, instances, connectivity=connectivity)
    near = matches.pairs[matches.iou >= iou]
    right, found = (len(np.unique(side)) for side in near.T)
    detections.append(_Detection(found, right, matches))
  return detections


def _per_class(detections: Sequence, measure: Callable[..., float]) -> np.ndarray:
  return np.array([math.nan if one is None else measure(one) for one in detections], np.float64)


def _share(part: float, whole: float, empty: float) -> float:
  return part / whole if whole else empty


def lesion_sensitivity(
  masks: Sequence[Masks | None],
  instances: tuple[Array, Array] | None = None,
  *,
  iou: float = 0.0,
  connectivity: int | None = None,
  empty: float = math.nan,
) -> np.ndarray:
  """Share of the labelled objects that are found, (classes,); options as for `lesion_f1`."""
  detections = _detect(masks, instances, iou, connectivity)
  return _per_class(detections, lambda d: _share(d.found, d.matches.label, empty))


def lesion_precision(
  masks: Sequence[Masks | None],
  instances: tuple[Array, Array] | None = None,
  *,
  iou: float = 0.0,
  connectivity: int | None = None,
  empty: float = math.nan,
) -> np.ndarray:
  """Share of the predicted objects that are right, (classes,); options as for `lesion_f1`."""
  detections = _detect(masks, instances, iou, connectivity)
  return _per_class(detections, lambda d: _share(d.right, d.matches.prediction, empty))


def lesion_f1(
  masks: Sequence[Masks | None],
  instances: tuple[Array, Array] | None = None,
  *,
  iou: float = 0.0,
  connectivity: int | None = None,
  empty: float = math.nan,
) -> np.ndarray:
  """Lesion-wise F1, (classes,): harmonic mean of lesion sensitivity and lesion precision.

  A labelled object is found if a predicted one overlaps it, a predicted one is right if it
  overlaps a labelled one; many may match one. MSSEG's F1 (Commowick et al. 2018,
  doi 10.1038/s41598-018-31911-7) asks for more overlap than one voxel. 0 where only one of the two
  has objects.

  Args:
    masks: from `class_masks`.
    instances: (*space) int maps of prediction and label, or None for connected components.
    iou: smallest intersection over union of a match; 0 is any shared voxel. Above 1/2 matches are
      one to one.
    connectivity: of components; 1 is by faces, None by corners too.
    empty: value where neither has objects.
  """

  def f1(d: _Detection) -> float:
    sensitivity, precision = (
      _share(d.found, d.matches.label, 0.0),
      _share(d.right, d.matches.prediction, 0.0),
    )
    if not d.matches.label + d.matches.prediction:
      return empty
    return _share(2 * sensitivity * precision, sensitivity + precision, 0.0)

  return _per_class(_detect(masks, instances, iou, connectivity), f1)


def _panoptic(masks, instances, connectivity, measure) -> np.ndarray:
  by_class = [
    None if pair is None else match(pair, instances, connectivity=connectivity) for pair in masks
  ]

  def of(matches: Matches) -> float:
    # more than half shared: no object can have two such partners
    iou = matches.iou[matches.iou > 0.5]
    return measure(iou, (matches.prediction + matches.label) / 2)

  return _per_class(by_class, of)


def panoptic_quality(
  masks: Sequence[Masks | None],
  instances: tuple[Array, Array] | None = None,
  *,
  connectivity: int | None = None,
  empty: float = math.nan,
) -> np.ndarray:
  """Panoptic quality PQ = SQ x RQ, (classes,) (Kirillov et al. 2019, 1801.00868).

  Sum of the matches' IoU / (matches + false positives / 2 + misses / 2); a match has an IoU of
  more than 1/2. 0 where only one of the two has objects. The paper forgives predictions that lie
  mostly on ignored voxels; here what lies outside of these counts as it is.

  Args:
    masks: from `class_masks`.
    instances: (*space) int maps of prediction and label, or None for connected components.
    connectivity: of components; 1 is by faces, None by corners too.
    empty: value where neither has objects.
  """
  return _panoptic(masks, instances, connectivity, lambda iou, n: _share(iou.sum(), n, empty))


def segmentation_quality(
  masks: Sequence[Masks | None],
  instances: tuple[Array, Array] | None = None,
  *,
  connectivity: int | None = None,
  empty: float = math.nan,
) -> np.ndarray:
  """SQ of `panoptic_quality`: mean IoU of the matches, (classes,); `empty` where none match."""
  return _panoptic(
    masks, instances, connectivity, lambda iou, _: _share(iou.sum(), len(iou), empty)
  )


def recognition_quality(
  masks: Sequence[Masks | None],
  instances: tuple[Array, Array] | None = None,
  *,
  connectivity: int | None = None,
  empty: float = math.nan,
) -> np.ndarray:
  """RQ of `panoptic_quality`: F1 of the matches, (classes,); `empty` where there are no objects."""
  return _panoptic(masks, instances, connectivity, lambda iou, n: _share(len(iou), n, empty))
