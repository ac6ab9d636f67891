"""Explanations as pictures: the scan, the target, and each map laid over the scan."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from jaxseg.data import RawCase
from jaxseg.inference import pictures
from jaxseg.report.views import planes

# height of a tile, of the text below it, gap between tiles; tiles beside one another
_HEIGHT, _TEXT, _GAP, _COLUMNS = 224, 18, 6, 4
# colours of 0, .25, ... 1; of -1, ... 0, ... 1
_HEAT = np.array([(0, 0, 0), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], float)
_SIGNED = np.array([(20, 60, 200), (90, 150, 255), (0, 0, 0), (255, 130, 80), (210, 20, 20)], float)


class Tile(NamedTuple):
  """A picture with a name, (h, w, 3) uint8."""

  name: str
  picture: np.ndarray


def scale(values: np.ndarray, top: float) -> np.ndarray:
  """Values between -1 and 1, `top` and what is above it 1."""
  return np.clip(values / top, -1, 1) if top > 0 else np.zeros_like(values)


def top_of(values: np.ndarray) -> float:
  """What the brightest colour stands for: the 99.5th percentile, or the largest of sparse maps."""
  size = np.abs(values)
  return float(np.percentile(size, 99.5) or size.max())


def heat(grey: np.ndarray, values: np.ndarray, *, signed: bool) -> np.ndarray:
  """A map over a grey image: the stronger, the less of the image is seen.

  Args:
    grey: (h, w, 3) uint8.
    values: (h, w) from -1 to 1.
    signed: blue speaks against the target; else below 0 is nothing.
  """
  values = values if signed else np.maximum(values, 0)
  table = _SIGNED if signed else _HEAT
  place = (values + 1) / 2 if signed else values
  at = place * (len(table) - 1)
  low = np.minimum(at.astype(int), len(table) - 2)
  share = (at - low)[..., None]
  colours = table[low] * (1 - share) + table[low + 1] * share
  opacity = np.minimum(abs(values) * 1.5, 0.85)[..., None]
  return (grey * (1 - opacity) + colours * opacity).astype(np.uint8)


def outline(picture: np.ndarray, inside: np.ndarray) -> np.ndarray:
  """The picture with the border of a mask (h, w) bool in green."""
  padded = np.pad(inside, 1)
  core = padded[1:-1, :-2] & padded[1:-1, 2:] & padded[:-2, 1:-1] & padded[2:, 1:-1]
  return np.where((inside & ~core)[..., None], np.uint8((60, 220, 60)), picture)


def tiles(
  raw: RawCase,
  target: np.ndarray | None,
  maps: Sequence[tuple[str, np.ndarray, bool]],
  label: np.ndarray | None = None,
) -> tuple[list[Tile], str]:
  """The slice that holds most of the target (or of the first map), and what it is called.

  Args:
    raw: the scan as read.
    target: (*space) bool on its grid, None without one.
    maps: (name, (*space) values on its grid, whether signed).
    label: (*space) bool on its grid, what is true, if known.
  """
  masks = [mask for mask in (target, label) if mask is not None]
  arrays, names, spacing = planes(raw.geometry, (raw.image, *masks, *(m[1] for m in maps)))
  image, rest = arrays[0], list(arrays[1:])
  masks, values = rest[: len(masks)], rest[len(masks) :]
  weight = masks[0] if masks and masks[0].any() else abs(values[0])
  at = int(weight.reshape(len(weight), -1).sum(1).argmax())
  height = _HEIGHT
  width = max(1, round(height * image.shape[2] * spacing[1] / (image.shape[1] * spacing[0])))

  def shown(array, how):
    return np.asarray(Image.fromarray(array).resize((width, height), how))

  grey = pictures.grey(image[at].astype(np.float32))
  grey = shown(grey, Image.Resampling.BICUBIC)
  base = np.repeat(grey.mean(-1, keepdims=True), 3, -1)
  found = [Tile("image", grey)]
  inside = [shown(mask[at].astype(np.uint8), Image.Resampling.NEAREST) > 0 for mask in masks]
  if target is not None:
    found.append(Tile("target", outline(grey, inside[0])))
  if label is not None:
    found.append(Tile("label", outline(grey, inside[-1])))
  for (name, of, signed), plane in zip(maps, values, strict=True):
    level = scale(plane[at].astype(np.float32), top_of(of))
    laid = heat(base, shown(level, Image.Resampling.BILINEAR), signed=signed)
    found.append(Tile(name, laid if target is None else outline(laid, inside[0])))
  return found, names[at]


def sheet(found: Sequence[Tile]) -> np.ndarray:
  """Tiles in rows, each with its name below, (h, w, 3) uint8."""
  rows = []
  width = max(tile.picture.shape[1] for tile in found) + _GAP
  for first in range(0, len(found), _COLUMNS):
    row = []
    for tile in found[first : first + _COLUMNS]:
      text = Image.new("RGB", (width, _TEXT), "white")
      ImageDraw.Draw(text).text((2, 3), tile.name, fill="black")
      padded = np.full((tile.picture.shape[0], width, 3), 255, np.uint8)
      padded[:, : tile.picture.shape[1]] = tile.picture
      row.append(np.concatenate([padded, np.asarray(text)]))
    rows.append(np.concatenate(row, 1))
  return pictures.stack(rows)
