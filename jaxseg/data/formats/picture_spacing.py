"""The millimetres of pictures, told by a JSON file beside one, or by the tags of a TIF.

Print resolutions (dots per inch of TIF, PNG and JPG) say nothing of what is seen, and don't count.
"""

import json
import math
import pathlib
import re

import tifffile

from jaxseg import files
from jaxseg.data.formats.unsuitable import Unsuitable

ENDINGS = (".png", ".tif", ".tiff", ".gif", ".jpg", ".jpeg", ".bmp")
_ADVICE = 'expected {"spacing": [z, y, x]} in millimetres ([y, x] in 2D): correct or remove it'
_MICROMETRE = ("um", "µm", "μm", "\\u00b5m", "micron", "micrometer", "micrometre")
_MILLIMETRES = {
  **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-6),
  **dict.fromkeys(_MICROMETRE, 1e-3),
  **dict.fromkeys(("mm", "millimeter", "millimetre"), 1.0),
  **dict.fromkeys(("cm", "centimeter", "centimetre"), 10.0),
  **dict.fromkeys(("m", "meter", "metre"), 1000.0),
  "inch": 25.4,
}


def companions(path: pathlib.Path) -> list[pathlib.Path]:
  """The JSON files that may tell a picture's spacing: c0_0000.json, and nnU-Net's c0.json."""
  if path.suffix.lower() not in ENDINGS:
    return []
  stems = dict.fromkeys((path.stem, re.sub(r"_\d{4}$", "", path.stem)))
  return [file for stem in stems if (file := path.with_name(f"{stem}.json")).is_file()]


def beside(path: pathlib.Path, rank: int) -> tuple[float, ...] | None:
  """The spacing in array order that a JSON file beside a picture tells.

  Raises Unsuitable for one that tells it in another shape, or two that differ.
  """
  told = {}
  for file in companions(path):
    spacing = _spacing(file, rank)
    if spacing is not None:
      told[file.name] = spacing
  if len(set(told.values())) > 1:
    (first, one), (second, other) = told.items()
    raise Unsuitable(f"{first} gives it a spacing of {one}, {second} of {other}: correct one")
  return next(iter(told.values()), None)


def _spacing(file: pathlib.Path, rank: int) -> tuple[float, ...] | None:
  text = files.read_text(file, what="the spacing of a picture", advice=_ADVICE)
  try:
    value = json.loads(text)
  except (ValueError, RecursionError) as error:
    raise Unsuitable(f"{file.name} beside it is damaged or no JSON ({error}), {_ADVICE}") from error
  # other programs put notes of their own beside pictures
  if not isinstance(value, dict) or "spacing" not in value:
    return None
  spacing = value["spacing"]
  good = isinstance(spacing, list) and all(
    isinstance(s, int | float) and not isinstance(s, bool) and 0 < s < math.inf for s in spacing
  )
  # nnU-Net writes three numbers in 2D, too
  if not good or len(spacing) not in (rank, 3):
    raise Unsuitable(f'{file.name} beside it says "spacing": {spacing!r:.60}, {_ADVICE}')
  return tuple(map(float, spacing[-rank:]))


def of_tags(
  file: tifffile.TiffFile, page: tifffile.TiffPage, rank: int
) -> tuple[float, ...] | None:
  """The spacing in array order that ImageJ or OME wrote into a TIF with a unit of length."""
  sizes = None
  if file.is_ome:
    sizes = _of_ome(file)
  elif file.is_imagej:
    sizes = _of_imagej(file, page)
  sizes = sizes[-rank:] if sizes else None
  if not sizes or not all(size and 0 < size < math.inf for size in sizes):
    return None
  return sizes


def _length(size, unit) -> float | None:
  try:
    unit = str(unit).strip().lower()
    return abs(float(size)) * _MILLIMETRES[unit if unit in _MILLIMETRES else unit.rstrip("s")]
  except (TypeError, ValueError, KeyError):
    return None


def _of_imagej(file: tifffile.TiffFile, page: tifffile.TiffPage) -> tuple[float | None, ...]:
  notes = file.imagej_metadata or {}
  sizes = [_length(notes.get("spacing"), notes.get("unit"))]
  for axis in ("YResolution", "XResolution"):  # pixels per unit, as a fraction
    tag = page.tags.get(axis)
    pixels, units = tag.value if tag else (0, 1)
    sizes.append(_length(units / pixels, notes.get("unit")) if pixels else None)
  return tuple(sizes)


def _of_ome(file: tifffile.TiffFile) -> tuple[float | None, ...]:
  try:
    image = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]
    pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
  except (KeyError, TypeError, IndexError, ValueError, SyntaxError):
    return (None, None, None)
  return tuple(
    _length(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm"))
    for axis in "ZYX"
  )
