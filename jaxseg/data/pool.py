"""What feeds several runs at once: the cases of all of them, each kept once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxseg.data.prepared.dataset import Dataset
from jaxseg.data.stream import CachedCases, Feeder, Stream, ahead


class _Joined(NamedTuple):
  """`load` and the like of cases from several data sets."""

  parts: tuple[tuple[Dataset, int], ...]

  def load(self, i: int) -> dict[str, np.ndarray]:
    dataset, case = self.parts[int(i)]
    return dataset.load(case)

  def crop(self, i: int, start: Sequence[int], size: Sequence[int]) -> dict[str, np.ndarray]:
    dataset, case = self.parts[int(i)]
    return dataset.crop(case, start, size)

  def locations(self, i: int) -> dict[int, np.ndarray]:
    dataset, case = self.parts[int(i)]
    return dataset.locations(case)

  def shape(self, i: int) -> tuple[int, ...]:
    dataset, case = self.parts[int(i)]
    return dataset.shape(case)


def pooled(streams: Sequence[Stream]) -> tuple[list[Stream], int]:
  """One stream of several runs, as of one data set that holds the cases of all; and their number.

  Cases are the same where their sets lie in one folder and have one place there: the runs must have
  the same fields. Each run keeps its own cases in their order.
  """
  number: dict[tuple, int] = {}
  parts: list[tuple[Dataset, int]] = []
  for dataset, cases, *_ in streams:
    for case in cases:
      if number.setdefault((dataset.folder, case), len(parts)) == len(parts):
        parts.append((dataset, case))
  all_of = _Joined(tuple(parts))
  joined = streams[0].dataset._replace(
    names=tuple(dataset.names[case] for dataset, case in parts),
    load=all_of.load,
    crop=all_of.crop,
    locations=all_of.locations,
    shape=all_of.shape,
  )
  own = [
    of._replace(dataset=joined, cases=tuple(number[of.dataset.folder, case] for case in of.cases))
    for of in streams
  ]
  return own, len(parts)


class Feeders:
  """Makes the elements of several runs: of each what its own `Feeder` would make.

  Args:
    several: the streams of each run, by name; the runs have the same names.
    cache: "device", "host" or "disk"; what is kept is kept once for all runs.
  """

  def __init__(self, several: Sequence[Mapping[str, Stream]], *, cache: str):
    kept, streams = {}, [{} for _ in several]
    for name in several[0]:
      own, count = pooled([of[name] for of in several])
      kept[name] = CachedCases(own[0].dataset, range(count), cache)
      for run, of in zip(streams, own, strict=True):
        run[name] = of
    self._feeders = [Feeder(of, cache=cache, kept=kept) for of in streams]

  def store(self) -> dict[str, Any]:
    """The cases of all runs for the device's memory; see `Feeder.store`."""
    return self._feeders[0].store()

  def element(
    self, step: int, slots: Callable[[int], Sequence[int]] = range
  ) -> tuple[dict[str, Any], ...]:
    """What a step of each run is fed."""
    return tuple(feeder.element(step, slots) for feeder in self._feeders)

  def elements(
    self, first: int, last: int, slots: Callable[[int], Sequence[int]] = range
  ) -> Iterator[tuple[dict[str, Any], ...]]:
    """The elements of steps first..last-1, made ahead of need."""
    return ahead(lambda step: self.element(step, slots), first, last)
