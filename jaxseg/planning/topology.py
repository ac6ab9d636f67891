"""How often each axis is pooled, and the kernels and strides that follow."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# an axis of a feature map never gets shorter than this
_SHORTEST = 4


class Topology(NamedTuple):
  """The stages of a U-Net for one patch.

  Attributes:
    patch: (rank,) the patch, padded so that every pooling halves it exactly.
    kernels: per stage, finest first, one size per axis.
    strides: per stage, the step that leads into it; the first is 1 on all axes.
  """

  patch: tuple[int, ...]
  kernels: tuple[tuple[int, ...], ...]
  strides: tuple[tuple[int, ...], ...]

  @property
  def divisor(self) -> tuple[int, ...]:
    """(rank,) what the patch is a multiple of."""
    return tuple(int(n) for n in np.prod(self.strides, axis=0))


def topology(spacing: Sequence[float], patch: Sequence[float]) -> Topology:
  """The stages for a patch of a given spacing.

  An axis is pooled while it has 8 voxels or more and its voxels are less than twice as long as
  those of the finest such axis; an axis that would be pooled alone needs 12. A kernel spans 1
  voxel along an axis until that axis is within a factor of 2 of the finest one, then 3, and 3
  everywhere in the coarsest stage.

  Args:
    spacing: (rank,) millimetres.
    patch: (rank,) voxels; a median, and so perhaps half a voxel.

  Source: Isensee et al., arXiv 1904.08128, supplement; nnU-Net 2.8.1.
  """
  rank = len(spacing)
  millimetres = np.asarray(spacing, np.float64)
  size = np.asarray(patch, np.float64)
  kernel = np.ones(rank, int)
  strides, kernels = [(1,) * rank], []
  while True:
    long_enough = size >= 2 * _SHORTEST
    if not long_enough.any():
      break
    pooled = long_enough & (millimetres / millimetres[long_enough].min() < 2)
    if pooled.sum() == 1 and size[pooled][0] < 3 * _SHORTEST:
      break
    kernel[millimetres / millimetres.min() < 2] = 3
    kernels.append(tuple(kernel.tolist()))
    strides.append(tuple(np.where(pooled, 2, 1).tolist()))
    millimetres = np.where(pooled, 2 * millimetres, millimetres)
    size = np.where(pooled, np.ceil(size / 2), size)
  kernels.append((3,) * rank)
  divisor = np.prod(strides, axis=0)
  padded = np.ceil(np.asarray(patch) / divisor) * divisor
  return Topology(tuple(int(n) for n in padded), tuple(kernels), tuple(strides))
