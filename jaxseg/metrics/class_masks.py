"""The two masks of each class, cropped: what surface, boundary and centreline metrics look at."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from jaxseg.batch import Array
from jaxseg.metrics.checks import check_binary, check_classes, holds_regions


class Masks(NamedTuple):
  """One class of a case, on the box of both masks and the voxels next to it.

  Where voxels are ignored, the box spans those too.

  Attributes:
    prediction, label: (*box) bool, False in the outermost layer and where voxels are ignored.
    ignored: (*box) bool, where the weight is 0; None if it is nowhere.
    space: the shape of the whole case.
    box: where in the case the box lies, its outermost layer left out.
  """

  prediction: np.ndarray
  label: np.ndarray
  ignored: np.ndarray | None
  space: tuple[int, ...]
  box: tuple[slice, ...]


def class_masks(
  prediction: Array,
  label: Array,
  weight: Array | None = None,
  *,
  classes: int,
  background: bool = False,
) -> list[Masks | None]:
  """Masks per class; raises ValueError for arrays that don't fit, and regions that aren't binary.

  Args:
    prediction, label: (*space) int classes, or (*space, classes) regions, bool or all 0 and 1.
    weight: (*space), 0 = ignored.
    classes: number of classes, background included, or of regions.
    background: make class 0's masks too. Its surface is that of all others and the border of the
      image, large and of little meaning: without this option it is None, and scores NaN. Regions
      have no background.
  """
  prediction, label = np.asarray(prediction), np.asarray(label)
  weight = None if weight is None else np.asarray(weight)
  regions = holds_regions("class_masks", prediction, label, weight, classes)
  space = prediction.shape[:-1] if regions else prediction.shape
  for what, values in (("prediction", prediction), ("label", label)):
    if regions:
      check_binary("class_masks", what, values, "surfaces, boundaries and centrelines need")
    else:
      check_classes("class_masks", what, values, classes)
  ignored = None if weight is None or (weight > 0).all() else weight <= 0
  pair = (prediction, label)
  # the box spans the ignored voxels too: what lies beyond is then outside, at any distance
  beside = None if ignored is None else ndimage.find_objects(ignored.view(np.int8), 1)[0]
  # the highest class at least 1: fewer make SciPy look for all
  boxes = [] if regions else [ndimage.find_objects(x, max(classes - 1, 1)) for x in pair]
  out: list[Masks | None] = []
  for c in range(classes):
    if regions:
      both = [np.ascontiguousarray(x[..., c] > 0) for x in pair]
      box = _union([ndimage.find_objects(x.view(np.int8), 1)[0] for x in both], beside, space)
      both = [x[box] for x in both]
    elif c == 0:
      if not background:
        out.append(None)
        continue
      box = tuple(slice(0, n) for n in space)
      both = [x == 0 for x in pair]
    else:
      box = _union([of[c - 1] for of in boxes], beside, space)
      both = [x[box] == c for x in pair]
    unknown = None
    if ignored is not None:
      both = [x & ~ignored[box] for x in both]
      unknown = np.pad(ignored[box], 1)
    out.append(Masks(*(np.pad(x, 1) for x in both), unknown, space, box))
  return out


def _union(boxes, beside, space: tuple[int, ...]) -> tuple[slice, ...]:
  """The box around all that are not None, a voxel larger as far as the case reaches."""
  boxes = [box for box in boxes if box is not None]
  if not boxes:
    return (slice(0, 0),) * len(space)
  boxes += [] if beside is None else [beside]
  return tuple(
    slice(max(min(s.start for s in along) - 1, 0), min(max(s.stop for s in along) + 1, n))
    for n, *along in zip(space, *boxes, strict=True)
  )


def per_class(items: Sequence, measure: Callable[..., float]) -> np.ndarray:
  """(classes,) values of `measure`, NaN for classes whose item is None: those not looked at."""
  return np.array([math.nan if item is None else measure(item) for item in items], np.float64)
