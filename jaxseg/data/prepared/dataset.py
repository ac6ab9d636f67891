"""The prepared data set, as it is read: cases in blocks, their places of foreground, an index."""

import contextlib
import functools
import pathlib
import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from jaxseg import sealed
from jaxseg.batch import LabelSpec, kind
from jaxseg.data.prepared import blocks, integrity
from jaxseg.data.prepared.blocks import Stored
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.sealed import Damaged

INDEX, LOCATIONS = "jaxseg.json", "locations.npy"


def _unknown(i: int) -> None:
  return None


def _untold(i: int) -> str:
  return ""


class Dataset(NamedTuple):
  """A prepared data set.

  Attributes:
    names: names of the cases, in the order of the source.
    labels: the label specification.
    channels: names of the image channels.
    rank: number of spatial axes.
    preparation: how images were prepared; needed to predict.
    load: i -> {"image": float32 (*space, channels), "label": int32 (*space) or "soft_label":
      float32 (*space, k) for regions, "spacing": float32 (rank,), "weight": float32 (*space)
      where the set has ignored voxels, and "body": float32 (*space), 1 inside the nonzero mask
      where a channel is normalised in it alone, and "modalities": float32 (channels,), 1 of those
      that the case has, where some case of the set lacks one}; of a case without a label neither
      that nor "weight".
    crop: (i, start, size) -> the same of a part of the case, which must lie within it; only the
      blocks that it touches are read.
    locations: i -> {class: (n, rank) int32 voxels}, foreground only; region r is class r + 1. Where
      the labels have an ignored value, class 0 is every voxel that has another one.
    shape: i -> (*space).
    folder: where the set lies.
    content: i -> hash of the case as its source has it; None where the set does not know.
    axcodes: i -> the orientation that the case is stored in, "LPS"; "" where that isn't told.

  `load`, `crop` and `locations` check what they read; they raise Damaged, in a sentence.
  """

  names: tuple[str, ...]
  labels: LabelSpec
  channels: tuple[str, ...]
  rank: int
  preparation: Preparation
  load: Callable[[int], dict[str, np.ndarray]]
  crop: Callable[[int, Sequence[int], Sequence[int]], dict[str, np.ndarray]]
  locations: Callable[[int], dict[int, np.ndarray]]
  shape: Callable[[int], tuple[int, ...]]
  folder: pathlib.Path
  content: Callable[[int], str | None] = _unknown
  axcodes: Callable[[int], str] = _untold


def case_folder(folder: pathlib.Path, number: int) -> pathlib.Path:
  """Where a case lies in the folder of its set."""
  return folder / f"{number:06d}"


def again(folder: pathlib.Path) -> str:
  """What a user does about a damaged set, or about one that lies in it."""
  remove = f"rm -r {shlex.quote(str(folder))}"
  return f"remove it ({remove}) and give the command again: it is made anew"


class _Reader:
  """Reads one prepared set; safe to use from several threads, and to send to other processes."""

  def __init__(self, folder: pathlib.Path):
    self.folder = folder
    index = _index(folder)
    self.cases = index["cases"]
    self.arrays = [
      {field: Stored.from_json(stored) for field, stored in case["arrays"].items()}
      for case in self.cases
    ]
    self.labels = LabelSpec.from_json(index["labels"])
    self.preparation = Preparation.from_json(index["preparation"])

  def load(self, i: int) -> dict[str, np.ndarray]:
    return self._read(i, ())

  def crop(self, i: int, start: Sequence[int], size: Sequence[int]) -> dict[str, np.ndarray]:
    return self._read(i, tuple(slice(a, a + n) for a, n in zip(start, size, strict=True)))

  def _read(self, i: int, region: tuple[slice, ...]) -> dict[str, np.ndarray]:
    case, folder = self.cases[int(i)], case_folder(self.folder, int(i))
    sample, fields = {}, {"label": self.labels.field}
    for field, stored in self.arrays[int(i)].items():
      name = fields.get(field, field)
      with self._damage_told(i, field):
        array = blocks.read(folder / field, stored, region)
      sample[name] = array.astype(kind(name).dtype, copy=False)
    if "modalities" in case:
      sample["modalities"] = np.array(case["modalities"], np.float32)
    return {**sample, "spacing": np.array(case["spacing"], np.float32)}

  def locations(self, i: int) -> dict[int, np.ndarray]:
    case = self.cases[int(i)]
    counts = {int(k): n for k, n in case["locations"].items()}
    file = case_folder(self.folder, int(i)) / LOCATIONS
    with self._damage_told(i, "locations"):
      rows = _rows(file, tuple(case["locations_sum"]), integrity.state_of(file))
    return unpack(rows, counts)

  def shape(self, i: int) -> tuple[int, ...]:
    return tuple(self.cases[int(i)]["shape"])

  def content(self, i: int) -> str | None:
    return self.cases[int(i)].get("content")

  def axcodes(self, i: int) -> str:
    return self.cases[int(i)]["axcodes"]

  @contextlib.contextmanager
  def _damage_told(self, i: int, field: str) -> Iterator[None]:
    try:
      yield
    except Damaged as error:
      name = self.cases[int(i)]["name"]
      raise Damaged(
        f"{self.folder}: the prepared set is damaged (case '{name}', {field}: {error}); "
        f"{again(self.folder)}."
      ) from error


@functools.lru_cache(4096)
def _rows(file: pathlib.Path, expected: tuple[int, int], state: tuple) -> np.ndarray:
  """(voxels, rank) of a case, checked; anew where the file's `state` tells of a change."""
  del state
  integrity.check_file(file, expected)
  # mapped, not read: a patch needs one voxel of one class
  return np.load(file, mmap_mode="r")


def unpack(rows: np.ndarray, counts: dict[int, int]) -> dict[int, np.ndarray]:
  """The inverse of `locations.pack`: views of the rows; `counts` are the voxels per class."""
  found, first = {}, 0
  for k, count in sorted(counts.items()):
    found[k] = rows[first : first + count]
    first += count
  return found


def _index(folder: pathlib.Path) -> dict:
  advice = again(folder)
  return sealed.read(
    folder / INDEX,
    what="the index of a prepared data set",
    advice=advice,
    required=True,
  )


def open_prepared(folder) -> Dataset:
  """The prepared set in a folder, without its source.

  Raises FileNotFoundError if there is none, ValueError (Damaged) if its index is not as written.
  """
  folder = pathlib.Path(folder)
  if not (folder / INDEX).is_file():
    raise FileNotFoundError(
      f"{folder}: holds no prepared data set ({INDEX} is missing); if it was one, remove "
      "it and give the command again: it is made anew."
    )
  reader = _Reader(folder)
  return Dataset(
    names=tuple(case["name"] for case in reader.cases),
    labels=reader.labels,
    channels=reader.preparation.channels,
    rank=reader.preparation.rank,
    preparation=reader.preparation,
    load=reader.load,
    crop=reader.crop,
    locations=reader.locations,
    shape=reader.shape,
    folder=folder,
    content=reader.content,
    axcodes=reader.axcodes,
  )
