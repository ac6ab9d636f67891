"""Further fields of a prepared set's cases, kept beside it: maps, priors, scribbles."""

import functools
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tqdm

from jaxseg import files, sealed
from jaxseg.batch import inputs
from jaxseg.data.prepared import blocks
from jaxseg.data.prepared.blocks import Stored
from jaxseg.data.prepared.dataset import Dataset, again
from jaxseg.data.prepared.workers import spread
from jaxseg.sealed import Damaged

_NOTE, _VALUES = "field.json", "values"


class Field(NamedTuple):
  """One array for each case, in a folder of its own.

  Attributes:
    folder: where it lies.
    decode: from the stored array, or a part of it, to the field; None where they are the same.
  """

  folder: pathlib.Path
  decode: Callable[[np.ndarray], np.ndarray] | None = None

  def has(self, case: int) -> bool:
    return self._of(case).is_dir()

  def write(self, case: int, array: np.ndarray, spacing: Sequence[float]) -> None:
    """Stores a case's (*space, ...) array; of several processes that do, any one's is kept."""
    rank, folder = len(spacing), self._of(case)
    part = folder.with_name(f".{os.getpid()}.{folder.name}")
    with files.full_disk_told(folder):
      shutil.rmtree(part, ignore_errors=True)
      part.mkdir(parents=True)
      try:
        voxel = array.itemsize * int(np.prod(array.shape[rank:]))
        block = blocks.block_shape(array.shape[:rank], spacing, bytes_per_voxel=voxel)
        stored = blocks.write(part / _VALUES, array, block)
        note = sealed.seal(stored._asdict())
        (part / _NOTE).write_text(json.dumps(note), encoding="utf-8")
        files.flush(part)
        files.rename(part, folder)
      except OSError:
        if not folder.is_dir():
          raise
      finally:
        shutil.rmtree(part, ignore_errors=True)

  def read(self, case: int, region: Sequence[slice] = ()) -> np.ndarray:
    """The field of a case, or of a region of it; raises Damaged with the reason."""
    folder = self._of(case)
    stored = _stored(folder)
    try:
      array = blocks.read(folder / _VALUES, stored, region)
    except Damaged as error:
      raise Damaged(f"{folder}: is damaged, {error}; {again(self.folder)}.") from error
    return array if self.decode is None else self.decode(array)

  def _of(self, case: int) -> pathlib.Path:
    return self.folder / f"{int(case):06d}"


@functools.lru_cache(4096)
def _stored(folder: pathlib.Path) -> Stored:
  advice = again(folder.parent)
  note = sealed.read(
    folder / _NOTE, what="the note of a stored field", advice=advice, required=True
  )
  return Stored.from_json(note)


class _Wider(NamedTuple):
  """`load` and `crop` of a data set, with more fields; plain values, so that it pickles."""

  dataset_load: Callable[[int], dict[str, np.ndarray]]
  dataset_crop: Callable[..., dict[str, np.ndarray]]
  fields: Mapping[str, Field]
  cases: frozenset[int]

  def load(self, i: int) -> dict[str, np.ndarray]:
    return {**self.dataset_load(i), **self._read(i, ())}

  def crop(self, i: int, start: Sequence[int], size: Sequence[int]) -> dict[str, np.ndarray]:
    region = tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))
    return {**self.dataset_crop(i, start, size), **self._read(i, region)}

  def _read(self, i: int, region: tuple[slice, ...]) -> dict[str, np.ndarray]:
    if int(i) not in self.cases:
      return {}
    return {name: field.read(i, region) for name, field in self.fields.items()}


class _Unlabelled(NamedTuple):
  """`load`, `crop` and `locations` of a data set, as if nobody had labelled it; it pickles."""

  dataset_load: Callable[[int], dict[str, np.ndarray]]
  dataset_crop: Callable[..., dict[str, np.ndarray]]

  def load(self, i: int) -> dict[str, np.ndarray]:
    return inputs(self.dataset_load(i))

  def crop(self, i: int, start: Sequence[int], size: Sequence[int]) -> dict[str, np.ndarray]:
    return inputs(self.dataset_crop(i, start, size))

  def locations(self, i: int) -> dict[int, np.ndarray]:
    return {}


def without_labels(dataset: Dataset) -> Dataset:
  """The data set as one of images alone: what labels it has are in no sample and choose no patch.

  Weights are left out too, for voxels that nobody labelled tell where somebody did.
  """
  bare = _Unlabelled(dataset.load, dataset.crop)
  return dataset._replace(load=bare.load, crop=bare.crop, locations=bare.locations)


class _Numbered(NamedTuple):
  """`load` and `crop` of a data set, with a number for each case; plain values, so it pickles."""

  dataset_load: Callable[[int], dict[str, np.ndarray]]
  dataset_crop: Callable[..., dict[str, np.ndarray]]
  field: str
  numbers: Mapping[int, int]
  otherwise: int

  def load(self, i: int) -> dict[str, np.ndarray]:
    return {**self.dataset_load(i), **self._number(i)}

  def crop(self, i: int, start: Sequence[int], size: Sequence[int]) -> dict[str, np.ndarray]:
    return {**self.dataset_crop(i, start, size), **self._number(i)}

  def _number(self, i: int) -> dict[str, np.ndarray]:
    return {self.field: np.array(self.numbers.get(int(i), self.otherwise), np.int32)}


def with_numbers(
  dataset: Dataset, field: str, numbers: Mapping[int, int], *, otherwise: int
) -> Dataset:
  """The data set with a number for each case, a field that is an index; nothing is stored.

  `numbers` are by case, `otherwise` is that of cases it lacks.
  """
  numbered = _Numbered(dataset.load, dataset.crop, field, dict(numbers), otherwise)
  return dataset._replace(load=numbered.load, crop=numbered.crop)


class Maker(NamedTuple):
  """How a further field of a set's cases is made.

  Attributes:
    key: of all that the values follow from besides the set itself; for a folder's name.
    make: case index -> what is stored, (*space, ...).
    decode: from the stored array, or a part of it, to the field; None where they are the same.
    content: case index -> what tells the case's inputs from others', "" if it has none; None where
      the values follow from the set.

  What pickles is made in several processes.
  """

  key: str
  make: Callable[[int], np.ndarray]
  decode: Callable[[np.ndarray], np.ndarray] | None = None
  content: Callable[[int], str] | None = None


def with_fields(
  dataset: Dataset,
  makers: Mapping[str, Maker],
  cases: Sequence[int] | None = None,
  *,
  workers: int | None = None,
) -> Dataset:
  """The data set with more fields in the samples of some cases.

  They are made where missing and kept in `dataset.folder`/fields, one folder for each field and
  key. An interrupted run goes on where it stopped, and several processes may run at once.

  Args:
    dataset: a prepared set.
    makers: name in batch.FIELDS -> how it is made.
    cases: indices of the cases that get the fields; None is all.
    workers: processes; None is one per core where there is more work than a few seconds.
  """
  if not makers:
    return dataset
  cases = tuple(range(len(dataset.names)) if cases is None else (int(i) for i in cases))
  home = dataset.folder / "fields"
  fields = {
    name: Field(home / f"{name}-{maker.key}", maker.decode) for name, maker in makers.items()
  }
  missing = [
    (i, names) for i in cases if (names := [n for n, field in fields.items() if not field.has(i)])
  ]
  if missing:
    files.remove_leftovers(home)
    what = f"fields ({', '.join(makers)})"
    work = functools.partial(_make, dataset.crop, dataset.rank, fields, dict(makers))
    made = spread(work, missing, workers=workers, what=what)
    for _ in tqdm.tqdm(made, desc=what, total=len(missing), unit="case", mininterval=0.5):
      pass
  wider = _Wider(dataset.load, dataset.crop, fields, frozenset(cases))
  marks = tuple(maker.content for maker in makers.values() if maker.content)
  content = functools.partial(_content, dataset.content, marks) if marks else dataset.content
  return dataset._replace(load=wider.load, crop=wider.crop, content=content)


def _make(crop, rank: int, fields, makers, item: tuple[int, list[str]]) -> None:
  case, names = item
  spacing = crop(case, (0,) * rank, (1,) * rank)["spacing"]
  for name in names:
    fields[name].write(case, makers[name].make(case), spacing)


def _content(own: Callable[[int], str | None], marks: Sequence[Callable], case: int) -> str | None:
  """Of a case and of what its fields are made from."""
  parts = [own(case), *(mark(int(case)) for mark in marks)]
  return None if parts[0] is None else "-".join(part for part in parts if part)
