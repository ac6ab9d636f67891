"""From the scores of cases to what they say together: means, intervals, comparisons."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxseg.evaluation.cases import CaseScores
from jaxseg.metrics.statistics import (
  Comparison,
  bootstrap_means,
  finite_mean,
  holm,
  interval,
  paired_test,
)

# what the mean over labels is called where it stands beside them
MEAN = "mean of labels"
_FEWEST = 2


def table(cases: Mapping[str, CaseScores], metric: str, labels: Sequence[str]) -> np.ndarray:
  """(cases, labels) values of a metric; NaN where a case does not know a label."""
  rows = [[scores[metric].get(label, math.nan) for label in labels] for scores in cases.values()]
  return np.array(rows, np.float64).reshape(len(cases), len(labels))


def case_means(values: np.ndarray) -> np.ndarray:
  """(cases,) mean over a case's labels, NaN ones left out; infinite where a label is."""
  known = ~np.isnan(values)
  total = np.where(known, values, 0.0).sum(1)
  return np.where(known.any(1), total / np.maximum(known.sum(1), 1), math.nan)


def summarise(
  cases: Mapping[str, CaseScores], metrics: Sequence[str], labels: Sequence[str]
) -> dict[str, Any]:
  """Metric -> label -> number, under "mean", "std", "median", "interval", "counts", "infinite".

  Over cases, of finite values; NaN where there is none. "std" divides by their number less one.
  "interval" is the 95 % bootstrap interval of the mean, over cases. Both need two finite values.
  "counts" are the defined values, infinite included. "foreground" and "foreground_interval" are
  metric -> mean over labels of these means.
  """
  report: dict[str, Any] = {
    name: {metric: {} for metric in metrics}
    for name in ("mean", "std", "median", "interval", "counts", "infinite")
  }
  report |= {"foreground": {}, "foreground_interval": {}}
  for metric in metrics:
    values = table(cases, metric, labels)
    means = bootstrap_means(values)
    low, high = interval(means)
    for i, label in enumerate(labels):
      column = values[:, i]
      known = column[np.isfinite(column)]
      enough = len(known) >= _FEWEST
      report["mean"][metric][label] = float(finite_mean(column))
      report["std"][metric][label] = float(known.std(ddof=1)) if enough else math.nan
      report["median"][metric][label] = float(np.median(known)) if len(known) else math.nan
      report["interval"][metric][label] = (
        [float(low[i]), float(high[i])] if enough else [math.nan] * 2
      )
      report["counts"][metric][label] = int((~np.isnan(column)).sum())
      report["infinite"][metric][label] = int(np.isinf(column).sum())
    report["foreground"][metric] = float(finite_mean(finite_mean(values, 0)))
    bounds = interval(finite_mean(means, 1)[:, None])
    enough = np.isfinite(values).any(1).sum() >= _FEWEST
    report["foreground_interval"][metric] = [
      float(bound[0]) if enough else math.nan for bound in bounds
    ]
  return report


def compare(
  first: Mapping[str, CaseScores],
  second: Mapping[str, CaseScores],
  metrics: Sequence[str],
  labels: Sequence[str],
) -> dict[str, dict[str, dict[str, float]]]:
  """Metric -> label -> a `Comparison` as a dict, with "p_holm", corrected over the labels.

  A row "mean of labels" compares each case's mean over its labels, uncorrected.

  Args:
    first, second: case -> metric -> label -> value, of the same cases.
  """
  compared = {}
  for metric in metrics:
    a, b = table(first, metric, labels), table(second, metric, labels)
    tests: list[Comparison] = [paired_test(a[:, i], b[:, i]) for i in range(len(labels))]
    corrected = holm([test.p for test in tests])
    compared[metric] = {
      label: {**test._asdict(), "p_holm": float(p)}
      for label, test, p in zip(labels, tests, corrected, strict=True)
    }
    # a label that only one of the two knows would compare different means
    shared = np.isnan(a) | np.isnan(b)
    a, b = (case_means(np.where(shared, math.nan, values)) for values in (a, b))
    test = paired_test(a, b)
    compared[metric][MEAN] = {**test._asdict(), "p_holm": test.p}
  return compared
