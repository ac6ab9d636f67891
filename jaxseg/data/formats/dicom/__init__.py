"""DICOM: series of slices, files of many frames, single images, whose world is LPS (ours RAS).

Headers are read and checked before any pixel is (`series`): what is not a regular volume is refused
in words that name the file.
"""

import pathlib

import numpy as np

from jaxseg.data.formats.dicom.headers import ENDINGS, Header, is_dicom
from jaxseg.data.formats.dicom.parts import split
from jaxseg.data.formats.dicom.pixels import read_pixels
from jaxseg.data.formats.dicom.series import Contents, Series, find_series, joined, stack
from jaxseg.data.formats.geometry import Geometry, plain_geometry

__all__ = [
  "ENDINGS",
  "Contents",
  "Series",
  "find_series",
  "is_dicom",
  "joined",
  "read_file",
  "read_folder",
  "read_series",
  "split",
]


def read_series(series: Series, *, rank: int | None = None) -> tuple[np.ndarray, Geometry]:
  """(z, y, x, channels) or, of one image, (y, x, channels) in rescaled units, and its geometry.

  Args:
    series: as `find_series` gives it.
    rank: number of axes that are expected; one slice is refused where it's 3.

  Raises ValueError in words, see `stack` and `read_pixels`.
  """
  (first, *others), count = series.headers, sum(len(h.frames) for h in series.headers)
  if not others and count == 1 and rank != 3:
    return _read_picture(first)
  found = stack(series)
  pixels = {header.file: header for header in series.headers}
  affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ found.affine
  image = _volume(found.frames, pixels)
  return image, Geometry(affine, image.shape[:-1], "dicom")


def _volume(frames, headers: dict[pathlib.Path, Header]) -> np.ndarray:
  """The frames' pixels in their order; a file of many frames is decoded once."""
  places = {(frame.file, frame.number): z for z, frame in enumerate(frames)}
  image = None
  for file in dict.fromkeys(frame.file for frame in frames):
    read = read_pixels(headers[file])
    if image is None:
      image = np.empty((len(frames), *read.shape[1:]), read.dtype)
    kind = np.promote_types(image.dtype, read.dtype)
    if kind != image.dtype:  # each slice has its own slope
      image = image.astype(kind)
    for frame, pixels in zip(headers[file].frames, read, strict=True):
      image[places[file, frame.number]] = pixels
  return image


def _read_picture(header: Header) -> tuple[np.ndarray, Geometry]:
  image, (frame,) = read_pixels(header)[0], header.frames
  if frame.spacing is None:
    return image, plain_geometry(image.shape[:-1], kind="picture")
  plain = plain_geometry(image.shape[:-1], frame.spacing, "dicom")
  if frame.position is None or frame.orientation is None:
    return image, plain
  across, down = np.reshape(frame.orientation, (2, 3))
  affine = np.eye(4)
  rows, columns = frame.spacing
  normal = np.cross(across, down)
  affine[:3] = np.stack([across * columns, down * rows, normal, frame.position], 1)
  return image, Geometry(np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine, plain.shape, "dicom")


def read_folder(folder: pathlib.Path, *, rank: int | None = None) -> tuple[np.ndarray, Geometry]:
  """The one series in a folder, as `read_series`; raises ValueError unless there is one."""
  files = [file for file in folder.iterdir() if file.is_file() and file.name[0] != "."]
  found = find_series([file for file in files if is_dicom(file)], rank=rank)
  if found.damaged:
    raise ValueError(next(iter(found.damaged.values())))
  if not found.series:
    held = "; ".join(f"{file.name} {why}" for file, why in list(found.skipped.items())[:3])
    raise ValueError(
      f"{folder}: no DICOM series found in this folder{f' ({held})' if held else ''}; give a "
      "folder of slices."
    )
  if len(found.series) > 1:
    names = [one.description or one.headers[0].file.name for one in found.series]
    raise ValueError(
      f"{folder}: holds {len(names)} DICOM series ({', '.join(names[:4])}), expected one; move "
      "each to a folder of its own."
    )
  return read_series(found.series[0], rank=rank)


def read_file(path: pathlib.Path, *, rank: int | None = None) -> tuple[np.ndarray, Geometry]:
  """A file of one image or of many frames, as `read_series`."""
  found = find_series([path], rank=2)
  if found.damaged:
    raise ValueError(next(iter(found.damaged.values())))
  if not found.series:
    raise ValueError(f"{path}: {found.skipped[path]}; give the scan itself.")
  return read_series(found.series[0], rank=rank)
