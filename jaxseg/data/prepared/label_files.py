"""Fields that lie in files beside a set's images, drawn as its labels are.

A first stage's segmentations, scribbles, pseudo-labels: a file per case, on the image's grid.
"""

import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxseg.batch import LabelSpec
from jaxseg.data.formats.geometry import Geometry
from jaxseg.data.formats.images import ENDINGS, read_label, stem
from jaxseg.data.prepared.dataset import Dataset
from jaxseg.data.prepared.fields import Maker
from jaxseg.data.prepared.grids import Grid
from jaxseg.data.prepared.integrity import file_sum
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.data.sources.source import RawCase, existing_folder, fingerprint, on_image_grid

# of the stored arrays: raise it when they are stored otherwise
_FORMAT = 3


def files_of(
  cases: Sequence[str], path: str, where: str, endings: tuple[str, ...] = ENDINGS
) -> dict[str, pathlib.Path]:
  """The file of each case in a folder, by the case's name; raises ValueError where it has none."""
  folder = existing_folder(path, f"the folder of {where}")
  named: dict[str, list[pathlib.Path]] = {}
  for file in sorted(folder.iterdir()):
    if file.is_file() and file.name.lower().endswith(endings):
      named.setdefault(stem(file), []).append(file)
  lacking = [case for case in cases if case not in named]
  if lacking:
    more = f" (and {len(lacking) - 1} more)" if lacking[1:] else ""
    raise ValueError(
      f"{where}: {folder} has no file of case '{lacking[0]}'{more}; expected one named like the "
      f"case for each of the {len(cases)} cases that are fed."
    )
  twice = [case for case in cases if len(named[case]) > 1]
  if twice:
    first, second = (file.name for file in named[twice[0]][:2])
    raise ValueError(
      f"{where}: {folder} has two files of case '{twice[0]}', {first} and {second}; keep one."
    )
  return {case: named[case][0] for case in cases}


def on_grid(
  stored: np.ndarray, grid: Grid, labels: LabelSpec, where: str, unknown: int | None = None
) -> np.ndarray:
  """(*own grid) stored values -> numbers on the network's grid, as `decoded` reads them.

  0 is `unknown` (or the labels' ignored value), k + 1 is class k; of regions the last axis has one
  such number, 1 or 2, for each.
  """
  drawn = np.ones(stored.shape, bool)
  for value in (unknown, labels.ignore):
    drawn &= True if value is None else stored != value
  classes, _ = labels.encode(np.where(drawn, stored, labels.stored_values[0]), where)
  if not labels.regions:
    return _laid(np.where(drawn, classes + 1, 0), grid, labels.channels)
  each = (np.where(drawn, region + 1, 0) for region in np.moveaxis(classes, -1, 0))
  return np.stack([_laid(region, grid, 2) for region in each], -1)


def _laid(numbers: np.ndarray, grid: Grid, largest: int) -> np.ndarray:
  dtype = np.uint8 if largest < 256 else np.int32
  return grid.label(grid.cut(numbers.astype(dtype)), range(largest + 1)).astype(dtype)


def decoded(numbers: np.ndarray, labels: LabelSpec) -> np.ndarray:
  """What `on_grid` makes -> (*space, k) float32, 1 where a class or region was marked."""
  if labels.regions:
    return (numbers > 1).astype(np.float32)
  return (numbers[..., None] == np.arange(1, labels.channels + 1)).astype(np.float32)


class _Files(NamedTuple):
  """`make` and `content` of a maker, as plain values."""

  files: Mapping[int, pathlib.Path]
  sums: Mapping[int, str]
  names: tuple[str, ...]
  read: Callable[[str], RawCase]
  preparation: Preparation
  labels: LabelSpec
  what: str
  unknown: int | None
  affine: bool
  unless: str
  load: Callable[[pathlib.Path], tuple[np.ndarray, Geometry]]

  def make(self, case: int) -> np.ndarray:
    file, raw = self.files[case], self.read(self.names[case])
    stored, geometry = self.load(file)
    options = {"what": self.what, "affine": self.affine, "unless": self.unless}
    stored = on_image_grid(stored, geometry, raw.geometry, str(file), **options)
    grid = self.preparation.grid(raw.geometry, raw.image)
    return on_grid(stored, grid, self.labels, str(file), self.unknown)

  def content(self, case: int) -> str:
    return self.sums.get(case, "")


def from_files(
  dataset: Dataset,
  files: Mapping[str, pathlib.Path],
  read: Callable[[str], RawCase],
  *,
  what: str,
  unknown: int | None = None,
  affine: bool = True,
  unless: str = "",
  load: Callable[[pathlib.Path], tuple[np.ndarray, Geometry]] = read_label,
  options: Mapping[str, Any] | None = None,
) -> Maker:
  """A maker of what lies in files with the values of the set's labels.

  Args:
    dataset: a prepared set.
    files: the file of each case that is to have the field, by the case's name.
    read: case name -> the case as the user's files have it.
    what, unless: as of `on_image_grid`.
    unknown: value of voxels of which nothing is said; the labels' ignored value is another one.
    affine: whether the grid's position counts.
    load: file -> (*space) values and their grid.
    options: of `load`, which tell its values from others of the same file.
  """
  files = {name: pathlib.Path(file).resolve() for name, file in files.items()}
  numbered = {i: files[name] for i, name in enumerate(dataset.names) if name in files}
  values = (dataset.preparation, dataset.labels, what, unknown, affine, unless)
  # with other files it is another run
  sums = {i: f"{file_sum(file)[1]:08x}" for i, file in numbered.items()}
  of = _Files(numbered, sums, dataset.names, read, *values, load)
  told = {"format": _FORMAT, "unknown": unknown, "affine": affine, **(options or {})}
  key = fingerprint(files.values(), told)
  decode = functools.partial(decoded, labels=dataset.labels)
  return Maker(key, of.make, decode, of.content)


def folder(
  dataset: Dataset,
  cases: Sequence[str],
  read: Callable[[str], RawCase],
  where: str,
  *,
  path: str,
  unknown: int | None = None,
  check_affine: bool = True,
) -> Maker:
  """A folder of label files, one per case and named like it; see `from_files`.

  Args:
    dataset, read: as of `from_files`.
    cases: names of the cases that are to have the field.
    where: the config field, for messages.
    path: the folder.
    unknown: value of voxels of which nothing is said.
    check_affine: refuse files whose affine differs from their image's.
  """
  options = {"unknown": unknown, "affine": check_affine, "unless": "check_affine=False"}
  return from_files(dataset, files_of(cases, path, where), read, what=where, **options)
