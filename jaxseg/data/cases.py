"""Images without labels, as a user hands them to `predict`."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxseg.data import hdf5
from jaxseg.data.channel_files import by_case
from jaxseg.data.geometry import Geometry, plain_geometry
from jaxseg.data.images import ENDINGS, read_image
from jaxseg.data.picture_folder import in_colours
from jaxseg.data.plain import HDF5
from jaxseg.data.source import RawCase, check_pair


def _is_image(path: pathlib.Path) -> bool:
  name = path.name.lower()
  return path.is_file() and not name.startswith(".") and name.endswith(ENDINGS)


def find_cases(path) -> dict[str, tuple[pathlib.Path, ...]]:
  """Case name -> the files of its channels, in natural order.

  Args:
    path: an image file; a folder of images; the folder of a DICOM series, or a folder of such
      folders. Channels in files of their own are told by nnU-Net's endings _0000, _0001, ...

  Raises:
    FileNotFoundError: the path is missing.
    ValueError: there is no image.
  """
  path = pathlib.Path(path)
  if not path.exists():
    raise FileNotFoundError(f"{path}: no such file or folder; check --input.")
  if path.is_file():
    return by_case([path])
  images = [file for file in path.iterdir() if _is_image(file)]
  if images:
    return by_case(images)
  series = [folder for folder in sorted(path.iterdir()) if folder.is_dir()]
  folders = series or [path]
  found = {
    folder.name: (folder,) for folder in folders if any(f.is_file() for f in folder.iterdir())
  }
  if not found:
    raise ValueError(
      f"{path}: holds no image; expected files ending in {', '.join(ENDINGS)}, or DICOM."
    )
  return found


def read_case(
  paths: Sequence[pathlib.Path], *, rank: int | None = None, source: Mapping[str, Any] | None = None
) -> RawCase:
  """Reads the channels of a case as one image; raises ValueError if their grids differ.

  Args:
    paths: one file with all channels, or one file per channel.
    rank: number of spatial axes, for formats that don't tell it.
    source: config.data.source of the set that the image is to be read like: what it told of files
      that don't tell it themselves (millimetres, axes in HDF5) and did to colours holds here, too.
  """
  images, grids = zip(*(_read(path, rank, source or {}) for path in paths), strict=True)
  for path, grid in zip(paths[1:], grids[1:], strict=True):
    check_pair(grids[0], grid, str(path), what="other channel")
  image, told = np.concatenate(images, -1), source or {}
  if len(paths) == 1 and grids[0].kind == "picture" and told.get("name") == "paired_folder":
    image = in_colours(image, len(told.get("channels", ("grey",))))
  return RawCase(image, None, None, grids[0])


def _read(path: pathlib.Path, rank: int | None, source: Mapping[str, Any]):
  if source.get("name") == "h5" and path.suffix.lower() in HDF5:
    options = {name: source[name] for name in ("image", "axes") if name in source}
    image = hdf5.read_image(path, **options)
    geometry = plain_geometry(image.shape[:-1])
  else:
    image, geometry = read_image(path, rank=rank)
  return image, _spaced(geometry, source.get("spacing"))


def _spaced(geometry: Geometry, spacing: Sequence[float] | None) -> Geometry:
  """Pictures and plain arrays of the training set's rank have its millimetres."""
  if geometry.kind not in ("picture", "plain") or len(spacing or ()) != geometry.rank:
    return geometry
  return plain_geometry(geometry.shape, spacing, geometry.kind)
