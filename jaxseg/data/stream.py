"""Streams: the parts of a batch, and what each is fed from.

The main stream, MAIN, is the batch itself; every further one lies in it under its name:
batch["image"], batch["target"]["image"].
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxseg.batch import Batch
from jaxseg.data import sampling
from jaxseg.data.prepared.dataset import Dataset
from jaxseg.data.sampling import CACHES, Sampling
from jaxseg.data.sources.source import RawCase
from jaxseg.packages import OnDemand, installed

grain = OnDemand("grain")
MAIN = ""


def unchanged(key, fields: Batch) -> Batch:
  """No augmentation."""
  del key
  return fields


class Stream(NamedTuple):
  """One part of a batch, and all that feeding it needs.

  Attributes:
    dataset: prepared cases.
    cases: indices into the data set of those that are fed.
    sampling: how patches are drawn.
    augment: (key, sample) -> sample, from crop to patch.
    mix: (key, batch) -> batch, after `augment`.
  """

  dataset: Dataset
  cases: tuple[int, ...]
  sampling: Sampling
  augment: Callable = unchanged
  mix: Callable = unchanged


class HeldCases(NamedTuple):
  """Cases of a stream that are scored with the final weights.

  Attributes:
    stream: its name, MAIN for the main one.
    dataset: prepared cases, labels among their samples.
    cases: indices into it.
    read: case name -> the case as the user's files have it.
  """

  stream: str
  dataset: Dataset
  cases: tuple[int, ...]
  read: Callable[[str], RawCase]

  @property
  def names(self) -> tuple[str, ...]:
    """Of the cases."""
    return tuple(self.dataset.names[i] for i in self.cases)


def number(name: str) -> int:
  """What a stream's name is folded into keys and seeds as; above 0."""
  return 1 + zlib.crc32(name.encode()) % (2**32 - 1)


def sentences(streams: Mapping[str, Stream]) -> list[str]:
  """What is to be told of the further streams, a sentence each."""
  lines = []
  for name, (dataset, cases, how, *_) in streams.items():
    if name != MAIN:
      corner = dataset.crop(cases[0], (0,) * dataset.rank, (1,) * dataset.rank)
      labels = "with labels" if dataset.labels.field in corner else "without labels"
      lines.append(
        f"Stream '{name}': {len(cases)} case(s) {labels}, {how.batch} patches per batch."
      )
  return lines


def nested(parts: Mapping[str, Batch]) -> Batch:
  """The batches of all streams as one: the main one's fields, the others under their names."""
  further = {name: part for name, part in parts.items() if name != MAIN}
  return {**parts[MAIN], **further}


def sample(
  streams: Mapping[str, Stream], store: Mapping[str, Batch], element: Mapping[str, Batch]
) -> dict[str, Batch]:
  """The patches of every stream, inside the compiled step; see `Feeder` for the arguments."""
  return {
    name: sampling.sample_batch(store[name], element[name], how=stream.sampling)
    if name in store
    else element[name]
    for name, stream in streams.items()
  }


class CachedCases:
  """The cases of a stream as a cache keeps them.

  Args:
    dataset: prepared cases.
    cases: indices of those that are kept, each once.
    cache: "device", "host" or "disk".
  """

  def __init__(self, dataset: Dataset, cases: Sequence[int], cache: str):
    self._dataset, self._cases = dataset, tuple(cases)
    self.number = {case: position for position, case in enumerate(self._cases)}
    self.decoded = sampling.CaseCache(dataset, self._cases) if cache == "host" else None

  def store(self) -> dict[str, np.ndarray]:
    """They as the device's memory holds them, by their `number`."""
    return sampling.device_store(self._dataset, self._cases)


class Feeder:
  """Makes the elements that the step is fed: a pure function of (step, stream, slots).

  An element has a part for each stream: with `cache="device"` the index {"case", "start"} into its
  part of the store, else the patches themselves.

  Args:
    streams: name -> stream.
    cache: "device", "host" or "disk".
    kept: name -> what is kept of a stream's cases, which may be of others too; None is its own.
  """

  def __init__(
    self,
    streams: Mapping[str, Stream],
    *,
    cache: str,
    kept: Mapping[str, CachedCases] | None = None,
  ):
    if cache not in CACHES:
      raise ValueError(f"config.data.cache: '{cache}' is unknown; choices: {', '.join(CACHES)}.")
    self._streams, self._cache = dict(streams), cache
    own = {
      name: CachedCases(of.dataset, dict.fromkeys(of.cases), cache) for name, of in streams.items()
    }
    self._kept = own if kept is None else dict(kept)

  def store(self) -> dict[str, Any]:
    """The cases of all streams for the device's memory, an argument of the step; else {}."""
    return {name: of.store() for name, of in self._kept.items() if self._cache == "device"}

  def element(self, step: int, slots: Callable[[int], Sequence[int]] = range) -> dict[str, Any]:
    """What a step is fed; `slots` tells which of a batch's slots are asked for."""
    return {
      name: self._part(name, int(step), slots(stream.sampling.batch))
      for name, stream in self._streams.items()
    }

  def elements(
    self, first: int, last: int, slots: Callable[[int], Sequence[int]] = range, *, threads: int = 2
  ) -> Iterator[dict[str, Any]]:
    """The elements of steps first..last-1, made ahead of need."""
    return ahead(lambda step: self.element(step, slots), first, last, threads=threads)

  def _part(self, name: str, step: int, slots: Sequence[int]) -> dict[str, np.ndarray]:
    dataset, cases, how = self._streams[name][:3]
    choices = [sampling.choose(dataset, cases, how, step, slot) for slot in slots]
    if self._cache == "device":
      number = self._kept[name].number
      return {
        "case": np.array([number[cases[c.case]] for c in choices], np.int32),
        "start": np.array([c.start for c in choices], np.int32),
      }
    patches = [self._patch(name, choice) for choice in choices]
    return {field: np.stack([p[field] for p in patches]) for field in patches[0]}

  def _patch(self, name: str, choice: sampling.Choice) -> dict[str, np.ndarray]:
    (dataset, cases, how), kept = self._streams[name][:3], self._kept[name]
    case = cases[choice.case]
    if kept.decoded is not None:
      return sampling.cut(kept.decoded[kept.number[case]], how, choice)
    return sampling.read_patch(dataset, case, how, choice)


def ahead(make: Callable[[int], Any], first: int, last: int, *, threads: int = 2) -> Iterator[Any]:
  """What `make` makes of first..last-1, in order, by Grain's threads ahead of need."""
  if not installed("grain"):
    # a bare machine with an accelerator; with volumes on the device an element is some numbers
    return map(make, range(first, last))
  made = grain.MapDataset.range(first, last).map(make)
  options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=4 * threads)
  return iter(made.to_iter_dataset(options))
