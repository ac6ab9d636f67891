"""The grid that a network sees a case on, and the way there and back."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxseg.data.formats.geometry import Geometry, orient, restore
from jaxseg.data.prepared.resizing import resize, resize_label


class Grid(NamedTuple):
  """A case's own grid and the network's: flipped, transposed, cropped and resampled, in this order.

  Attributes:
    geometry: of the image as stored.
    orientation: what it is turned to, "stored" for its own.
    transpose: order of the axes after that.
    whole: (rank,) size of the turned image.
    box: (rank,) slices of what is kept of it.
    shape: (rank,) size of the network's grid.
    spacing: (rank,) float32, millimetres on the network's grid.
    orders: (rank,) orders of interpolation for images, there.
    label_orders: for labels.
    score_orders: for scores, back.
    corners: whether both grids share the centres of their corner voxels, not their outer edges.
  """

  geometry: Geometry
  orientation: str
  transpose: tuple[int, ...]
  whole: tuple[int, ...]
  box: tuple[slice, ...]
  shape: tuple[int, ...]
  spacing: np.ndarray
  orders: tuple[int, ...]
  label_orders: tuple[int, ...]
  score_orders: tuple[int, ...]
  corners: bool = False

  @property
  def cropped(self) -> tuple[int, ...]:
    """(rank,) size of the box."""
    return tuple(s.stop - s.start for s in self.box)

  @property
  def resamples(self) -> bool:
    """Whether voxels are interpolated; otherwise they are only moved."""
    return self.shape != self.cropped

  def cut(self, array: np.ndarray) -> np.ndarray:
    """(*space[, k]) as stored -> turned, transposed and cropped, its voxels not yet resampled."""
    return turned(array, self.geometry, self.orientation, self.transpose)[self.box]

  def image(self, array: np.ndarray) -> np.ndarray:
    """(*cropped, k) -> (*shape, k) float32."""
    return self._each(array, self.shape, self.orders)

  def axis(self, stored: int) -> int:
    """The network's axis that an axis of the stored image becomes."""
    sizes = range(2, 2 + self.geometry.rank)
    probe = turned(np.empty(tuple(sizes)), self.geometry, self.orientation, self.transpose)
    return probe.shape.index(sizes[stored])

  def label(self, array: np.ndarray, values: Sequence[int]) -> np.ndarray:
    """(*cropped) integers, all among the ascending `values` -> (*shape)."""
    if not self.resamples:
      return array
    return resize_label(array, self.shape, self.label_orders, values, corners=self.corners)

  def weight(self, array: np.ndarray) -> np.ndarray:
    """(*cropped) weights -> (*shape), of the nearest voxel: what is ignored stays ignored."""
    return resize(array, self.shape, (0,) * len(self.shape), corners=self.corners)

  def mask(self, stored: np.ndarray) -> np.ndarray:
    """(*space) bool as stored -> (*shape): where the nearest voxel is inside, or one inside falls.

    A single voxel is none of the nearest ones where the network's are larger.
    """
    laid = self.cut(stored)
    if not self.resamples:
      return np.ascontiguousarray(laid)
    inside = self.weight(laid.astype(np.float32)) > 0.5
    places = [self._along(places, axis) for axis, places in enumerate(np.nonzero(laid))]
    whole = (np.floor(place + 0.5).astype(int) for place in places)
    inside[tuple(np.clip(at, 0, n - 1) for at, n in zip(whole, self.shape, strict=True))] = True
    return inside

  def positions(self, stored: np.ndarray) -> np.ndarray:
    """(n, rank) positions in voxels of the stored image -> on the network's grid, float64.

    The middle of the first voxel is 0. What is cropped away comes to lie outside of the grid.
    """
    stored = np.asarray(stored, np.float64)
    out = np.empty_like(stored)
    for own in range(self.geometry.rank):
      axis, size = self.axis(own), self.geometry.shape[own]
      # of an image of two voxels along this axis, 0 and 1, the one that comes first
      ends = np.arange(2).reshape([-1 if a == own else 1 for a in range(self.geometry.rank)])
      first = turned(ends, self.geometry, self.orientation, self.transpose).flat[0]
      place = size - 1 - stored[:, own] if first else stored[:, own]
      out[:, axis] = self._along(place - self.box[axis].start, axis)
    return out

  def _along(self, places: np.ndarray, axis: int) -> np.ndarray:
    """Positions along an axis of what was cropped -> of the network's grid."""
    new, old = self.shape[axis], self.cropped[axis]
    if not self.corners or old == 1:
      return (places + 0.5) * new / old - 0.5
    moved = places * (new - 1) / (old - 1)
    # the outer half of a voxel at the border lies beyond a finer grid's last one
    inside = (places >= -0.5) & (places <= old - 0.5)
    return np.where(inside, np.clip(moved, -0.5, new - 0.5), moved)

  def restore(self, array: np.ndarray, *, outside: float = 0) -> np.ndarray:
    """(*shape[, k]) -> (*space[, k]) on the grid of the stored image.

    Args:
      array: scores, of classes one by one or all at once, resampled linearly; or integer labels,
        resampled as labels are.
      outside: value of voxels that were cropped away. 0 in all scores decodes as background.
    """
    if self.resamples:
      if np.issubdtype(array.dtype, np.integer):
        values, how = np.unique(array), {"corners": self.corners}
        array = resize_label(array, self.cropped, self.label_orders, values, **how)
      else:
        array = self._each(array, self.cropped, self.score_orders)
    if self.cropped != self.whole:
      full = np.full((*self.whole, *array.shape[len(self.whole) :]), outside, array.dtype)
      full[self.box] = array
      array = full
    back = (*np.argsort(self.transpose).tolist(), *range(len(self.whole), array.ndim))
    return restore(np.transpose(array, back), self.geometry, self.orientation)

  def _each(self, array: np.ndarray, shape, orders) -> np.ndarray:
    """Resamples every channel, where there are channels."""
    if array.shape[: len(shape)] == tuple(shape):
      return array
    if array.ndim == len(shape):
      return resize(array, shape, orders, corners=self.corners)
    out = np.empty((*shape, array.shape[-1]), np.float32)
    for channel in range(array.shape[-1]):
      out[..., channel] = resize(array[..., channel], shape, orders, corners=self.corners)
    return out


def turned(array: np.ndarray, geometry: Geometry, orientation: str, transpose) -> np.ndarray:
  """(*space[, k]) as stored -> flipped and permuted to the orientation, then transposed."""
  axes = (*transpose, *range(geometry.rank, array.ndim))
  return np.transpose(orient(array, geometry, orientation), axes)
