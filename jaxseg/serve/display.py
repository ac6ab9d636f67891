"""A scan, its segmentation and its maps as NIfTI for the page: voxels in the order they have."""

import gzip

import nibabel as nib
import numpy as np

from jaxseg.data import RawCase
from jaxseg.data.formats.geometry import Geometry

# what the page's numbers can hold without a scale
_SHORT = np.iinfo(np.int16)
# where a NIfTI-1 header tells slope and intercept
_SCALE = slice(112, 120)


def image(raw: RawCase, channel: int = 0) -> bytes:
  """A channel of a scan as NIfTI, compressed; pictures of three channels in their colours.

  Numbers are rounded to 16 bits where they are of more: they are looked at, not computed with.
  Raises ValueError for a channel that the scan lacks.
  """
  voxels = raw.image
  if channel >= voxels.shape[-1]:
    raise ValueError(f"channel {channel}: the scan has {voxels.shape[-1]}, counted from 0.")
  if raw.geometry.rank == 2 and voxels.shape[-1] == 3 and voxels.dtype == np.uint8:
    colours = np.ascontiguousarray(voxels).view([(name, "u1") for name in "RGB"])[..., 0]
    return _nifti(colours, raw.geometry)
  one = voxels[..., channel]
  if one.dtype == np.uint8:
    return _nifti(one, raw.geometry)
  low, high = float(one.min()), float(one.max())
  if _SHORT.min <= low and high <= _SHORT.max and (one == np.round(one)).all():
    return _nifti(one.astype(np.int16), raw.geometry)
  scale = (high - low) / 65535 or 1.0
  numbers = np.round((one.astype(np.float64) - low) / scale) + _SHORT.min
  return _nifti(numbers.astype(np.int16), raw.geometry, scale, low - scale * _SHORT.min)


def classes(index: np.ndarray, geometry: Geometry) -> bytes:
  """(*space) positions among the labels, 0 the background, as NIfTI, compressed."""
  return _nifti(index.astype(np.uint8), geometry)


def values(of: np.ndarray, geometry: Geometry) -> bytes:
  """(*space) numbers of a map as NIfTI, compressed."""
  return _nifti(of.astype(np.float32), geometry)


def voxels(index: np.ndarray) -> bytes:
  """(*space) positions among the labels as bytes, x fastest, compressed: a mask that changes."""
  return gzip.compress(np.ascontiguousarray(index, np.uint8).tobytes(), 1)


def _nifti(array: np.ndarray, geometry: Geometry, slope: float = 1.0, shift: float = 0.0) -> bytes:
  rank = geometry.rank
  turned = array.transpose(*reversed(range(rank)))
  affine = geometry.affine
  if rank == 2:
    turned, affine = turned[:, :, None], _upright(geometry)
  made = nib.Nifti1Image(turned, affine, dtype=array.dtype)
  made.header.set_xyzt_units("mm")
  content = bytearray(made.to_bytes())
  # scl_slope and scl_inter: nibabel would divide by them what is divided already
  content[_SCALE] = np.array([slope, shift], "<f4").tobytes()
  return gzip.compress(bytes(content), 1)


def _upright(geometry: Geometry) -> np.ndarray:
  """A picture's first row is its top: its y grows downwards."""
  across, down = geometry.spacing[::-1]
  return np.diag([float(across), -float(down), 1.0, 1.0])
