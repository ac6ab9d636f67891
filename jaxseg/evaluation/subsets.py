"""How good a run is with every subset of its channels, on the cases that it validates on."""

import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxseg.config.streams import MAIN_WORD
from jaxseg.data.sources.source import RawCase
from jaxseg.evaluation.reporting import with_infinite
from jaxseg.feeding import source_of
from jaxseg.inference.missing import subsets, warning
from jaxseg.inference.segmentation import segment
from jaxseg.metrics import METRICS
from jaxseg.runs import checkpoint
from jaxseg.runs import folder as run_folder
from jaxseg.runs.load import check_alike, load, task_of

# 255 predictions of every case
_MOST = 8


def evaluate_subsets(
  folders: Sequence[pathlib.Path],
  *,
  kind: str = checkpoint.LATEST,
  metrics: Sequence[str] = ("dice", "hd95"),
  read: Callable[[str], RawCase] | None = None,
  progress: Callable[[str, str], None] = lambda case, subset: None,
  keep: Callable[[str, str, RawCase, np.ndarray], None] = lambda *_: None,
) -> dict[str, Any]:
  """Segments each run's validation cases with every subset of the channels, and scores that.

  A channel that is left out is missing as one that a user's scan lacks (`predict --missing`). A
  case that lacks a channel itself counts for the subsets without it alone.

  Args:
    folders: runs on the same channels and labels that validate on cases of their own, as folds.
    kind: checkpoint.LATEST or checkpoint.BEST.
    metrics: names in `METRICS` that need no probabilities.
    read: case name -> the case; None reads those of each run's own config.
    progress: called with the case and the subset's name before each prediction.
    keep: called with these, the whole case as read and (*space) stored labels after it.

  Returns:
    "channels", "labels", "metrics"; "subsets": for each, the largest first, "channels" (names),
    "cases": case -> metric -> label -> value, "mean": metric -> label -> mean over cases where it
    is finite, "infinite": metric -> label -> cases where it is not, as a distance to a class that
    was missed, and "dice", the mean of those, where Dice is among the metrics; "warning": "" or
    what to be aware of.

  Raises ValueError for a single channel or too many, for runs that make images or validate the
  same case.
  """
  told = {str(folder): run_folder.describe(folder) for folder in folders}
  check_alike(told)
  first = next(iter(told.values()))
  if first.config["task"]["name"] != "segmentation":
    raise ValueError(f"{folders[0]}: makes images; expected a run that segments.")
  number = len(first.channels)
  if not 2 <= number <= _MOST:
    raise ValueError(
      f"{folders[0]}: its network takes {number} channel(s) ({', '.join(first.channels)}), which "
      f"have {2**number - 1} subset(s); expected 2 to {_MOST} channels."
    )
  cases: dict[tuple[int, ...], dict[str, dict]] = {subset: {} for subset in subsets(number)}
  for folder, one in zip(folders, told.values(), strict=True):
    names = run_folder.read_dataset(folder, {"validation": list})["validation"]
    model, aim = load([folder], kind=kind, domain=MAIN_WORD), task_of(one)
    if not names:
      raise ValueError(
        f"{folder}: no case of its main stream validates, whose subsets could be scored; expected "
        "a run with config.data.split."
      )
    chosen = {name: METRICS[name] for name in metrics}
    reader = source_of(one.config).read if read is None else read
    for name in names:
      if any(name in of for of in cases.values()):
        raise ValueError(
          f"{folder}: case '{name}' validates in another of the runs, too; give folds of one "
          "cross-validation, or a single run."
        )
      raw = reader(name)
      truth, weight = one.labels.encode(raw.label, f"case '{name}'")
      if raw.weight is not None:
        weight = raw.weight if weight is None else weight * raw.weight
      for subset in cases:
        if set(subset) & set(raw.missing):
          continue
        progress(name, subset_name := join(first.channels, subset))
        lacking = [i for i in range(number) if i not in subset]
        seen = raw.without(lacking) if lacking else raw
        stored = segment([model.configuration], seen, f"case '{name}'").labels
        keep(name, subset_name, raw, stored)
        predicted, _ = one.labels.encode(stored, f"the segmentation of case '{name}'")
        cases[subset][name] = aim.score(chosen, predicted, truth, weight, raw.geometry.spacing)
  what = "fewer channels"
  notes = {warning(one.config, what) for one in told.values()} - {""}
  return {
    "channels": list(first.channels),
    "labels": list(first.labels.scored),
    "metrics": list(metrics),
    "subsets": [_row(first.channels, subset, of, metrics) for subset, of in cases.items()],
    "warning": " ".join(sorted(notes)),
  }


def join(channels: Sequence[str], subset: Sequence[int]) -> str:
  """A subset's name: "flair + t1c"."""
  return " + ".join(channels[i] for i in subset)


def _row(channels, subset, cases: Mapping[str, dict], metrics: Sequence[str]) -> dict[str, Any]:
  labels = next(iter(cases.values()), {metric: {} for metric in metrics})
  values = {
    metric: {label: [case[metric][label] for case in cases.values()] for label in labels[metric]}
    for metric in metrics
  }

  def by_label(function):
    return {metric: {name: function(x) for name, x in of.items()} for metric, of in values.items()}

  means, infinite = by_label(_mean), by_label(lambda x: sum(map(math.isinf, x)))
  row = {"channels": [channels[i] for i in subset], "cases": dict(cases), "mean": means}
  row["infinite"] = infinite
  return row | ({"dice": _mean(list(means["dice"].values()))} if "dice" in means else {})


def _mean(values: Sequence[float]) -> float:
  """Of those that are finite; NaN of none."""
  known = [value for value in values if math.isfinite(value)]
  return float(np.mean(known)) if known else math.nan


def as_table(report: Mapping[str, Any]) -> str:
  """The report as text: a row for each subset, a column for each label of each metric."""
  labels, metrics = report["labels"], report["metrics"]
  header = ["channels", *(f"{m} {label}" for m in metrics for label in (*labels, "mean"))]
  rows = [header]
  for of in report["subsets"]:
    cells = []
    for metric in metrics:
      values = [of["mean"][metric].get(label, math.nan) for label in labels]
      counts = [of["infinite"][metric].get(label, 0) for label in labels]
      cells += [
        with_infinite(f"{value:.4f}", count)
        for value, count in zip((*values, _mean(values)), (*counts, sum(counts)), strict=True)
      ]
    rows.append([" + ".join(of["channels"]), *cells])
  widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
  first, *others = widths
  lines = []
  for name, *cells in rows:
    padded = (cell.rjust(width) for cell, width in zip(cells, others, strict=True))
    lines.append("  ".join([name.ljust(first), *padded]))
  number = max(len(of["cases"]) for of in report["subsets"])
  return "\n".join([*lines, f"({number} validation case(s))"])
