"""Volumes or pictures in HDF5, image and label side by side in one file per case."""

import contextlib
import functools
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from jaxseg.batch import LabelSpec
from jaxseg.data.formats.array_files import HDF5
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.data.formats.images import integers
from jaxseg.data.sources.picture_folder import named_labels
from jaxseg.data.sources.source import (
  ALL,
  NONE,
  RawCase,
  Source,
  check_image,
  check_labelled,
  existing_folder,
  fingerprint,
  natural,
)
from jaxseg.packages import OnDemand

h5py = OnDemand("h5py")


def _load(path: pathlib.Path, keys: Sequence[str]) -> list[np.ndarray]:
  with _open(path) as file:
    missing = [key for key in keys if key not in file]
    if missing:
      raise ValueError(
        f"{path}: has no data set '{missing[0]}', it holds: {', '.join(sorted(file))}; set the "
        "options image and label."
      )
    arrays = [file[key][()] for key in keys]
    return [array.astype(array.dtype.newbyteorder("="), copy=False) for array in arrays]


@contextlib.contextmanager
def _open(path: pathlib.Path) -> Iterator["h5py.File"]:
  try:
    with h5py.File(path) as file:
      yield file
  except OSError as error:
    raise ValueError(
      f"{path}: cannot be read as HDF5 ({error}); the file is damaged or cut off: copy or download "
      "it again."
    ) from error


def _lacks(path: pathlib.Path, key: str, labelled) -> bool:
  """Whether a file counts as a case without a label."""
  if labelled in (ALL, NONE):
    return labelled is NONE
  with _open(path) as file:
    return key not in file


def _turn(array: np.ndarray, axes: str) -> np.ndarray:
  order = [axes.index(axis) for axis in "zyxc" if axis in axes]
  return np.ascontiguousarray(array.transpose(order))


def read_array(path: pathlib.Path, key: str, axes: str) -> np.ndarray:
  """A data set of one file, turned to (z, y, x[, c]); errors as of `h5`."""
  (array,) = _load(path, (key,))
  if array.ndim != len(axes):
    raise ValueError(f"{path}: its {key} {array.shape} doesn't have the axes '{axes}'.")
  return _turn(array, axes)


def check_key(path: pathlib.Path, key: str, where: str) -> None:
  """Raises ValueError, which `where` begins, unless the file has such a data set."""
  with _open(path) as file:
    if key not in file:
      raise ValueError(
        f"{where}: {path} has no data set '{key}', it holds: {', '.join(sorted(file))}; set its "
        "option key, or give files of every case that is fed."
      )


def read_image(path: pathlib.Path, *, image: str = "image", axes: str = "zyx") -> np.ndarray:
  """(*space, channels) of one file; options and errors as of `h5`."""
  array = read_array(path, image, axes)
  return array if "c" in axes else array[..., None]


def _read_case(
  case: str, *, files, without, keys, axes: str, channels, labels: LabelSpec, spacing
) -> RawCase:
  if case not in files:
    raise ValueError(f"case '{case}' is not in this data set, which has {len(files)} cases.")
  path = files[case]
  rank = len(axes.replace("c", ""))
  if case in without:
    image = read_image(path, image=keys[0], axes=axes)
    check_image(image, str(path), channels=len(channels), rank=rank)
    return RawCase(image, None, None, plain_geometry(image.shape[:-1], spacing))
  image, label = _load(path, keys)
  if image.ndim != len(axes) or label.ndim != rank:
    raise ValueError(
      f"{path}: image {image.shape} and label {label.shape} don't have the axes '{axes}' (the "
      "label without c); set the option axes."
    )
  label = integers(label, path)
  image = _turn(image, axes)
  image = image if "c" in axes else image[..., None]
  label = _turn(label, axes.replace("c", ""))
  check_image(image, str(path), channels=len(channels), rank=rank)
  if label.shape != image.shape[:-1]:
    raise ValueError(
      f"{path}: the image has shape {image.shape[:-1]} but the label {label.shape} (z, y, x); they "
      "must lie on the same grid."
    )
  labels.encode(label, str(path))
  return RawCase(image, label, None, plain_geometry(label.shape, spacing))


def h5(
  path: str,
  *,
  names: Sequence[str],
  values: Sequence[int] | None = None,
  ignore: int | None = None,
  image: str = "image",
  label: str = "label",
  axes: str = "zyx",
  channels: Sequence[str] = ("image",),
  spacing: Sequence[float] | None = None,
  pattern: str = "*.h5",
  labelled: bool | str = True,
) -> Source:
  """A folder of HDF5 files, one per case, as SSL4MIS has ACDC and UA-MT the left atrium.

  Args:
    path: the folder.
    names: names of the classes, background first.
    values: the stored value of each class; 0, 1, 2, ... by default.
    ignore: stored value of voxels that are not annotated.
    image: name of the image's data set within a file.
    label: name of the label's data set.
    axes: order of the axes in the files, of the letters z, y, x and c (channels): "zyx", "xyz",
      "yx", "zyxc", ...; arrays are turned to (z, y, x[, c]).
    channels: names of the channels.
    spacing: millimetres in (z, y, x) order; 1 where it is not given, HDF5 files rarely hold it.
    pattern: glob of the files.
    labelled: True: every file holds a label; False: none does, or none is looked for; "partly":
      files without one are cases without a label.

  Raises:
    FileNotFoundError: the folder is missing.
    ValueError: no file, and, when a case is read, a damaged file, a missing data set, shapes,
      channels or label values that don't fit.
  """
  check_labelled(labelled)
  folder = existing_folder(path, "the folder of HDF5 files")
  if sorted(axes.replace("c", "")) not in (["x", "y"], ["x", "y", "z"]) or axes.count("c") > 1:
    raise ValueError(f"config.data.axes: '{axes}' must be made of y, x and perhaps z and c.")
  found = [f for f in folder.glob(pattern) if f.is_file() and f.suffix.lower() in HDF5]
  if not found:
    raise ValueError(f"{folder}: no HDF5 file matches '{pattern}'; expected one file per case.")
  files: dict[str, pathlib.Path] = {}
  for file in sorted(found):
    if files.setdefault(file.stem, file) != file:
      raise ValueError(
        f"{files[file.stem]} and {file}: are both case '{file.stem}'; rename one, or narrow the "
        "option pattern."
      )
  cases = tuple(sorted(files, key=natural))
  labels = named_labels(names, values, ignore)
  channels = tuple(channels)
  without = frozenset(case for case in cases if _lacks(files[case], label, labelled))
  read = functools.partial(
    _read_case,
    files=files,
    without=without,
    keys=(image, label),
    axes=axes,
    channels=channels,
    labels=labels,
    spacing=spacing,
  )
  options = {
    "labels": labels.to_json(),
    "keys": (image, label),
    "axes": axes,
    "channels": channels,
    "spacing": spacing,
  }
  if labelled is not ALL:
    options["labelled"] = labelled
  rank, key = len(axes.replace("c", "")), fingerprint(found, options)
  return Source(folder.name, cases, channels, labels, rank, read, key, without)
