"""Where the classes of a case lie, how large they are and how bright: to know them mirrored."""

import math
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from jaxseg.batch import LabelSpec

# voxels whose brightness is measured; more of them tell no more
_DRAWN = 100_000


class Place(NamedTuple):
  """One class or region of one case.

  Attributes:
    voxels: their number.
    centre: (rank,) mean index along each axis, as stored.
    length: (rank,) voxels along each axis: those of the evenly filled bar with its deviation.
    bright: (channels,) mean of the image.
    varied: (channels,) its standard deviation.
  """

  voxels: int
  centre: tuple[float, ...]
  length: tuple[float, ...]
  bright: tuple[float, ...]
  varied: tuple[float, ...]


def places(image: np.ndarray, label: np.ndarray, labels: LabelSpec) -> tuple[Place | None, ...]:
  """The place of every foreground class, or of every region; None for one that the case lacks.

  Args:
    image: (*space, channels).
    label: (*space) stored values.
    labels: what they mean.
  """
  united = labels.members
  # find_objects counts from 1
  least = min(0, *(min(values) - 1 for values in united))
  boxes = ndimage.find_objects(label if least == 0 else label.astype(np.int32) - least)
  found = []
  for values in united:
    inside = [v - least - 1 for v in values if v - least - 1 < len(boxes)]
    parts = [boxes[i] for i in inside if boxes[i] is not None]
    if not parts:
      found.append(None)
      continue
    box = tuple(
      slice(min(s.start for s in axis), max(s.stop for s in axis))
      for axis in zip(*parts, strict=True)
    )
    mask = label[box] == values[0] if len(values) == 1 else np.isin(label[box], values)
    found.append(_place(image[box], mask, box))
  return tuple(found)


def _place(image: np.ndarray, mask: np.ndarray, box: tuple[slice, ...]) -> Place:
  voxels = int(mask.sum())
  centre, length = [], []
  for axis, span in enumerate(box):
    others = tuple(i for i in range(mask.ndim) if i != axis)
    shares = mask.sum(others, dtype=np.float64) / voxels
    index = np.arange(span.start, span.stop)
    mean = shares @ index
    centre.append(float(mean))
    # an evenly filled bar of n voxels has a variance of (n * n - 1) / 12
    length.append(math.sqrt(12 * float(shares @ (index - mean) ** 2) + 1))
  values = image[mask][:: max(1, voxels // _DRAWN)].astype(np.float64)
  bright, varied = values.mean(0), values.std(0)
  return Place(voxels, tuple(centre), tuple(length), tuple(bright.tolist()), tuple(varied.tolist()))
