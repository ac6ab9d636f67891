"""The scores of a set of cases, and what they say together."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np


class Scores(NamedTuple):
  """The scores of a set of cases.

  Attributes:
    names: what is scored: classes without the background, regions, channels of an image.
    cases: case name -> metric -> name -> value; NaN where it is undefined.
    best: the metric that judges, one of the cases'.
    panels: pictures image | label | prediction of some cases.
    streams: stream -> names of its cases, where they are of several; {} of one.
  """

  names: tuple[str, ...]
  cases: dict[str, dict[str, dict[str, float]]]
  best: str
  panels: list[np.ndarray]
  streams: Mapping[str, Sequence[str]] = MappingProxyType({})

  def parts(self) -> "dict[str, Scores]":
    """Stream -> the scores of its cases alone; {} where they are of one."""
    return {
      stream: self._replace(cases={name: self.cases[name] for name in own}, streams={})
      for stream, own in self.streams.items()
    }

  def of(self, metric: str) -> dict[str, float]:
    """Mean over cases by name, of finite values: neither empty classes nor absent surfaces."""
    return self._means(metric, np.isfinite)

  @property
  def metrics(self) -> tuple[str, ...]:
    """Names of the metrics; () of no case."""
    return tuple(next(iter(self.cases.values()), ()))

  @property
  def mean(self) -> float:
    """Mean of the judging metric over cases and names; infinite where a distance is.

    A network that leaves a class out must not be judged by the cases that it doesn't.
    """
    return _mean(list(self._means(self.best, _defined).values()), _defined)

  def _means(self, metric: str, counts: Callable) -> dict[str, float]:
    cases = self.cases.values()
    return {name: _mean([case[metric][name] for case in cases], counts) for name in self.names}

  def scalars(self) -> dict[str, float]:
    values = {f"validation/{self.best}": self.mean}
    for metric in self.metrics:
      values |= {f"validation/{metric}/{name}": v for name, v in self.of(metric).items()}
    for stream, own in self.parts().items():
      values[f"validation/{stream}/{self.best}"] = own.mean
    return values

  def summary(self) -> dict:
    by_name = {metric: self.of(metric) for metric in self.metrics}
    means = {metric: _mean(list(values.values())) for metric, values in by_name.items()}
    told = {"cases": len(self.cases), "mean": means, "classes": by_name}
    parts = {stream: own.summary() for stream, own in self.parts().items()}
    return {**told, "streams": parts} if parts else told

  def table(self) -> str:
    """The summary as text."""
    columns = [["class", *self.names, "mean"]]
    for metric in self.metrics:
      values = self.of(metric)
      shown = [*values.values(), _mean(list(values.values()))]
      columns.append([metric, *(f"{value:.4f}" for value in shown)])
    first, *others = [max(map(len, column)) for column in columns]
    rows = []
    for name, *cells in zip(*columns, strict=True):
      padded = (f"{c:>{max(9, w + 2)}}" for c, w in zip(cells, others, strict=True))
      rows.append(f"{name:<{first}}" + "".join(padded))
    rows.append(f"({len(self.cases)} validation cases)")
    rows += [f"Stream '{stream}':\n{own.table()}" for stream, own in self.parts().items()]
    return "\n".join(rows)


def _defined(value: float) -> bool:
  return not np.isnan(value)


def _mean(values: list[float], counts: Callable = np.isfinite) -> float:
  values = [v for v in values if counts(v)]
  return float(np.mean(values)) if values else float("nan")
