"""NIfTI through nibabel, which keeps sheared affines (SimpleITK refuses them)."""

import pathlib

import nibabel as nib
import numpy as np

from jaxseg.data.geometry import Geometry


def read(path: pathlib.Path, *, integer: bool) -> tuple[np.ndarray, Geometry]:
  """(*space, channels) and its geometry; a label (`integer`) keeps the stored integer type."""
  image = nib.load(path)
  shape = image.shape
  if len(shape) == 5 and shape[3] == 1:  # NIfTI puts the components of a vector on axis 4
    shape = shape[:3] + shape[4:]
  if len(shape) not in (2, 3, 4):
    raise ValueError(f"its shape {image.shape} is neither 2D, 3D nor 3D with channels")
  voxels = np.asanyarray(image.dataobj) if integer else image.get_fdata(dtype=np.float32)
  voxels = voxels.reshape(shape)
  rank = min(len(shape), 3)
  voxels = voxels.transpose(*reversed(range(rank)), *range(rank, len(shape)))
  if len(shape) < 4:
    voxels = voxels[..., None]
  affine = np.asarray(image.affine, np.float64)
  geometry = Geometry(affine, voxels.shape[:rank], "nifti", image.header)
  return np.ascontiguousarray(voxels), geometry


def write(path: pathlib.Path, array: np.ndarray, geometry: Geometry) -> None:
  """(*space[, channels]); the input's own header is kept where it was NIfTI too."""
  rank = geometry.rank
  voxels = array.transpose(*reversed(range(rank)), *range(rank, array.ndim))
  header = geometry.header.copy() if geometry.kind == "nifti" and geometry.header else None
  if rank == 2 and array.ndim == 3:  # the third axis of NIfTI is spatial
    voxels = voxels[:, :, None]
  image = nib.Nifti1Image(voxels, geometry.affine, header)
  image.set_data_dtype(array.dtype)
  image.header["cal_min"] = image.header["cal_max"] = 0  # the display window of the input
  if header is None:
    image.header.set_xyzt_units("mm")
  nib.save(image, path)
