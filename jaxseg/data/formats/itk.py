"""NRRD and MetaImage through SimpleITK (whose world is LPS, ours RAS)."""

import pathlib
import re

import numpy as np

from jaxseg.data.formats.geometry import Geometry
from jaxseg.data.formats.itk_headers import directed, millimetres
from jaxseg.packages import OnDemand

sitk = OnDemand("SimpleITK")


def _geometry(image: "sitk.Image", unit: float, told: bool) -> Geometry:
  rank = min(image.GetDimension(), 3)
  size = image.GetDimension()
  direction = np.reshape(image.GetDirection(), (size, size))[:rank, :rank]
  affine = np.eye(4)
  affine[:rank, :rank] = direction * np.array(image.GetSpacing()[:rank])
  affine[:rank, 3] = image.GetOrigin()[:rank]
  affine[:rank] *= unit
  affine[:2] *= -1  # LPS -> RAS
  if rank == 2:
    affine[2] = (0, 0, 1, 0)
  return Geometry(affine, image.GetSize()[rank - 1 :: -1], "itk", directed=told)


def read(path: pathlib.Path) -> tuple[np.ndarray, Geometry]:
  """(*space, channels) and its geometry, of an NRRD or MetaImage file."""
  unit = millimetres(path)
  try:
    image = sitk.ReadImage(str(path))
  except RuntimeError as error:
    # its words come after the place in ITK's source and the reader's address
    reason = re.split(r"\(0x[0-9a-f]+\): |\[nrrd\] ", str(error))[-1]
    raise ValueError(reason.replace(f"{path.parent}/", "")) from error
  if image.GetDimension() not in (2, 3, 4):
    raise ValueError(f"it has {image.GetDimension()} axes, expected 2 or 3, or 4 with channels")
  voxels = sitk.GetArrayFromImage(image)
  if np.iscomplexobj(voxels):
    raise ValueError("its voxels are complex numbers: write their magnitude")
  if image.GetDimension() == 4:
    voxels = np.moveaxis(voxels, 0, -1)
  elif image.GetNumberOfComponentsPerPixel() == 1:
    voxels = voxels[..., None]
  return voxels, _geometry(image, unit, directed(path))


def write(path: pathlib.Path, array: np.ndarray, geometry: Geometry) -> None:
  """(*space[, channels]) with the geometry's origin, spacing and direction."""
  rank = geometry.rank
  image = sitk.GetImageFromArray(np.ascontiguousarray(array), isVector=array.ndim > rank)
  affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ geometry.affine
  columns = affine[:rank, :rank]
  lengths = np.linalg.norm(columns, axis=0)
  image.SetSpacing([float(s) for s in lengths])
  image.SetDirection([float(d) for d in (columns / lengths).ravel()])
  image.SetOrigin([float(o) for o in affine[:rank, 3]])
  sitk.WriteImage(image, str(path), useCompression=True)
