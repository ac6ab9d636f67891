"""The part of an image that holds anything: its nonzero voxels, and the box around them."""

import numpy as np
from scipy import ndimage


def nonzero_mask(image: np.ndarray) -> np.ndarray:
  """(*space, channels) -> (*space) bool: nonzero in any channel, holes filled; as in nnU-Net."""
  return ndimage.binary_fill_holes((image != 0).any(-1))


def nonzero_box(image: np.ndarray) -> tuple[slice, ...]:
  """The smallest box with all voxels that are nonzero in any channel; everything if there is none.

  nnU-Net fills the holes of the mask first, which changes no box.
  """
  mask = (image != 0).any(-1)
  if not mask.any():
    return tuple(slice(0, size) for size in mask.shape)
  box = []
  for axis in range(mask.ndim):
    (inside,) = np.nonzero(mask.any(tuple(a for a in range(mask.ndim) if a != axis)))
    box.append(slice(int(inside[0]), int(inside[-1]) + 1))
  return tuple(box)
