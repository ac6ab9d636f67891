"""Weak annotations that are made from full labels: scribbles, slices, boxes.

They stand for what an annotator would draw on a set that has full labels already, so that weak and
full supervision can be compared. All are made on the stored image's grid, on the host.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy import ndimage

_WAYS = ("stroke", "skeleton")


def strokes(
  label: np.ndarray,
  case: str,
  /,
  *,
  way: str = "stroke",
  axis: int | None = 0,
  width: int = 1,
  inset: int = 1,
  seed: int = 0,
) -> np.ndarray:
  """(*space) stored values -> (*space) bool: one scribble inside each class of each slice.

  Args:
    label: the full label; each of its values is a class that is scribbled on.
    case: its name, of which the draw is a function, with `seed`, slice and class.
    way: "stroke" goes between two random voxels of the class's largest component, by a random way
      inside; "skeleton" is the class's medial line.
    axis: across which slices lie, each scribbled on by itself; None for the case as a whole. A
      plane has no slices.
    width: of a scribble in voxels, an even one as the next odd one; it never leaves its class.
    inset: voxels that it stays away from the border, as people do, where there is room.
    seed: of the draw.
  """
  if way not in _WAYS:
    raise ValueError(f"strokes: way '{way}' is unknown; choices: {', '.join(_WAYS)}.")
  label, drawn = np.asarray(label), np.zeros(np.shape(label), bool)
  for place in _slices(label.ndim, label.shape, axis):
    part = label[place]
    for value in np.unique(part):
      entropy = (seed, zlib.crc32(case.encode()), _number(place, axis), abs(int(value)))
      mask = part == value
      inner = _inset(mask, inset)
      line = _stroke(inner, np.random.default_rng(entropy)) if way == "stroke" else _thin(inner)
      if width > 1:
        structure = ndimage.generate_binary_structure(mask.ndim, 1)
        line = ndimage.binary_dilation(line, structure, iterations=width // 2) & mask
      drawn[place] |= line
  return drawn


def slices(
  label: np.ndarray,
  case: str,
  /,
  *,
  axis: int = 0,
  every: int | None = None,
  first: int = 0,
  chosen: Mapping[str, Sequence[int]] | None = None,
) -> np.ndarray:
  """(*space) stored values -> (*space) bool: whole slices.

  Args:
    label: the full label.
    case: its name.
    axis: across which slices lie, in the stored image's (z, y, x) order.
    every, first: every n-th slice from that one on.
    chosen: case -> its slices, of all cases, instead.

  Raises ValueError for slices that the case doesn't have, and for options that exclude each other.
  """
  label = np.asarray(label)
  if (every is None) == (chosen is None):
    raise ValueError("slices: expected either `every` (every=4), or `chosen` (case -> slices).")
  if axis >= label.ndim:
    raise ValueError(f"slices: axis {axis} of an image of {label.ndim} axes; expected a smaller.")
  number = label.shape[axis]
  if every is not None:
    # a case shorter than the first slice has its last one
    numbers = range(min(first, number - 1), number, every)
  elif case not in chosen:
    raise ValueError(f"slices: `chosen` has no slices of case '{case}'; expected those of each.")
  else:
    numbers = chosen[case]
  if wrong := [n for n in numbers if not 0 <= n < number]:
    raise ValueError(f"slices: case '{case}' has no slice {wrong[0]}; it has {number} of them.")
  drawn = np.zeros(label.shape, bool)
  np.moveaxis(drawn, axis, 0)[list(numbers)] = True
  return drawn


def box_masks(masks: np.ndarray, *, axis: int | None = None, margin: int = 0) -> np.ndarray:
  """(*space, k) bool -> (*space, k) bool: the box around each channel, in each slice or in all.

  Args:
    masks: where each class is.
    axis: across which slices lie, each with boxes of its own; None for one box in the case.
    margin: voxels that the boxes are wider on each side, within the slice.
  """
  boxes, space = np.zeros(masks.shape, bool), masks.shape[:-1]
  for place in _slices(len(space), space, axis):
    for k in range(masks.shape[-1]):
      inside = np.argwhere(masks[(*place, k)])
      if len(inside):
        low, high = np.maximum(inside.min(0) - margin, 0), inside.max(0) + 1 + margin
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        boxes[(*place, k)][box] = True
  return boxes


MARKERS: dict[str, Callable[..., np.ndarray]] = {"strokes": strokes, "slices": slices}


def _slices(rank: int, shape: Sequence[int], axis: int | None):
  """Index of each slice; of the whole where there are none."""
  if axis is None or rank < 3:
    return [(slice(None),) * rank]
  before = (slice(None),) * axis
  return [(*before, n, *(slice(None),) * (rank - axis - 1)) for n in range(shape[axis])]


def _number(place, axis: int | None) -> int:
  return next((n for n in place if isinstance(n, int)), 0)


def _inset(mask: np.ndarray, voxels: int) -> np.ndarray:
  """The mask without its border; where nothing is left, with as much of it as there must be."""
  while voxels > 0:
    # what leaves the image is no border
    inner = ndimage.binary_erosion(mask, iterations=voxels, border_value=1)
    if inner.any():
      return inner
    voxels -= 1
  return mask


def _stroke(mask: np.ndarray, random: np.random.Generator) -> np.ndarray:
  """A random way between two voxels of the largest component."""
  # where a run draws none, it needs no such package
  from skimage.graph import route_through_array

  objects, _ = ndimage.label(mask, np.ones((3,) * mask.ndim))
  sizes = np.bincount(objects.reshape(-1))
  inside = objects == 1 + int(np.argmax(sizes[1:]))
  voxels = np.argwhere(inside)
  start, end = voxels[random.integers(len(voxels), size=2)]
  cost = np.where(inside, 0.2 + random.random(mask.shape), -1.0)
  path, _ = route_through_array(cost, start, end, fully_connected=True)
  line = np.zeros(mask.shape, bool)
  line[tuple(np.array(path).T)] = True
  return line


def _thin(mask: np.ndarray) -> np.ndarray:
  from skimage.morphology import skeletonize

  line = skeletonize(mask)
  return line if line.any() else mask
