"""PNG, JPG, GIF and BMP through Pillow, TIF through tifffile; pages of a TIF are z."""

import dataclasses
import pathlib

import numpy as np
import tifffile
from PIL import Image, ImageOps

from jaxseg.data.formats import picture_spacing, tiffs
from jaxseg.data.formats.geometry import Geometry, plain_geometry
from jaxseg.data.formats.pillow_pages import as_array
from jaxseg.data.formats.unsuitable import Unsuitable, opaque
from jaxseg.packages import OnDemand

sitk = OnDemand("SimpleITK")
# scanned slides are larger than Pillow's guess of an attack
Image.MAX_IMAGE_PIXELS = 2**30
_ORIENTATION = 274  # of EXIF
# where the header of a PNG says bits per sample, and what is grey, colours, transparency
_BITS, _SAMPLES = 24, 25


def _read_wide(path: pathlib.Path, turn: int) -> np.ndarray | None:
  """The colours of a PNG of 16 bits, which Pillow would cut to 8; None for any other picture."""
  with path.open("rb") as file:
    head = file.read(_SAMPLES + 1)
  if head[1:4] != b"PNG" or head[_BITS] != 16 or head[_SAMPLES] == 0:
    return None
  if head[_SAMPLES] == 4:
    raise Unsuitable("its grey of 16 bits has transparency; save it without transparency")
  array = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
  return tiffs.turned(opaque(array) if array.shape[-1] == 4 else array, turn)


def _read_picture(path: pathlib.Path, integer: bool) -> np.ndarray:
  with Image.open(path) as file:
    file.load()  # so that what is cut off is told first
    # further frames of MPO are other views of a photograph
    frames = getattr(file, "n_frames", 1) if file.format != "MPO" else 1
    if frames > 1:
      raise Unsuitable(f"it holds {frames} frames, expected one; save each as a file of its own")
    wide = _read_wide(path, file.getexif().get(_ORIENTATION, 1))
    if wide is not None:
      return wide
    kind, page = file.format, ImageOps.exif_transpose(file)
    page.format = kind
    array = as_array(page, integer=integer)
  return array[..., None] if array.ndim == 2 else array


def read(path: pathlib.Path, *, integer: bool) -> tuple[np.ndarray, Geometry]:
  """(y, x, channels), or (z, y, x, channels) for a TIF of several pages, and its geometry.

  Pictures are turned as they are shown (the tag Orientation). The spacing is that of a JSON file
  beside the picture ({"spacing": [...]} in array order, as nnU-Net has it for TIF volumes), else
  what ImageJ or OME wrote into a TIF, else 1 mm; the geometry's header says which.
  """
  spacing = None
  if path.suffix.lower() in tiffs.ENDINGS:
    array, spacing = tiffs.read(path, integer=integer)
  else:
    array = _read_picture(path, integer)
  beside = picture_spacing.beside(path, array.ndim - 1)
  geometry = plain_geometry(array.shape[:-1], beside or spacing, "picture")
  source = "a JSON file" if beside else "its tags" if spacing else None
  return np.ascontiguousarray(array), dataclasses.replace(geometry, header=source)


def write(path: pathlib.Path, array: np.ndarray, geometry: Geometry) -> None:
  """(y, x), (y, x, 3) or, as TIF, (z, y, x), of unsigned 8 or 16 bit integers."""
  if path.suffix.lower() in (".jpg", ".jpeg"):
    raise ValueError(f"{path}: JPG loses information, write PNG or TIF.")
  if array.ndim > geometry.rank and array.shape[-1] == 1:
    array = array[..., 0]
  if not np.issubdtype(array.dtype, np.unsignedinteger) or array.dtype.itemsize > 2:
    raise ValueError(
      f"{path}: pictures hold unsigned 8 or 16 bit integers, got {array.dtype}; write NIfTI."
    )
  if path.suffix.lower() in tiffs.ENDINGS:
    colour = array.ndim > geometry.rank
    tifffile.imwrite(path, array, photometric="rgb" if colour else "minisblack")
    return
  if geometry.rank != 2:
    raise ValueError(f"{path}: a volume cannot be written as {path.suffix}; write TIF or NIfTI.")
  Image.fromarray(array).save(path)
