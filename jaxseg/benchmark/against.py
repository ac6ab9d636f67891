"""--against OTHER.json: is it faster or slower than before, as far as the stored times tell."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxseg.benchmark import machine

DRAWS, LEVEL = 2000, 0.95
# by how much processes of one program differ at least, as a share: two pairs of runs on an idle
# machine of two cores were 1.5 and 4.5 % apart, more than the steps of each tell; a virtual machine
# beside others was measured at 10 %, which several processes of each row tell (--processes)
PROCESS = 0.02
FASTER, SLOWER, SAME = "faster", "slower", "no difference"


class Spread(NamedTuple):
  """How the times of one program differ from process to process.

  Attributes:
    share: standard deviation of the logarithm of a process's median time.
    freedom: degrees of freedom that it was measured with, 0 if it was not.
  """

  share: float = PROCESS
  freedom: int = 0


def spread(rows: Iterable[Mapping[str, Any]]) -> Spread:
  """Of the rows that were measured by several processes, pooled; never below PROCESS."""
  squares, freedom = 0.0, 0
  for row in rows:
    medians = np.log([np.median(times) for times in times_of(row)])
    if len(medians) > 1:
      squares += float(np.sum((medians - medians.mean()) ** 2))
      freedom += len(medians) - 1
  return Spread(max(PROCESS, (squares / freedom) ** 0.5), freedom) if freedom else Spread()


def ratio(
  ours: Sequence[Sequence[float]],
  theirs: Sequence[Sequence[float]],
  *,
  between: Spread = Spread(),
  seed: int = 0,
) -> dict[str, float]:
  """Our median time over theirs, with a percentile interval of a bootstrap (Efron 1979).

  Neighbouring steps are alike, because other work on a machine lasts for some: blocks are drawn,
  of the square root of the number of times each, not single times (Kunsch 1989). What differs from
  process to process shows in the steps of neither; `between` stands for it, by Student's t where
  few processes tell it.

  Args:
    ours: times of the steps of each process.
    theirs: likewise; of several processes the geometric mean of their medians counts.
  """
  random = np.random.default_rng(seed)
  drawn = _middle(random, ours) / _middle(random, theirs)
  normal = random.standard_normal(DRAWS)
  if between.freedom:
    normal /= np.sqrt(random.chisquare(between.freedom, DRAWS) / between.freedom)
  drawn *= np.exp(between.share * (1 / len(ours) + 1 / len(theirs)) ** 0.5 * normal)
  low, high = np.quantile(drawn, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
  middles = (np.exp(np.mean([np.log(np.median(t)) for t in times])) for times in (ours, theirs))
  return {
    "ratio": float(next(middles) / next(middles)),
    "low": float(low),
    "high": float(high),
  }


def _middle(random: np.random.Generator, processes: Sequence[Sequence[float]]) -> np.ndarray:
  """Geometric means over processes of the medians of DRAWS resamples of each."""
  logs = [np.log(_medians(random, np.asarray(times))) for times in processes]
  return np.exp(np.mean(logs, axis=0))


def _medians(random: np.random.Generator, times: np.ndarray) -> np.ndarray:
  """Medians of DRAWS resamples of `times`, drawn as blocks of neighbours."""
  length = max(1, round(len(times) ** 0.5))
  blocks = -(-len(times) // length)
  starts = random.integers(0, len(times) - length + 1, (DRAWS, blocks))
  places = (starts[..., None] + np.arange(length)).reshape(DRAWS, -1)[:, : len(times)]
  return np.median(times[places], axis=1)


def verdict(compared: Mapping[str, float]) -> str:
  if compared["high"] < 1:
    return FASTER
  return SLOWER if compared["low"] > 1 else SAME


def compare(
  ours: Mapping[str, Any], theirs: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], list[str]]:
  """The rows that both results measured, and sentences about what is not compared or not alike.

  Rows match by what a sweep sets, patch, batch and devices; of a row that was measured several
  times the last counts.
  """
  notes = []
  if unlike := machine.differences(ours["machine"], theirs["machine"]):
    notes.append(
      f"ANOTHER MACHINE: {'; '.join(unlike)}. The ratios compare machines, not the code."
    )
  if unlike := machine.differences(ours["machine"], theirs["machine"], software=True):
    notes.append(f"Not the same software: {'; '.join(unlike)}.")
  between = spread((*ours["rows"], *theirs["rows"]))
  others = {_key(row): row for row in theirs["rows"] if times_of(row)}
  rows = []
  for row in ours["rows"]:
    label = row["label"] or "the config"
    if not times_of(row):
      notes.append(f"{label}: has no step times, {row['failed'] or 'training was not measured'}.")
      continue
    other = others.pop(_key(row), None)
    if other is None:
      notes.append(f"{label}: matches no row of the other results.")
      continue
    compared = ratio(times_of(row), times_of(other), between=between)
    rows.append({"label": row["label"], **compared, "verdict": verdict(compared)})
    notes += [f"{label}: {text}." for text in _unlike(row, other)]
  if others:
    labels = ", ".join(row["label"] or "the config" for row in others.values())
    notes.append(f"Only in the other results: {labels}.")
  if rows:
    notes.append(_of_spread(between))
  return rows, notes


def times_of(row: Mapping[str, Any]) -> list[list[float]]:
  """Seconds of the steps of each process that measured a row; [] where none did."""
  measured = [row["training"]] if "training" in row else []
  return [of["each_step_seconds"] for of in (*measured, *row.get("repeats", ()))]


def _of_spread(between: Spread) -> str:
  if not between.freedom:
    return (
      f"How much processes of one program differ on this machine was not measured (--processes 2 "
      f"does); taken as {between.share:.0%}."
    )
  return (
    f"Processes of one program differ by {between.share:.1%} here (standard deviation, "
    f"{between.freedom} degrees of freedom), which is part of the intervals."
  )


# what makes two rows comparable besides their labels
_ALIKE = ("network", "dtype", "patch", "batch", "devices", "mesh")


def _key(row: Mapping[str, Any]) -> tuple[str, ...]:
  conditions = row["conditions"]
  return (row["label"], *(str(conditions.get(name)) for name in _ALIKE))


def _unlike(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
  """What two rows' configs don't share beyond that."""
  mine, other = ours["conditions"], theirs["conditions"]
  words = [
    f"{name} {mine.get(name)!r} against {other.get(name)!r}"
    for name in ("xla_flags", "cache")
    if mine.get(name) != other.get(name)
  ]
  if mine.get("config") != other.get("config"):
    first, second = (" ".join(row["overrides"]) for row in (ours, theirs))
    words.append(f"not the same config ({first} against {second})")
  return words


def lines(rows: Sequence[Mapping[str, Any]], notes: Sequence[str]) -> str:
  """The comparison as text."""
  table = [
    f"{row['label'] or 'the config'}: {row['ratio']:.3f} of the other's time "
    f"({row['low']:.3f} to {row['high']:.3f}): {row['verdict']}"
    for row in rows
  ]
  return "\n".join([*notes, *(table or ["No row can be compared."])])


def above(rows: Sequence[Mapping[str, Any]], limit: float) -> list[str]:
  """Labels of the rows that are slower than `limit` times the other, beyond their interval's doubt.

  Doubt is none where the whole interval lies above 1.
  """
  return [
    row["label"] or "the config"
    for row in rows
    if row["ratio"] > limit and row["verdict"] == SLOWER
  ]
