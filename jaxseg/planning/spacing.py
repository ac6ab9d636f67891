"""The spacing and the shape that a set of images is resampled to."""

from collections.abc import Sequence

import numpy as np

# voxels more than so many times longer along one axis than along the others are anisotropic
ANISOTROPY = 3
# per step of the search for a lower resolution
_GROWTH = 1.03


def target_spacing(spacings: np.ndarray, shapes: np.ndarray) -> tuple[np.ndarray, str]:
  """The spacing for full resolution, and why.

  The median per axis; where one axis is more than three times coarser than the others and has
  less than a third of their voxels, its 10th percentile, so that thin slices are not thrown away.

  Args:
    spacings: (cases, rank) millimetres.
    shapes: (cases, rank) voxels.
  """
  target = np.percentile(spacings, 50, 0)
  size = np.percentile(shapes, 50, 0)
  worst = int(np.argmax(target))
  others = np.delete(target, worst)
  coarse = target[worst] > ANISOTROPY * others.max()
  if not (coarse and size[worst] * ANISOTROPY < np.delete(size, worst).min()):
    return target, f"median of {len(spacings)} cases"
  finer = np.percentile(spacings[:, worst], 10)
  if finer < others.max():
    # stays the coarsest axis by a hair, so that it still is the one that comes first
    finer = others.max() + 1e-5
  median, target[worst] = target[worst], finer
  if finer == median:
    return target, f"median of {len(spacings)} cases"
  return target, f"median of {len(spacings)} cases; 10th percentile along the coarse axis {worst}"


def axis_order(spacing: np.ndarray) -> tuple[int, ...]:
  """The axes with the coarsest one first, the others as they were."""
  worst = int(np.argmax(spacing))
  return (worst, *(axis for axis in range(len(spacing)) if axis != worst))


def resampled_shape(
  shape: Sequence[int], spacing: Sequence[float], target: Sequence[float]
) -> tuple[int, ...]:
  """The shape of an image at another spacing, rounded half to even per axis."""
  return tuple(round(s / t * n) for s, t, n in zip(spacing, target, shape, strict=True))


def coarser(spacing: np.ndarray) -> np.ndarray:
  """3 % coarser along the fine axes, or along all once they are within a factor of 2."""
  fine = spacing.max() / spacing > 2
  return np.where(fine | ~fine.any(), spacing * _GROWTH, spacing)
