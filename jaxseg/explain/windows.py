"""The windows of a case that hold a target, as the run's predictor would cut them."""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.batch import Batch, by_kind
from jaxseg.inference.boxed import boxed
from jaxseg.inference.case import Case, cut, padded_fields
from jaxseg.inference.interactive import interactive
from jaxseg.inference.planes import slices
from jaxseg.inference.windows import window_starts

# options of a predictor that have a value for each axis, and their defaults
_SIDES = {"patch": 1, "total_stride": 1, "margin": 0}


class Window(NamedTuple):
  """A window of a padded case, and the part of the target that it stands for.

  Attributes:
    corner: its first voxel, in the padded case.
    inside: (*scores' grid) bool.
  """

  corner: tuple[int, ...]
  inside: np.ndarray


class Frame(NamedTuple):
  """A padded case and its windows.

  Attributes:
    fields: of the case, padded.
    space: of the case, without padding.
    before: voxels of padding before it.
    patch: of a window's image.
    margin: that the scores lack of it, on either side.
    axis: that a window is one voxel thin along, and which a 2D network does not see; or None.
    stride: of the network, along the axes that it sees.
  """

  fields: Batch
  space: tuple[int, ...]
  before: tuple[int, ...]
  patch: tuple[int, ...]
  margin: tuple[int, ...]
  axis: int | None
  stride: tuple[int, ...]

  @property
  def scores(self) -> tuple[int, ...]:
    """The grid of a window's scores."""
    return tuple(p - 2 * m for p, m in zip(self.patch, self.margin, strict=True))

  @property
  def padded(self) -> tuple[int, ...]:
    """The grid of all scores, padding included."""
    return tuple(max(n, w) for n, w in zip(self.space, self.scores, strict=True))


def _each(values, rank: int) -> tuple[int, ...]:
  return (int(values),) * rank if isinstance(values, int | np.integer) else tuple(values)


def frame(predict: Callable, case: Case) -> Frame:
  """A case as `predict` would cut it: a config's predictor with its options bound.

  Raises ValueError for one that shows its network other images than windows of the case.
  """
  if predict.func is boxed:
    raise ValueError(
      "the predictor 'boxed' shows its network images that it scales and normalises by itself; "
      "only runs that predict by windows or slices can be explained."
    )
  options, rank = predict.keywords, len(case.space)
  patch = options["patch"]
  flat = not isinstance(patch, int) and len(patch) < rank
  sliced = predict.func is slices or (predict.func is interactive and flat)
  axis = (options.get("axis") or 0) if sliced and rank == 3 else None
  seen = rank - (axis is not None)
  sides = [_each(options.get(name, default), seen) for name, default in _SIDES.items()]
  stride = sides[1]
  if axis is not None:
    sides = [(*of[:axis], thin, *of[axis:]) for of, thin in zip(sides, (1, 1, 0), strict=True)]
  patch, strides, margin = sides
  if not any(margin):
    patch = tuple(-(-p // s) * s for p, s in zip(patch, strides, strict=True))
  scores = [p - 2 * m for p, m in zip(patch, margin, strict=True)]
  missing = [max(0, w - n) for w, n in zip(scores, case.space, strict=True)]
  pads = [(n // 2 + m, n - n // 2 + m) for n, m in zip(missing, margin, strict=True)]
  fields = padded_fields(case, pads, mirror=options.get("padding") == "mirror")
  before = tuple(n // 2 for n in missing)
  return Frame(fields, case.space, before, patch, margin, axis, stride)


def select(frame: Frame, target: np.ndarray, most: int) -> tuple[list[Window], int]:
  """The windows for a target, those with the most of it first, and how many are left out.

  A target that fits into a window is in the middle of one. A larger one is parted among windows
  that overlap by half, each voxel with the window whose middle is nearest to it.

  Args:
    frame: of the case.
    target: (*space) bool, not empty.
    most: windows.
  """
  places = np.argwhere(target) + np.array(frame.before)
  owners, starts = [], []
  for axis, (size, window) in enumerate(zip(frame.padded, frame.scores, strict=True)):
    low, high = places[:, axis].min(), places[:, axis].max()
    if high - low < window:
      first = [int(np.clip((low + high + 1) // 2 - window // 2, 0, size - window))]
    else:
      first = window_starts(size, window, 0.5)
    starts.append(first)
    middles = np.array(first) + (window - 1) / 2
    owners.append(abs(places[:, axis, None] - middles).argmin(1))
  numbers = np.ravel_multi_index(owners, [len(of) for of in starts])
  held, counts = np.unique(numbers, return_counts=True)
  kept = held[np.argsort(-counts, kind="stable")][:most]
  corners = list(itertools.product(*starts))
  windows = []
  for number in kept:
    inside = np.zeros(frame.scores, bool)
    inside[tuple((places[numbers == number] - np.array(corners[number])).T)] = True
    windows.append(Window(corners[number], inside))
  return windows, len(held) - len(kept)


def fields_of(frame: Frame, window: Window) -> Batch:
  """The fields of a window, a batch of one, without the axis that the network does not see."""
  spans = tuple(slice(c, c + p) for c, p in zip(window.corner, frame.patch, strict=True))
  fields = cut(frame.fields, [spans])
  return fields if frame.axis is None else _planes(fields, frame.axis)


def _planes(fields: Batch, axis: int) -> Batch:
  """Fields of volumes one voxel thin along an axis -> those of planes."""

  def flat(row, values):
    if row.spatial:
      return np.squeeze(values, axis + 1)
    return np.delete(values, axis, -1) if row.axes else values

  return by_kind(flat, fields)


def target_of(frame: Frame, window: Window, weights: np.ndarray) -> jax.Array:
  """(1, *scores' grid, k): the weights (k,) of the scores where the window's part of it lies."""
  inside = window.inside if frame.axis is None else np.squeeze(window.inside, frame.axis)
  return jnp.asarray(inside[None, ..., None] * weights, jnp.float32)


def add(total: np.ndarray, frame: Frame, window: Window, values: np.ndarray) -> None:
  """Adds a window's map to that of the case with its padding and margin (see `whole`)."""
  values = values if frame.axis is None else np.expand_dims(values, frame.axis)
  spans = tuple(slice(c, c + p) for c, p in zip(window.corner, frame.patch, strict=True))
  total[spans] += values


def empty(frame: Frame) -> np.ndarray:
  """0 everywhere in the padded case."""
  shape = [n + 2 * m for n, m in zip(frame.padded, frame.margin, strict=True)]
  return np.zeros(shape, np.float32)


def whole(frame: Frame, total: np.ndarray) -> np.ndarray:
  """The case's part of what `add` has summed, (*space)."""
  starts = [b + m for b, m in zip(frame.before, frame.margin, strict=True)]
  return total[tuple(slice(s, s + n) for s, n in zip(starts, frame.space, strict=True))]
