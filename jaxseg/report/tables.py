"""The numbers of a report: over cases, and over folds; as text, JSON and CSV."""

import csv
import io
import math
from typing import Any

import numpy as np

from jaxseg.evaluation.reporting import as_json, harmless
from jaxseg.evaluation.summary import MEAN, summarise
from jaxseg.metrics.statistics import finite_mean
from jaxseg.report.gather import CrossValidation


def numbers(validation: CrossValidation) -> dict[str, Any]:
  """All numbers of a report.

  Returns:
    "labels"; "folds": fold -> metric -> label -> mean over its cases; "over_folds": metric -> label
    -> {"mean", "std"} of these; "cases": case -> {"fold", metric: label -> value}; "mean", "std",
    "median", "interval", "counts", "infinite", "foreground", "foreground_interval" over the cases
    of all folds, as `evaluation.summarise` has them; "missing". "mean of labels" is a label of
    "folds" and "over_folds".
  """
  labels, metrics = list(validation.labels), list(validation.metrics)
  folds = {}
  for fold in validation.folds:
    summary = summarise(fold.cases, metrics, labels)
    folds[fold.name] = {
      metric: {**summary["mean"][metric], MEAN: summary["foreground"][metric]} for metric in metrics
    }
  over = {
    metric: {
      label: _spread([of[metric][label] for of in folds.values()]) for label in (*labels, MEAN)
    }
    for metric in metrics
  }
  cases = {
    name: {"fold": fold.name, **case}
    for fold in validation.folds
    for name, case in fold.cases.items()
  }
  pooled = summarise(validation.cases, metrics, labels)
  return {
    "name": validation.name,
    "labels": labels,
    "metrics": metrics,
    "missing": list(validation.missing),
    **pooled,
    "folds": folds,
    "over_folds": over,
    "cases": cases,
  }


def _spread(values: list[float]) -> dict[str, float]:
  known = np.array(values, np.float64)
  known = known[np.isfinite(known)]
  std = float(known.std(ddof=1)) if len(known) > 1 else math.nan
  return {"mean": float(finite_mean(known)), "std": std}


def case_mean(case: dict[str, Any], metric: str) -> float:
  """A case's mean over its labels, of finite values."""
  return float(finite_mean(np.array(list(case[metric].values()), np.float64)))


def rows(summary: dict[str, Any]) -> list[dict[str, Any]]:
  """One row for each metric and label: what the tables show."""
  out = []
  for metric in summary["metrics"]:
    for label in (*summary["labels"], MEAN):
      whole = label == MEAN
      low, high = summary["foreground_interval" if whole else "interval"][metric][
        slice(None) if whole else label
      ]
      out.append(
        {
          "metric": metric,
          "label": label,
          "cases": len(summary["cases"]) if whole else summary["counts"][metric][label],
          "infinite": sum(summary["infinite"][metric].values())
          if whole
          else summary["infinite"][metric][label],
          "mean": summary["foreground"][metric] if whole else summary["mean"][metric][label],
          "low": low,
          "high": high,
          "std": math.nan if whole else summary["std"][metric][label],
          "median": math.nan if whole else summary["median"][metric][label],
          "folds_mean": summary["over_folds"][metric][label]["mean"],
          "folds_std": summary["over_folds"][metric][label]["std"],
          **{name: of[metric][label] for name, of in summary["folds"].items()},
        }
      )
  return out


def number(value: float) -> str:
  """For eyes: four digits, "-" where undefined."""
  return "-" if math.isnan(value) else f"{value:.4f}"


def as_text(summary: dict[str, Any]) -> str:
  """The table for a terminal."""
  several = len(summary["folds"]) > 1
  head = ["metric", "label", "cases", "mean", "95 % interval", "std", "median"]
  lines = [head + (["folds: mean +- std"] if several else [])]
  for row in rows(summary):
    infinite = f" ({row['infinite']} inf)" if row["infinite"] else ""
    interval = "-" if math.isnan(row["low"]) else f"{row['low']:.4f} to {row['high']:.4f}"
    line = [row["metric"], row["label"], f"{row['cases']}{infinite}", number(row["mean"]), interval]
    line += [number(row["std"]), number(row["median"])]
    if several:
      line.append(f"{number(row['folds_mean'])} +- {number(row['folds_std'])}")
    lines.append(line)
  widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
  text = [
    "  ".join(
      cell.ljust(width) if i < 2 else cell.rjust(width)
      for i, (cell, width) in enumerate(zip(line, widths, strict=True))
    ).rstrip()
    for line in lines
  ]
  text.insert(1, "-" * (sum(widths) + 2 * (len(widths) - 1)))
  return "\n".join([*text, "", *notes(summary)])


def notes(summary: dict[str, Any]) -> list[str]:
  """What the numbers mean, and what is missing."""
  parts = [
    f"{len(summary['cases'])} case(s), each scored on its own grid by the fold that did not train "
    "on it. Intervals are bootstrapped over cases."
  ]
  if "hd95" in summary["metrics"]:
    parts.append("hd95 is in millimetres (in pixels, of pictures that have no spacing).")
  if any(any(of.values()) for of in summary["infinite"].values()):
    parts.append(
      "Distances are infinite where a class is absent from one of prediction and reference; these "
      "are counted (inf) and in no mean."
    )
  if summary["missing"]:
    parts.append(f"Not finished, left out: {', '.join(summary['missing'])}.")
  return parts


def to_json(summary: dict[str, Any]) -> str:
  return as_json(summary)


def to_csv(summary: dict[str, Any]) -> str:
  """One row for each metric and label; empty where undefined."""
  return _csv(rows(summary))


def cases_csv(summary: dict[str, Any]) -> str:
  """One row for each case and label, one column for each metric."""
  table = []
  for name, case in summary["cases"].items():
    for label in summary["labels"]:
      scores = {metric: case[metric][label] for metric in summary["metrics"]}
      table.append({"fold": case["fold"], "case": name, "label": label, **scores})
  return _csv(table)


def _csv(table: list[dict[str, Any]]) -> str:
  text = io.StringIO()
  writer = csv.DictWriter(text, list(table[0]), lineterminator="\n")
  writer.writeheader()
  for row in table:
    writer.writerow({k: harmless(_plain(value)) for k, value in row.items()})
  return text.getvalue()


def _plain(value) -> str:
  if not isinstance(value, float):
    return str(value)
  return "" if math.isnan(value) else repr(value)
