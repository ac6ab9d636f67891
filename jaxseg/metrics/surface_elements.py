"""The elements of a mask's surface between the voxels, with their areas: marching cubes.

They lie at the voxels' corners: one wherever the voxels around a corner, two along every axis, are
neither all inside nor all outside. Its area is that of the triangles that marching cubes puts
there (in 2D the length of marching squares' lines), at any spacing. The values are those of
DeepMind's surface-distance (Nikolov et al., 1809.04430).
"""

import functools
import itertools
from collections.abc import Sequence

import numpy as np

# which of the voxels around a corner are inside (bits in the order of the array, the last one 1)
# -> of each piece of surface the shares of a voxel's faces that it covers, seen along each axis;
# all others are mirror images, transpositions and complements of these
_SQUARES = {
  0b0001: ((1 / 2, 1 / 2),),
  0b0011: ((1, 0),),
  0b0110: ((1 / 2, 1 / 2),) * 2,
}
_CORNER = (1 / 8, 1 / 8, 1 / 8)
_LARGE = (1 / 4, 1 / 4, 1 / 4)
_CUBES = {
  0b00000001: (_CORNER,),
  0b00000011: ((1 / 4, 1 / 4, 0),) * 2,
  0b00000110: (_CORNER,) * 2,
  0b00000111: (_CORNER, _LARGE, (1 / 2, 0, 0)),
  0b00001111: ((1 / 2, 0, 0),) * 2,
  0b00010110: (_CORNER,) * 3,
  0b00010111: (_CORNER, _CORNER, _LARGE, _LARGE),
  0b00011000: (_CORNER,) * 2,
  0b00011001: (_CORNER, (0, 1 / 4, 1 / 4), (0, 1 / 4, 1 / 4)),
  0b00011011: (_CORNER, (0, 1 / 4, 1 / 4), (1 / 4, 0, 1 / 4), (3 / 8, 3 / 8, 3 / 8)),
  0b00011110: (_CORNER, _CORNER, _LARGE, (1 / 2, 0, 0)),
  0b00111100: ((1 / 4, 1 / 4, 0),) * 4,
  0b01101001: (_CORNER,) * 4,
}
_PIECES = {2: _SQUARES, 3: _CUBES}


def surface_elements(
  mask: np.ndarray, ignored: np.ndarray | None, spacing: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
  """Where the elements of a mask's surface lie, and their areas.

  Args:
    mask: (*box) bool, False in its outermost layer; two or three axes.
    ignored: (*box) bool or None; corners that touch an ignored voxel have no element.
    spacing: (rank,) millimetres.

  Returns:
    (*box - 1) bool, and (n,) mm^2 (mm in 2D), n of the corners being True.
  """
  rank = mask.ndim
  if rank not in _PIECES:
    raise ValueError(
      f"surface elements: masks of {rank} axes; areas are known in two and three dimensions."
    )
  around = list(itertools.product((slice(None, -1), slice(1, None)), repeat=rank))
  code = np.zeros([n - 1 for n in mask.shape], np.uint8)
  for place in around:
    code = 2 * code + mask[place]
  elements = (code > 0) & (code < 2 ** len(around) - 1)
  if ignored is not None:
    for place in around:
      elements &= ~ignored[place]
  spacing = np.asarray(spacing, np.float64)
  faces = spacing.prod() / spacing
  areas = np.array([np.linalg.norm(p * faces, axis=-1).sum() for p in _pieces(rank)])
  return elements, areas[code[elements]]


@functools.cache
def _pieces(rank: int) -> tuple[np.ndarray, ...]:
  """By the code of the voxels around a corner: (pieces, rank) shares of faces."""
  size = 2**rank
  table = [np.zeros((0, rank))] * 2**size
  for code, pieces in _PIECES[rank].items():
    inside = np.array([code >> (size - 1 - i) & 1 for i in range(size)]).reshape((2,) * rank)
    for order in itertools.permutations(range(rank)):
      for mirrored in itertools.product((1, -1), repeat=rank):
        turned = inside.transpose(order)[tuple(slice(None, None, way) for way in mirrored)]
        number = int("".join(map(str, turned.ravel())), 2)
        table[number] = table[2**size - 1 - number] = np.array(pieces)[:, order]
  return tuple(table)
