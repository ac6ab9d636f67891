"""From one case to the image that is made of it, on its own grid."""

import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from jaxseg import data
from jaxseg.data.formats.geometry import Geometry
from jaxseg.data.sources.source import RawCase
from jaxseg.inference.segmentation import Configuration, prepared_case


def synthesise(
  configurations: Sequence[Configuration],
  raw: RawCase,
  where: str = "the image",
  *,
  progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
  """The image that a case's inputs give, (*space, channels) float32 intensities on its own grid.

  Args:
    configurations: their `logits` give intensities of the same channels; several are averaged.
    raw: the case as read, its image the inputs.
    where: what messages call it.
    progress: called with (windows done, windows), for each configuration anew.
  """
  total = None
  for configuration in configurations:
    case, grid = prepared_case(configuration, raw, where)
    image = grid.restore(np.asarray(configuration.logits(case, progress=progress), np.float32))
    total = image if total is None else total + image
  return total / np.float32(len(configurations)) if len(configurations) > 1 else total


def write_image(
  folder: pathlib.Path, name: str, image: np.ndarray, geometry: Geometry, kind: np.dtype
) -> pathlib.Path:
  """Writes a made image; returns its path.

  Args:
    folder, name: where, without ending.
    image: (*space, channels) float32.
    geometry: of the image that it was made of.
    kind: type of that image's voxels: of a picture of 8 or 16 bits a picture is made, its values
      rounded and cut off at the ends; all else is NIfTI of floats, one channel after the other in
      its fourth axis.
  """
  flat = geometry.kind == "picture" and geometry.rank == 2
  if flat and image.shape[-1] in (1, 3) and kind in (np.uint8, np.uint16):
    path, top = folder / f"{name}.png", np.iinfo(kind).max
    if kind == np.uint16 and image.shape[-1] == 3:
      path = path.with_suffix(".tif")
    image = np.clip(np.rint(image), 0, top).astype(kind)
    data.write_image(path, image[..., 0] if image.shape[-1] == 1 else image, geometry)
    return path
  path = folder / f"{name}.nii.gz"
  data.write_image(path, image[..., 0] if image.shape[-1] == 1 else image, geometry)
  return path
