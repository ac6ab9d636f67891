"""TIF through tifffile: pages, axes, samples, palettes and tags of what microscopes write."""

import contextlib
import logging
import pathlib
import warnings

import numpy as np
import tifffile
from PIL import Image, ImageSequence
from tifffile import EXTRASAMPLE, PHOTOMETRIC, PLANARCONFIG

from jaxseg.data.formats import picture_spacing
from jaxseg.data.formats.pillow_pages import as_array
from jaxseg.data.formats.unsuitable import Unsuitable, opaque
from jaxseg.packages import OnDemand

sitk = OnDemand("SimpleITK")
ENDINGS = (".tif", ".tiff")
# what it complains of is told here
logging.getLogger("tifffile").setLevel(logging.CRITICAL)
# what tifffile returns as numbers that mean what they are; of others Pillow makes RGB
_PLAIN = (PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.RGB, PHOTOMETRIC.PALETTE)
_ALPHA = (EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA)
# a volume's first axis: z, or the order of the pages
_DEPTH = "ZIQ"


def read(path: pathlib.Path, *, integer: bool) -> tuple[np.ndarray, tuple[float, ...] | None]:
  """(y, x, channels) or (z, y, x, channels), and the spacing that its tags tell or None.

  A label (`integer`) keeps the stored numbers, whatever colours a palette or MinIsWhite give them.
  Raises Unsuitable for series over time, pages that differ, and transparency that counts.
  """
  with tifffile.TiffFile(path) as file:
    series, count = _series(file)
    page = series.keyframe
    axes = f"I{series.axes}" if count > 1 else series.axes
    shape = (count, *series.shape) if count > 1 else series.shape
    tag = page.tags.get("Orientation")
    turn = int(tag.value) if tag else 1
    array = _decoded(path, file, shape, turn) if page.photometric in _PLAIN else None
    if array is None:
      array, axes = _through_pillow(path, axes, shape, page, integer)
      turn, alpha = 1, False  # Pillow has turned it, and transparency is checked
    else:
      colours = _colours(file, page)
      if not integer:
        array = _as_shown(array, page, colours)
        axes += "S" if array.ndim > len(axes) else ""
      if array.dtype == bool:
        array = array.astype(np.uint8) * (1 if integer else 255)
      alpha = [EXTRASAMPLE(kind) for kind in page.extrasamples] in ([_ALPHA[0]], [_ALPHA[1]])
    array = _arranged(array, axes, alpha)
    spacing = picture_spacing.of_tags(file, page, array.ndim - 1)
  if turn in (5, 6, 7, 8) and spacing:
    spacing = (*spacing[:-2], spacing[-1], spacing[-2])
  return turned(array, turn), spacing


def _series(file: tifffile.TiffFile) -> tuple[tifffile.TiffPageSeries, int]:
  """The picture or volume, or the first of equal pages that were written one by one; their number.

  Levels of a pyramid and thumbnails don't count.
  """
  whole = [series for series in file.series if not series.keyframe.is_reduced]
  if not whole:
    raise ValueError("no page can be found")
  kinds = {(series.shape, series.axes, series.dtype) for series in whole}
  if len(kinds) != 1 or (len(whole) > 1 and not set(whole[0].axes) <= set("YXS")):
    sizes = ", ".join(str(series.shape) for series in whole[:4])
    raise Unsuitable(
      f"it holds {len(whole)} different pictures ({sizes}), expected one, or slices of one size; "
      "save each as a file"
    )
  if file.is_ome and any(page is None for page in whole[0]):
    raise Unsuitable("some of its pages lie in other files, which are not there; copy them, too")
  return whole[0], len(whole)


def _decoded(path, file: tifffile.TiffFile, shape, turn: int) -> np.ndarray | None:
  """The stored numbers; None where only Pillow knows the compression."""
  try:
    whole = [series for series in file.series if not series.keyframe.is_reduced]
    return np.stack([series.asarray() for series in whole]).reshape(shape)
  except (ValueError, NotImplementedError) as error:  # LZW, JPEG, 4 or 12 bits and others
    if "imagecodecs" not in str(error):
      raise
  page = file.series[0].keyframe
  whole_bytes = page.bitspersample in (8, 16, 32, 64)
  if turn == 1 and whole_bytes and page.planarconfig == PLANARCONFIG.CONTIG:
    # libtiff through ITK keeps 16 bits of colour, which Pillow does not
    with contextlib.suppress(RuntimeError):
      array = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
      if array.dtype == page.dtype and array.size == np.prod(shape):
        return array.reshape(shape)
  return None


def _through_pillow(path, axes: str, shape, page, integer: bool) -> tuple[np.ndarray, str]:
  """Pages as Pillow shows them, a label's as stored, and their axes."""
  pages = []
  # odd tags of what can be read are no matter
  with warnings.catch_warnings(action="ignore"), Image.open(path) as file:
    for shown in ImageSequence.Iterator(file):
      array = as_array(shown, integer=integer)
      if integer and page.photometric != PHOTOMETRIC.PALETTE and array.dtype == np.uint8:
        # Pillow spreads a few bits to 0 to 255, and shows white where 0 is stored
        top = 255 // (2**page.bitspersample - 1) if page.bitspersample in (2, 4) else 1
        highest = 1 if page.bitspersample == 1 else 255
        white = page.photometric == PHOTOMETRIC.MINISWHITE
        array = (highest - array if white else array) // top
      pages.append(array)
  outer = [(axis, size) for axis, size in zip(axes, shape, strict=True) if axis not in "YXS"]
  if len({page.shape for page in pages}) != 1 or len(pages) != np.prod([n for _, n in outer]):
    raise Unsuitable(f"its {len(pages)} pages differ in size or colours: save each as a file")
  array = np.stack(pages)
  array = array.reshape(*(size for _, size in outer), *array.shape[1:])
  return array, "".join(axis for axis, _ in outer) + "YXS"[: pages[0].ndim]


def _colours(file: tifffile.TiffFile, page: tifffile.TiffPage) -> np.ndarray | None:
  """(values, 3) uint8 of a palette; None where the index is the brightness."""
  # ImageJ's palettes are for the eye, the numbers are what was measured
  if page.photometric != PHOTOMETRIC.PALETTE or file.is_imagej or page.colormap is None:
    return None
  palette = np.asarray(page.colormap)
  if palette.max() > 255:
    palette = palette >> 8
  return palette.T.astype(np.uint8)


def _as_shown(array: np.ndarray, page, colours: np.ndarray | None) -> np.ndarray:
  """An image's brightness or colours."""
  if colours is not None:
    grey = (colours == colours[:, :1]).all()
    return colours[:, 0][array] if grey else colours[array]
  if page.photometric == PHOTOMETRIC.MINISWHITE and array.dtype.kind in "bu":
    return ~array  # the largest value is black
  return array


def _arranged(array: np.ndarray, axes: str, alpha: bool) -> np.ndarray:
  """(*space, channels), the last sample left out where it is transparency (`alpha`)."""
  told = f"its axes are {axes} of sizes {array.shape}"
  keep = [i for i, axis in enumerate(axes) if axis in "YX" or array.shape[i] > 1]
  array = array.reshape([array.shape[i] for i in keep])
  axes = "".join(axes[i] for i in keep)
  if "T" in axes:
    raise Unsuitable(f"{told}: a series over time; save each time point as a file of its own")
  depth = [i for i, axis in enumerate(axes) if axis in _DEPTH]
  channels = [i for i, axis in enumerate(axes) if axis in "CS"]
  space = [axes.find("Y"), axes.find("X")]
  known = len(depth) + len(channels) + 2 == len(axes)
  if min(space) < 0 or not known or len(depth) > 1 or len(channels) > 1:
    raise Unsuitable(f"{told}; expected (y, x) or (z, y, x), with or without channels")
  array = array.transpose(*depth, *space, *channels)
  if not channels:
    return array[..., None]
  return opaque(array) if alpha and axes[channels[0]] == "S" else array


def turned(array: np.ndarray, turn: int) -> np.ndarray:
  """(..., y, x, channels) as stored -> as shown, by the tag Orientation (1 to 8)."""
  if turn in (5, 6, 7, 8):
    array = np.swapaxes(array, -3, -2)
  if turn in (3, 4, 7, 8):
    array = array[..., ::-1, :, :]
  if turn in (2, 3, 6, 7):
    array = array[..., ::-1, :]
  return array
