"""Reads a case without labels, as a user hands it to `predict`."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxseg.data.formats import dicom
from jaxseg.data.formats.array_files import HDF5
from jaxseg.data.formats.geometry import Geometry, plain_geometry
from jaxseg.data.formats.images import read_image
from jaxseg.data.sources import hdf5
from jaxseg.data.sources.case_files import CaseFiles
from jaxseg.data.sources.picture_folder import in_colours
from jaxseg.data.sources.source import RawCase, on_image_grid


def read_case(
  case: CaseFiles, *, rank: int | None = None, source: Mapping[str, Any] | None = None
) -> RawCase:
  """Reads the channels of a case as one image.

  Args:
    case: its files, as `find_cases` gives them.
    rank: number of spatial axes, for formats that don't tell it.
    source: config.data.source of the set that the image is to be read like: what it told of files
      that don't tell it themselves (millimetres, axes in HDF5) and did to colours holds here, too.

  Raises ValueError where the case has a problem, a file is damaged or the channels' grids differ.
  """
  if case.problem:
    raise ValueError(case.problem)
  told = source or {}
  if case.series is not None:
    image, grid = dicom.read_series(case.series, rank=rank)
    images, grids = (image,), (_spaced(grid, told.get("spacing")),)
  else:
    images, grids = zip(*(_read(path, rank, told) for path in case.files), strict=True)
  if case.series is None:
    files = map(str, case.files)
    images = [
      on_image_grid(*one, grids[0], file, what="channel", unless="")
      for file, *one in zip(files, images, grids, strict=True)
    ]
  image = np.concatenate(images, -1) if len(images) > 1 else images[0]
  flat = grids[0].kind == "picture" or (grids[0].kind == "dicom" and grids[0].rank == 2)
  if len(images) == 1 and flat and told.get("name") == "paired_folder":
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
