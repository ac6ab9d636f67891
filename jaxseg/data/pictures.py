"""PNG, JPG, GIF, BMP and TIF; a TIF of several pages is a volume, its pages are z."""

import json
import pathlib

import numpy as np
import tifffile
from PIL import Image, ImageSequence

from jaxseg.data.geometry import Geometry, plain_geometry

TIFF = (".tif", ".tiff")


def _array(page: Image.Image, integer: bool) -> np.ndarray:
  if page.mode == "P":
    palette = np.reshape(page.getpalette("RGB"), (-1, 3))
    grey = bool((palette == palette[:, :1]).all())
    # the colours of a label's palette are for the eye, its indices are the classes
    if grey or not integer:
      page = page.convert("L" if grey else "RGB")
  elif page.mode not in ("1", "L", "RGB", "I", "F") and not page.mode.startswith("I;16"):
    page = page.convert("L" if page.mode == "LA" else "RGB")
  array = np.asarray(page)
  return array.astype(np.uint8) if array.dtype == bool else array


def _read_tiff(path: pathlib.Path) -> np.ndarray:
  with tifffile.TiffFile(path) as file:
    series = file.series[0]
    array, axes = series.asarray(), series.axes
  if axes.endswith("S") and array.shape[-1] in (3, 4):
    return array[..., :3]
  if axes.startswith("S") and array.ndim == 3:
    return np.moveaxis(array, 0, -1)[..., :3]
  if "C" in axes and array.ndim > 2:
    return np.moveaxis(array, axes.index("C"), -1)
  return array[..., None]


def _read_pages(path: pathlib.Path, integer: bool) -> np.ndarray:
  with Image.open(path) as file:
    if path.suffix.lower() in TIFF:
      pages = [_array(page.copy(), integer) for page in ImageSequence.Iterator(file)]
    else:
      pages = [_array(file, integer)]
  array = np.stack(pages) if len(pages) > 1 else pages[0]
  grey = array.ndim == (3 if len(pages) > 1 else 2)
  return array[..., None] if grey else array


def read(path: pathlib.Path, *, integer: bool) -> tuple[np.ndarray, Geometry]:
  """(y, x, channels), or (z, y, x, channels) for a TIF of several pages, and its geometry.

  The spacing is 1 mm, or that of a JSON file beside the picture ({"spacing": [...]} in array
  order, as nnU-Net has it for TIF volumes).
  """
  if path.suffix.lower() in TIFF:
    try:
      array = _read_tiff(path)
    except ValueError as error:  # LZW and JPEG compression, which Pillow knows
      if "imagecodecs" not in str(error):
        raise
      array = _read_pages(path, integer)
  else:
    array = _read_pages(path, integer)
  if array.ndim not in (3, 4):
    raise ValueError(f"its shape {array.shape} is neither 2D nor 3D")
  beside = path.with_suffix(".json")
  spacing = None
  if beside.is_file():
    spacing = json.loads(beside.read_text(encoding="utf-8")).get("spacing")
    spacing = spacing[-(array.ndim - 1) :] if spacing else None
  return array, plain_geometry(array.shape[:-1], spacing, "picture")


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
  if path.suffix.lower() in TIFF:
    colour = array.ndim > geometry.rank
    tifffile.imwrite(path, array, photometric="rgb" if colour else "minisblack")
    return
  if geometry.rank != 2:
    raise ValueError(f"{path}: a volume cannot be written as {path.suffix}; write TIF or NIfTI.")
  Image.fromarray(array).save(path)
