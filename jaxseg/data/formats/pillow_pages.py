"""Pages that Pillow opens as numbers: brightness or colours of an image, classes of a label."""

import numpy as np
from PIL import Image

from jaxseg.data.formats.unsuitable import opaque


def as_array(page: Image.Image, *, integer: bool) -> np.ndarray:
  """(y, x) or (y, x, 3); a label's palette is for the eye, its indices are the classes."""
  if page.mode == "PA":
    opaque(np.asarray(page.convert("RGBA")))
    page = page.convert("P")
  if page.mode == "P":
    colours = np.reshape(page.getpalette("RGB"), (-1, 3))
    grey = bool((colours == colours[:, :1]).all())
    # a GIF has no grey but that of a palette
    if integer and not (grey and page.format == "GIF"):
      return np.asarray(page)
    _check_transparency(page)
    return np.asarray(page.convert("L" if grey else "RGB"))
  if page.mode == "1":
    return np.asarray(page).astype(np.uint8) * (1 if integer else 255)
  if page.mode in ("I", "F") or page.mode.startswith("I;16"):
    return np.asarray(page)
  _check_transparency(page)
  return np.asarray(page.convert("L" if page.mode in ("L", "LA", "La") else "RGB"))


def _check_transparency(page: Image.Image) -> None:
  if page.mode in ("LA", "La", "RGBA", "RGBa") or "transparency" in page.info:
    opaque(np.asarray(page.convert("RGBA")))
