"""--against OTHER.json: is it faster or slower than before, as far as the stored times tell."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxseg.benchmark import machine

DRAWS, LEVEL = 2000, 0.95
# by how much processes of one program differ, as a share: two pairs of runs on an idle machine
# of two cores were 1.5 and 4.5 % apart, more than the steps of each tell; on accelerators it was
# not measured
PROCESS = 0.02
FASTER, SLOWER, SAME = "faster", "slower", "no difference"


def ratio(ours: Sequence[float], theirs: Sequence[float], *, seed: int = 0) -> dict[str, float]:
  """Our median time over theirs, with a percentile interval of a bootstrap (Efron 1979).

  Neighbouring steps are alike, because other work on a machine lasts for some: blocks are drawn,
  of the square root of the number of times each, not single times (Kunsch 1989). What differs from
  process to process shows in the steps of neither; PROCESS stands for it.
  """
  random = np.random.default_rng(seed)
  drawn = _medians(random, np.asarray(ours)) / _medians(random, np.asarray(theirs))
  drawn *= np.exp(PROCESS * 2**0.5 * random.standard_normal(DRAWS))
  low, high = np.quantile(drawn, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
  return {
    "ratio": float(np.median(ours) / np.median(theirs)),
    "low": float(low),
    "high": float(high),
  }


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
  others = {_key(row): row for row in theirs["rows"] if _times(row)}
  rows = []
  for row in ours["rows"]:
    label = row["label"] or "the config"
    if not _times(row):
      notes.append(f"{label}: has no step times, {row['failed'] or 'training was not measured'}.")
      continue
    other = others.pop(_key(row), None)
    if other is None:
      notes.append(f"{label}: matches no row of the other results.")
      continue
    compared = ratio(_times(row), _times(other))
    rows.append({"label": row["label"], **compared, "verdict": verdict(compared)})
    notes += [f"{label}: {text}." for text in _unlike(row, other)]
  if others:
    labels = ", ".join(row["label"] or "the config" for row in others.values())
    notes.append(f"Only in the other results: {labels}.")
  return rows, notes


def _times(row: Mapping[str, Any]) -> list[float]:
  return row.get("training", {}).get("each_step_seconds", [])


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
