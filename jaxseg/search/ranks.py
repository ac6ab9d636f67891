"""How well a cheap score orders candidates: Kendall's tau against their full training."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from scipy import stats


class Agreement(NamedTuple):
  """Of two orders.

  Attributes:
    tau: Kendall's tau-b, from -1 to 1.
    p: two-sided, of the hypothesis that they have nothing to do with each other.
    count: candidates that both have a score of.
  """

  tau: float
  p: float
  count: int


def agreement(scores: Mapping[str, float], truth: Mapping[str, float]) -> Agreement:
  """Of the candidates that both know, by name; NaN of fewer than two, or where all are alike."""
  known = {name: value for name, value in scores.items() if math.isfinite(value)}
  names = [name for name in truth if math.isfinite(truth[name]) and name in known]
  if len(names) < 2:
    return Agreement(math.nan, math.nan, len(names))
  tau, p = stats.kendalltau([scores[name] for name in names], [truth[name] for name in names])
  return Agreement(float(tau), float(p), len(names))
