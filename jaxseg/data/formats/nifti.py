"""NIfTI through nibabel, which keeps sheared affines (SimpleITK refuses them)."""

import functools
import logging
import pathlib

import numpy as np

from jaxseg.data.formats.geometry import Geometry
from jaxseg.data.formats.unsuitable import Unsuitable, opaque
from jaxseg.packages import OnDemand

# what it mends in a header is checked here
_quiet = functools.partial(logging.getLogger("nibabel.global").setLevel, logging.ERROR)
nib = OnDemand("nibabel", after=_quiet)
# codes of xyzt_units; a header that names no unit means millimetres
_MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}
# what a tool that scales labels to a wider type leaves between them
_FINE_STEP = 0.01


def read(path: pathlib.Path, *, integer: bool) -> tuple[np.ndarray, Geometry]:
  """(*space, channels) and its geometry in millimetres, whatever unit the header names.

  A label (`integer`) keeps the stored integer type, an image becomes float32 unless it holds
  unsigned 8 or 16 bits, or integers of 32 or 64. Colours (RGB24, RGBA32) are channels. The affine
  is nibabel's choice: the sform if its code is set, else the qform, else the sizes alone, and no
  direction is told. Raises ValueError for complex numbers, voxels of no size, and axes that are
  neither spatial nor the channels'.
  """
  image = nib.load(path)
  shape = image.shape
  while len(shape) > 4 and shape[-1] == 1:
    shape = shape[:-1]
  if len(shape) == 5 and shape[3] == 1:  # NIfTI puts the components of a vector on axis 4
    shape = shape[:3] + shape[4:]
  if len(shape) not in (2, 3, 4):
    raise Unsuitable(f"its shape {image.shape} is neither 2D, 3D nor 3D with channels")
  voxels = _voxels(image, integer).reshape(*shape[:3], -1)
  rank = min(len(shape), 3)
  voxels = voxels.transpose(*reversed(range(rank)), rank)
  _check_sizes(path, image, rank)
  affine = np.asarray(image.affine, np.float64)
  affine[:3] *= _millimetres(image.header)
  codes = (image.header[code] for code in ("sform_code", "qform_code"))
  directed = any(code > 0 for code in codes)
  geometry = Geometry(affine, voxels.shape[:rank], "nifti", image.header, directed)
  return np.ascontiguousarray(voxels), geometry


def _millimetres(header) -> float:
  """The length of the header's unit."""
  return _MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)


def _voxels(image: "nib.Nifti1Image", integer: bool) -> np.ndarray:
  """The numbers as they are meant; colours as one more axis."""
  kind = image.get_data_dtype()
  if kind.names:
    colours = np.asanyarray(image.dataobj)
    if image.ndim > 3 and np.prod(image.shape[3:]) > 1:
      raise Unsuitable(f"its shape {image.shape} is that of several volumes of colours")
    colours = np.stack([colours[name] for name in kind.names], -1)
    return opaque(colours) if "A" in kind.names else colours
  if np.issubdtype(kind, np.complexfloating):
    raise Unsuitable(
      "its voxels are complex numbers, which have no brightness of their own: save the magnitude "
      "(or the real and imaginary parts, as two channels)"
    )
  slope, intercept = image.dataobj.slope, image.dataobj.inter
  if integer:
    voxels = np.asanyarray(image.dataobj)
    fine = abs(slope) <= _FINE_STEP and np.isfinite(voxels).all()
    # a step of the stored type at most: what is further off is no rounding
    if fine and (abs(voxels - np.round(voxels)) <= abs(slope) / 2).all():
      return np.round(voxels)
    return voxels
  # the largest value of short ones scales colours; long ones would be rounded
  if (slope, intercept) == (1, 0) and (
    kind in (np.uint8, np.uint16) or (kind.kind in "iu" and kind.itemsize >= 4)
  ):
    return np.asanyarray(image.dataobj)
  with np.errstate(over="ignore"):  # infinite voxels are told with their case
    return image.get_fdata(dtype=np.float32)


def _check_sizes(path: pathlib.Path, image: "nib.Nifti1Image", rank: int) -> None:
  """Raises ValueError for voxels of no size, which nibabel takes for 1 mm."""
  with nib.openers.Opener(path) as file:
    header = type(image.header).from_fileobj(file, check=False)
  sizes = header["pixdim"][1 : rank + 1].astype(np.float64)
  # of a header with an sform, its affine alone tells the sizes
  if header["sform_code"] > 0:
    sizes = np.linalg.norm(image.affine[:3, :rank], axis=0)
  if not (np.isfinite(image.affine).all() and np.isfinite(sizes).all() and (sizes != 0).all()):
    listed = ", ".join(f"{size:g}" for size in sizes[::-1])
    raise Unsuitable(f"its header gives a spacing of ({listed}) in array order; correct that")


def write(path: pathlib.Path, array: np.ndarray, geometry: Geometry) -> None:
  """(*space[, channels]); the input's own header and its unit are kept where it was NIfTI too."""
  rank = geometry.rank
  voxels = array.transpose(*reversed(range(rank)), *range(rank, array.ndim))
  header = geometry.header.copy() if geometry.kind == "nifti" and geometry.header else None
  if rank == 2 and array.ndim == 3:  # the third axis of NIfTI is spatial
    voxels = voxels[:, :, None]
  affine = geometry.affine.copy()
  if header is not None:
    affine[:3] /= _millimetres(header)
    header.set_intent("none")  # a vector's or a colour's, of the input
  image = nib.Nifti1Image(voxels, affine, header, dtype=array.dtype)
  image.header["cal_min"] = image.header["cal_max"] = 0  # the display window of the input
  if header is None:
    image.header.set_xyzt_units("mm")
  nib.save(image, path)
