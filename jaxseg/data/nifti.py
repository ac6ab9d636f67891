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
  _check_sizes(path, image, rank)
  affine = np.asarray(image.affine, np.float64)
  geometry = Geometry(affine, voxels.shape[:rank], "nifti", image.header)
  return np.ascontiguousarray(voxels), geometry


def _check_sizes(path: pathlib.Path, image: nib.Nifti1Image, rank: int) -> None:
  """Raises ValueError for voxels of no size, which nibabel takes for 1 mm."""
  with nib.openers.Opener(path) as file:
    header = type(image.header).from_fileobj(file, check=False)
  sizes = header["pixdim"][1 : rank + 1]
  # of a header with an sform, its affine alone tells the sizes
  if header["sform_code"] <= 0 and (sizes == 0).any():
    listed = ", ".join(f"{size:g}" for size in sizes[::-1])
    raise ValueError(f"its header gives a spacing of ({listed}) mm in array order: correct that")


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
