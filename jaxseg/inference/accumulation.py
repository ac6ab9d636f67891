"""Sums of overlapping windows in which a voxel leaves memory after its last window."""

import concurrent.futures
import itertools
import math
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

Region = tuple[slice, ...]
# (where on the case's grid, (*region, k) float32 scores): a finished part of a case
Into = Callable[[Region, np.ndarray], None]

# values of a window from which on threads share the work
_LARGE = 2**20
# values whose products are made at once
_ROWS = 2**18
_POOL = concurrent.futures.ThreadPoolExecutor(min(os.cpu_count() or 1, 8))


class Accumulator:
  """The weighted mean over windows, given out tile by tile.

  The ends of all windows cut a case into tiles, each of which lies inside a window or outside it as
  a whole. A tile is kept from its first window to its last: windows that come in the order of their
  starts leave no more behind them than the overlap with those to come, across the case.

  The weights of each voxel are divided by their sum beforehand, so that sums are means, nowhere
  larger than what is averaged: half precision holds them at the corners of a case too, where a
  Gaussian's weight is 1e-11 of its peak.
  """

  def __init__(
    self,
    starts: Sequence[Sequence[int]],
    weights: Sequence[np.ndarray],
    dtype: np.dtype = np.float32,
  ):
    """Takes per axis the first voxels of the windows, and (window,) weights."""
    self._axes = [_Axis(*axis) for axis in _zip(starts, weights)]
    self._dtype = dtype
    self._sums: dict[tuple[int, ...], np.ndarray] = {}
    self._added_windows: dict[tuple[int, ...], int] = {}

  def add(self, window: tuple[int, ...], scores: np.ndarray, give: Into) -> None:
    """Adds a window's scores (*window, k), and gives out the tiles that were waiting for it only.

    Args:
      window: which of the starts, per axis.
      scores: its scores.
      give: receives (region, (*region, k) float32 scores).
    """
    tiles = list(itertools.product(*(axis.places(i) for axis, i in _zip(self._axes, window))))
    # tiles share nothing, and NumPy lets go of the interpreter while it adds them up
    spread = _POOL.map if scores.size >= _LARGE else map
    for places, part in zip(tiles, spread(lambda t: self._added(t, scores), tiles), strict=True):
      if part is not None:
        give(tuple(place.span for place in places), part)

  def _added(self, places: Sequence["_Place"], scores: np.ndarray) -> np.ndarray | None:
    """Adds a window's part of a tile; the tile's mean if that was the last it waited for."""
    tile = tuple(place.tile for place in places)
    values = scores[tuple(place.inside for place in places)]
    weights = _outer([place.shares for place in places])
    covers = math.prod(axis.covers[t] for axis, t in _zip(self._axes, tile))
    added = self._added_windows.pop(tile, 0) + 1
    last = added == covers
    before = self._sums.pop(tile, None)
    sums = before
    if last or before is None:
      sums = np.empty(values.shape, np.float32 if last else self._dtype)
    # a few rows at a time, so that products need no room
    rows = max(1, _ROWS // math.prod(values.shape[1:]))
    for row in range(0, len(values), rows):
      part = values[row : row + rows] * weights[row : row + rows]
      if before is not None:
        part += before[row : row + rows]
      sums[row : row + rows] = part
    if last:
      return sums
    self._sums[tile], self._added_windows[tile] = sums, added
    return None


class _Place(NamedTuple):
  """A tile along one axis, as one of its windows sees it.

  Attributes:
    tile: its number.
    span: where it lies.
    inside: where it lies in the window.
    shares: the window's weights there.
  """

  tile: int
  span: slice
  inside: slice
  shares: np.ndarray


class _Axis:
  """The windows and the tiles along one axis.

  Attributes:
    covers: per tile, the number of windows that cover it.
  """

  def __init__(self, starts: Sequence[int], weights: np.ndarray):
    window = len(weights)
    sums = np.zeros(starts[-1] + window)
    for start in starts:
      sums[start : start + window] += weights
    cuts = sorted({*starts, *(start + window for start in starts)})
    spans = list(itertools.pairwise(cuts))
    self.covers = [sum(s <= low < s + window for s in starts) for low, _ in spans]
    self._places = [
      [
        _Place(
          tile,
          slice(low, high),
          slice(low - s, high - s),
          (weights[low - s : high - s] / sums[low:high]).astype(np.float32),
        )
        for tile, (low, high) in enumerate(spans)
        if s <= low < s + window
      ]
      for s in starts
    ]

  def places(self, window: int) -> list[_Place]:
    """The tiles that a window covers."""
    return self._places[window]


def _outer(factors: Sequence[np.ndarray]) -> np.ndarray:
  """The product of one vector per axis, with an axis of length 1 for the classes."""
  product = np.ones((), np.float32)
  for factor in factors:
    product = product[..., None] * factor
  return product[..., None]


def _zip(*per_axis):
  return zip(*per_axis, strict=True)
