"""Where the voxels of an image lie: one object that travels from reader to writer.

Arrays are (z, y, x) everywhere in the program. The affine stays as nibabel defines it, from voxel
index (x, y, z) to RAS millimetres, so that sheared and oblique grids survive unchanged.
"""

import dataclasses
from typing import Any

import nibabel as nib
import numpy as np

ORIENTATIONS = ("stored", "RAS")
_RAS = np.array([[0, 1], [1, 1], [2, 1]])


@dataclasses.dataclass(frozen=True, eq=False)
class Geometry:
  """The grid of an image file.

  Attributes:
    affine: (4, 4) float64, voxel index in (x, y, z) order -> RAS millimetres.
    shape: grid size in array order, (z, y, x) or (y, x).
    kind: the kind of file it was read from: "nifti", "itk", "picture", "dicom" or "plain".
    header: the reader's own header (nibabel's for NIfTI), kept for writing; None if there is none.
  """

  affine: np.ndarray
  shape: tuple[int, ...]
  kind: str = "plain"
  header: Any = None

  @property
  def rank(self) -> int:
    return len(self.shape)

  @property
  def spacing(self) -> np.ndarray:
    """(rank,) float32, millimetres in array order."""
    lengths = np.linalg.norm(self.affine[:3, : self.rank], axis=0)
    return lengths[::-1].astype(np.float32)

  @property
  def axcodes(self) -> str:
    """Direction of growing index per (x, y, z) axis, for example "LPS"; "" in 2D."""
    return "".join(nib.aff2axcodes(self.affine)) if self.rank == 3 else ""


def plain_geometry(shape, spacing=None, kind: str = "plain") -> Geometry:
  """An axis-aligned grid at the origin; spacing in array order, 1 mm where it is not given."""
  shape = tuple(int(n) for n in shape)
  spacing = (1.0,) * len(shape) if spacing is None else tuple(float(s) for s in spacing)
  if len(spacing) != len(shape) or min(spacing) <= 0:
    raise ValueError(
      f"spacing {spacing}: expected {len(shape)} positive numbers in millimetres, one per axis in "
      "(z, y, x) order."
    )
  affine = np.eye(4)
  affine[range(len(shape)), range(len(shape))] = spacing[::-1]
  return Geometry(affine, shape, kind)


def check_orientation(orientation: str) -> None:
  """Raises ValueError that lists the choices."""
  if orientation not in ORIENTATIONS:
    raise ValueError(f"orientation '{orientation}' is unknown; choices: {', '.join(ORIENTATIONS)}.")


def _turned(array: np.ndarray, turn: np.ndarray) -> np.ndarray:
  """Applies a nibabel orientation to an array (z, y, x[, channels])."""
  flipped = np.moveaxis(array, (0, 1, 2), (2, 1, 0))
  return np.moveaxis(nib.apply_orientation(flipped, turn), (0, 1, 2), (2, 1, 0))


def orient(array: np.ndarray, geometry: Geometry, orientation: str) -> np.ndarray:
  """(*space[, channels]) as stored -> the same voxels flipped and permuted to `orientation`.

  "RAS" means that the x axis grows to the right, y to the front, z upwards, as nearly as flips
  and permutations allow. Images of rank 2 have no orientation and come back as they are.
  """
  check_orientation(orientation)
  if orientation == "stored" or geometry.rank != 3:
    return array
  return _turned(array, nib.io_orientation(geometry.affine))


def restore(array: np.ndarray, geometry: Geometry, orientation: str) -> np.ndarray:
  """The exact inverse of `orient`; `geometry` is that of the stored image."""
  check_orientation(orientation)
  if orientation == "stored" or geometry.rank != 3:
    return array
  stored = nib.io_orientation(geometry.affine)
  return _turned(array, nib.orientations.ornt_transform(_RAS, stored))


def oriented(geometry: Geometry, orientation: str) -> Geometry:
  """The geometry of the array that `orient` returns."""
  check_orientation(orientation)
  if orientation == "stored" or geometry.rank != 3:
    return geometry
  turn = nib.io_orientation(geometry.affine)
  size = geometry.shape[::-1]
  affine = geometry.affine @ nib.orientations.inv_ornt_aff(turn, size)
  target = [0, 0, 0]
  for axis, (to, _) in enumerate(turn):
    target[int(to)] = size[axis]
  return dataclasses.replace(geometry, affine=affine, shape=tuple(target[::-1]), header=None)


def displacement(a: Geometry, b: Geometry) -> float:
  """Largest distance between the same corner of two grids of equal shape, in voxels of `a`."""
  corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
  size = np.ones(4)
  size[: a.rank] = np.array(a.shape[::-1]) - 1
  moved = (corners * size) @ (a.affine - b.affine).T
  return float(np.linalg.norm(moved[:, :3], axis=1).max() / max(a.spacing.min(), 1e-12))
