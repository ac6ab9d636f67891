"""NRRD, MetaImage and DICOM series through SimpleITK (whose world is LPS, ours RAS)."""

import pathlib

import numpy as np
import SimpleITK as sitk

from jaxseg.data.geometry import Geometry


def _geometry(image: sitk.Image, kind: str) -> Geometry:
  rank = min(image.GetDimension(), 3)
  size = image.GetDimension()
  direction = np.reshape(image.GetDirection(), (size, size))[:rank, :rank]
  affine = np.eye(4)
  affine[:rank, :rank] = direction * np.array(image.GetSpacing()[:rank])
  affine[:rank, 3] = image.GetOrigin()[:rank]
  affine[:2] *= -1  # LPS -> RAS
  if rank == 2:
    affine[2] = (0, 0, 1, 0)
  return Geometry(affine, image.GetSize()[rank - 1 :: -1], kind)


def read(path: pathlib.Path) -> tuple[np.ndarray, Geometry]:
  """(*space, channels) and its geometry, of an NRRD or MetaImage file."""
  image = sitk.ReadImage(str(path))
  if image.GetDimension() not in (2, 3, 4):
    raise ValueError(f"it has {image.GetDimension()} axes, expected 2 or 3, or 4 with channels")
  voxels = sitk.GetArrayFromImage(image)
  if image.GetDimension() == 4:
    voxels = np.moveaxis(voxels, 0, -1)
  elif image.GetNumberOfComponentsPerPixel() == 1:
    voxels = voxels[..., None]
  return voxels, _geometry(image, "itk")


def read_series(folder: pathlib.Path, series: str | None = None) -> tuple[np.ndarray, Geometry]:
  """(z, y, x, 1) in rescaled units (HU for CT) and its geometry, of a folder of DICOM slices."""
  reader = sitk.ImageSeriesReader()
  found = reader.GetGDCMSeriesIDs(str(folder))
  if not found:
    raise ValueError(f"{folder}: no DICOM series found in this folder; give a folder of slices.")
  if series is None and len(found) > 1:
    raise ValueError(
      f"{folder}: holds {len(found)} DICOM series ({', '.join(found[:4])}), expected one; move "
      "each to a folder of its own."
    )
  if series is not None and series not in found:
    raise ValueError(f"{folder}: no DICOM series {series}; found: {', '.join(found)}.")
  reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), series or found[0]))
  image = reader.Execute()
  return sitk.GetArrayFromImage(image)[..., None], _geometry(image, "dicom")


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
