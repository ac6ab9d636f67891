"""Images, labels and scores on a grid of another spacing, as nnU-Net resamples them.

Voxels are areas: both grids share their outer edges, not the centres of their corner voxels, unless
`corners` is asked for. Beyond its border an image goes on with its last voxel. One axis after the
other, in NumPy's own loops, so that the bits depend neither on the machine's linear algebra nor on
the number of threads.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

# nnU-Net's: a grid is anisotropic if its longest voxel edge exceeds the shortest so many times
ANISOTROPY = 3
ORDERS = (0, 1, 3)
# what SciPy puts around an image before it computes spline coefficients
_PADDING = 12


def resized_shape(shape: Sequence[int], spacing, target) -> tuple[int, ...]:
  """nnU-Net's rule, round(spacing / target x size) per axis, half to even; at least one voxel."""
  return tuple(
    max(1, round(float(s) / float(t) * n)) for s, t, n in zip(spacing, target, shape, strict=True)
  )


def coarse_axis(spacing: Sequence[float], target: Sequence[float]) -> int | None:
  """The axis that is resampled apart from the others, or None: nnU-Net's "separate z".

  It is the longest one of the first of the two grids that is anisotropic; two equally long ones
  are resampled with the third. Only volumes have one.
  """
  for grid in (spacing, target):
    grid = np.asarray(grid, float)
    if len(grid) == 3 and grid.max() / grid.min() > ANISOTROPY:
      return lone_axis(grid)
  return None


def lone_axis(spacing: Sequence[float]) -> int | None:
  """The axis with the longest edge of the voxels, None where that is not one alone."""
  (longest,) = np.nonzero(np.asarray(spacing) == np.max(spacing))
  return int(longest[0]) if len(longest) == 1 else None


def resize(
  array: np.ndarray, shape: Sequence[int], orders: Sequence[int], *, corners: bool = False
) -> np.ndarray:
  """(*space) -> (*shape) float32.

  Splines overshoot; the result is cut off at the least and the greatest value of the image, or,
  along axes of a lower order, of each of its slices.

  Args:
    array: (*space) of any real type.
    shape: the new size.
    orders: per axis, 0 nearest, 1 linear, 3 cubic spline.
    corners: the grids share the centres of their corner voxels, as of `scipy.ndimage.zoom`.
  """
  out = np.asarray(array, np.float32)
  changed = [axis for axis in range(out.ndim) if out.shape[axis] != shape[axis]]
  # the axis that shrinks most first: less is left to do for the others
  changed.sort(key=lambda axis: shape[axis] / out.shape[axis])
  cubic = [axis for axis in changed if orders[axis] > 1]
  if cubic:
    within = tuple(axis for axis in range(out.ndim) if orders[axis] > 1)
    lowest, highest = out.min(within, keepdims=True), out.max(within, keepdims=True)
    for axis in cubic:
      out = _along(out, axis, _centres(out.shape[axis], shape[axis], corners), orders[axis])
    np.clip(out, lowest, highest, out=out)
  for axis in changed:
    if axis not in cubic:
      out = _along(out, axis, _centres(out.shape[axis], shape[axis], corners), orders[axis])
  return out


def _centres(length: int, size: int, corners: bool) -> np.ndarray:
  """Where the voxels of the new grid lie in the old one, in its voxels."""
  if corners:
    return np.arange(size) * ((length - 1) / max(1, size - 1))
  return (np.arange(size) + 0.5) * (length / size) - 0.5


def _along(array: np.ndarray, axis: int, at: np.ndarray, order: int) -> np.ndarray:
  """Interpolates at the positions `at` of one axis."""
  length = array.shape[axis]
  if order == 0:
    return np.take(array, np.clip(np.floor(at + 0.5).astype(int), 0, length - 1), axis)
  if order == 3:
    widths = [(_PADDING,) * 2 if a == axis else (0, 0) for a in range(array.ndim)]
    array = ndimage.spline_filter1d(
      np.pad(array, widths, mode="edge"), 3, axis, np.float32, mode="nearest"
    )
    at = at + _PADDING
  first = np.floor(at)
  along = [1] * array.ndim
  along[axis] = len(at)
  out = None
  for tap, weights in enumerate(_weights(at - first, order), -(order // 2)):
    index = np.clip(first.astype(int) + tap, 0, array.shape[axis] - 1)
    term = np.take(array, index, axis)
    term *= weights.astype(np.float32).reshape(along)
    out = term if out is None else np.add(out, term, out=out)
  return out


def _weights(t: np.ndarray, order: int) -> tuple[np.ndarray, ...]:
  """The B-spline's values at the neighbours of a point, t after the one before it."""
  if order == 1:
    return 1 - t, t
  return (
    (1 - t) ** 3 / 6,
    (4 - 6 * t**2 + 3 * t**3) / 6,
    (1 + 3 * t + 3 * t**2 - 3 * t**3) / 6,
    t**3 / 6,
  )


def resize_label(
  label: np.ndarray,
  shape: Sequence[int],
  orders: Sequence[int],
  values: Sequence[int],
  *,
  corners: bool = False,
) -> np.ndarray:
  """(*space) integers -> (*shape): each value's mask is resampled, and the largest share wins.

  As in nnU-Net, of two equal shares the greater value's wins; where no value has half of a voxel,
  which nnU-Net makes background, the largest share wins as well.

  Args:
    label: (*space), any integers.
    shape: the new size.
    orders: per axis, 0 or 1.
    values: all that may occur in `label`, ascending.
    corners: as of `resize`.
  """
  orders = [order if n != m else 0 for order, n, m in zip(orders, label.shape, shape, strict=True)]
  centres = [_centres(n, m, corners) for n, m in zip(label.shape, shape, strict=True)]
  index = np.searchsorted(values, label).astype(np.int32) + 1
  out, best = np.full(tuple(shape), values[0], label.dtype), np.zeros(tuple(shape), np.float32)
  for k, box in enumerate(ndimage.find_objects(index), 1):
    if box is None:
      continue
    # a small structure costs little: only those voxels are computed that it can reach
    near = tuple(slice(max(0, s.start - 1), s.stop + 1) for s in box)
    ends = [np.searchsorted(at, (s.start - 1, s.stop)) for at, s in zip(centres, box, strict=True)]
    reached = tuple(slice(*end) for end in ends)
    share = (index[near] == k).astype(np.float32)
    for axis, (at, order) in enumerate(zip(centres, orders, strict=True)):
      share = _along(share, axis, at[reached[axis]] - near[axis].start, order)
    wins = (share >= best[reached]) & (share > 0)
    best[reached][wins] = share[wins]
    out[reached][wins] = values[k - 1]
  return out
