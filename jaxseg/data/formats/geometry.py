"""Where the voxels of an image lie: one object that travels from reader to writer.

Arrays are (z, y, x) everywhere in the program. The affine stays as nibabel defines it, from voxel
index (x, y, z) to RAS millimetres, so that sheared and oblique grids survive unchanged.
"""

import dataclasses
from typing import Any

import numpy as np

from jaxseg.packages import OnDemand

nib = OnDemand("nibabel")

# letters of orientations -> axis of the world
_AXIS = {"R": 0, "L": 0, "A": 1, "P": 1, "S": 2, "I": 2}
# of the sum of three cosines: about a degree where two orientations are as near
_TIE = 0.05


@dataclasses.dataclass(frozen=True, eq=False)
class Geometry:
  """The grid of an image file.

  Attributes:
    affine: (4, 4) float64, voxel index in (x, y, z) order -> RAS millimetres.
    shape: grid size in array order, (z, y, x) or (y, x).
    kind: the kind of file it was read from: "nifti", "itk", "picture", "dicom" or "plain".
    header: the reader's own header (nibabel's for NIfTI), kept for writing; None if there is none.
    directed: whether the file tells which way the axes run.
  """

  affine: np.ndarray
  shape: tuple[int, ...]
  kind: str = "plain"
  header: Any = None
  directed: bool = True

  @property
  def rank(self) -> int:
    return len(self.shape)

  @property
  def spacing(self) -> np.ndarray:
    """(rank,) float32, millimetres in array order."""
    lengths = np.linalg.norm(self.affine[:3, : self.rank], axis=0)
    return lengths[::-1].astype(np.float32)

  @property
  def shear(self) -> float:
    """How far two of the axes are from a right angle at most, in degrees."""
    columns = self.affine[:3, : self.rank] / self.spacing[::-1]
    cosines = np.abs(columns.T @ columns - np.eye(self.rank))
    return float(np.degrees(np.arcsin(np.minimum(cosines.max(), 1))))

  @property
  def axcodes(self) -> str:
    """Direction of growing index per (x, y, z) axis, for example "LPS"; "" where it isn't told."""
    lengths = self.spacing
    if self.rank != 3 or not (self.directed and np.isfinite(lengths).all() and lengths.all()):
      return ""
    return "".join(code or "" for code in nib.aff2axcodes(self.affine))


def plain_geometry(shape, spacing=None, kind: str = "plain") -> Geometry:
  """An axis-aligned grid at the origin, of which no direction is known.

  The spacing is in array order, 1 mm where it is not given.
  """
  shape = tuple(int(n) for n in shape)
  spacing = (1.0,) * len(shape) if spacing is None else tuple(float(s) for s in spacing)
  if len(spacing) != len(shape) or min(spacing) <= 0:
    raise ValueError(
      f"spacing {spacing}: expected {len(shape)} positive numbers in millimetres, one per axis in "
      "(z, y, x) order."
    )
  affine = np.eye(4)
  affine[range(len(shape)), range(len(shape))] = spacing[::-1]
  return Geometry(affine, shape, kind, directed=False)


def check_orientation(orientation: str) -> None:
  """Raises ValueError that says what an orientation is."""
  text = isinstance(orientation, str)
  if orientation != "stored" and not (
    text and sorted(_AXIS.get(letter, 9) for letter in orientation) == [0, 1, 2]
  ):
    raise ValueError(
      f"orientation '{orientation}' is unknown; choices: stored, RAS, or other three letters that "
      "say where x, y and z grow to: R or L, A or P, S or I (LPS is ITK's own)."
    )


def lies(geometry: Geometry, orientation: str) -> bool:
  """Whether an image need not be turned to an orientation: it has it, or none that is told.

  Of a grid that is turned by 45 degrees two orientations are as right: within a degree, both hold.
  """
  check_orientation(orientation)
  if orientation in ("stored", geometry.axcodes) or not geometry.axcodes:
    return True
  columns = geometry.affine[:3, :3]
  cosines = columns / np.linalg.norm(columns, axis=0)
  return _nearness(cosines, orientation) > _nearness(cosines, geometry.axcodes) - _TIE


def _nearness(cosines: np.ndarray, orientation: str) -> float:
  """The sum of the cosines between the axes of a grid and those of an orientation."""
  signs = (1 if letter in "RAS" else -1 for letter in orientation)
  return sum(
    s * cosines[_AXIS[a], i] for i, (s, a) in enumerate(zip(signs, orientation, strict=True))
  )


def _turned(array: np.ndarray, turn: np.ndarray) -> np.ndarray:
  """Applies a nibabel orientation to an array (z, y, x[, channels])."""
  flipped = np.moveaxis(array, (0, 1, 2), (2, 1, 0))
  back = np.moveaxis(nib.apply_orientation(flipped, turn), (0, 1, 2), (2, 1, 0))
  # sums run in the order of memory: a turned scan gives to the bit what one stored like this does
  return np.ascontiguousarray(back)


def _turn(geometry: Geometry, orientation: str) -> np.ndarray:
  wanted = nib.orientations.axcodes2ornt(orientation)
  return nib.orientations.ornt_transform(nib.io_orientation(geometry.affine), wanted)


def orient(array: np.ndarray, geometry: Geometry, orientation: str) -> np.ndarray:
  """(*space[, channels]) as stored -> the same voxels flipped and permuted to `orientation`.

  "RAS" means that the x axis grows to the right, y to the front, z upwards, as nearly as flips
  and permutations allow. Images without an orientation come back as they are: those of rank 2, and
  those whose files don't tell theirs.
  """
  if lies(geometry, orientation):
    return array
  return _turned(array, _turn(geometry, orientation))


def restore(array: np.ndarray, geometry: Geometry, orientation: str) -> np.ndarray:
  """The exact inverse of `orient`; `geometry` is that of the stored image."""
  if lies(geometry, orientation):
    return array
  wanted = nib.orientations.axcodes2ornt(orientation)
  stored = nib.io_orientation(geometry.affine)
  return _turned(array, nib.orientations.ornt_transform(wanted, stored))


def oriented(geometry: Geometry, orientation: str) -> Geometry:
  """The geometry of the array that `orient` returns."""
  if lies(geometry, orientation):
    return geometry
  turn = _turn(geometry, orientation)
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
