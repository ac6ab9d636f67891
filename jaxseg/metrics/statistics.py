"""What a set of cases tells: intervals for means, and paired tests between two methods.

A case's value may be NaN (undefined: left out) or infinite (a distance to something that is not
there). Means are of finite values only, and whoever shows them tells how many were infinite; ranks,
and so the paired test, take infinite values as what they are, larger than all others.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxseg.packages import OnDemand

# half a second, for a test between two methods
stats = OnDemand("scipy.stats")

RESAMPLES = 10_000
CONFIDENCE = 0.95
# with more differing cases than this the signed-rank sum is normal enough
_EXACT = 50
# of resampled cases at a time, so that a thousand cases need no gigabyte
_CHUNK = 1000


class Comparison(NamedTuple):
  """Two methods on the same cases, differences being first minus second.

  Attributes:
    cases: number of cases where both are defined.
    different: those among them where the two differ.
    infinite: those among them where one or both are infinite; they enter the test and the median
      only.
    first, second: means of the two, over the cases where both are finite.
    mean, median: of the differences; the mean is first minus second.
    low, high: bootstrap interval of the mean difference.
    p: two-sided p value of Wilcoxon's signed-rank test; 1 where no case differs.
  """

  cases: int
  different: int
  infinite: int
  first: float
  second: float
  mean: float
  median: float
  low: float
  high: float
  p: float


def finite_mean(values: np.ndarray, axis: int | None = None) -> np.ndarray:
  """Mean of the finite values, NaN where there are none."""
  finite = np.isfinite(values)
  count = finite.sum(axis)
  total = np.where(finite, values, 0.0).sum(axis)
  return np.where(count > 0, total / np.maximum(count, 1), math.nan)


def bootstrap_means(values: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
  """Means over resampled cases, (resamples, columns): rows are drawn whole, with replacement.

  Args:
    values: (cases, columns); what is not finite is left out of its column's mean.
    resamples: number of draws.
    seed: of the draws.
  """
  values = np.asarray(values, np.float64)
  finite = np.isfinite(values).astype(np.float64)
  known = np.where(finite > 0, values, 0.0)
  random = np.random.default_rng(seed)
  cases, parts = len(values), []
  for start in range(0, resamples, _CHUNK):
    draws = min(_CHUNK, resamples - start)
    drawn = random.integers(0, cases, (draws, cases)) + cases * np.arange(draws)[:, None]
    # how often each case is drawn
    times = np.bincount(drawn.ravel(), minlength=draws * cases).reshape(draws, cases) * 1.0
    count = times @ finite
    parts.append(np.where(count > 0, times @ known / np.maximum(count, 1), math.nan))
  return np.concatenate(parts)


def interval(means: np.ndarray, *, confidence: float = CONFIDENCE) -> tuple[np.ndarray, np.ndarray]:
  """Percentile interval of bootstrap means along axis 0: (low, high), NaN where none is known.

  Efron and Tibshirani 1993, chapter 13. Of few cases it is somewhat too narrow.
  """
  if not 0 < confidence < 1:
    raise ValueError(f"interval: confidence is {confidence}; expected between 0 and 1.")
  tails = [(1 - confidence) / 2, (1 + confidence) / 2]
  bounds = np.full((2, *means.shape[1:]), math.nan)
  known = ~np.isnan(means).all(0)
  bounds[:, known] = np.nanquantile(means[:, known], tails, axis=0)
  return bounds[0], bounds[1]


def bootstrap_interval(
  values: Sequence[float],
  *,
  confidence: float = CONFIDENCE,
  resamples: int = RESAMPLES,
  seed: int = 0,
) -> tuple[float, float]:
  """Percentile interval of the mean of (cases,) values; NaN where fewer than two are finite."""
  values = np.asarray(values, np.float64)
  values = values[np.isfinite(values)]
  if len(values) < 2:
    return math.nan, math.nan
  means = bootstrap_means(values[:, None], resamples=resamples, seed=seed)
  low, high = interval(means, confidence=confidence)
  return float(low[0]), float(high[0])


def paired_test(
  first: Sequence[float],
  second: Sequence[float],
  *,
  confidence: float = CONFIDENCE,
  resamples: int = RESAMPLES,
  seed: int = 0,
) -> Comparison:
  """Compares two methods on the same cases by Wilcoxon's signed-rank test (Wilcoxon 1945).

  Cases where one is NaN are left out; cases where both are equal (infinite included) carry no sign
  and leave the test, as Wilcoxon has it. The p value is exact for few cases, with ties too.

  Args:
    first, second: (cases,), in the same order.
    confidence, resamples, seed: of the bootstrap interval of the mean difference.
  """
  first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
  if first.shape != second.shape or first.ndim != 1:
    raise ValueError(
      f"paired_test: the values have shapes {first.shape} and {second.shape}; expected two of "
      "(cases,), in the same order of cases."
    )
  both = ~(np.isnan(first) | np.isnan(second))
  first, second = first[both], second[both]
  if not len(first):
    return Comparison(0, 0, 0, *[math.nan] * 7)
  difference = np.zeros(len(first))
  unequal = first != second
  difference[unequal] = first[unequal] - second[unequal]
  finite = np.isfinite(first) & np.isfinite(second)
  # rounding alone is no difference
  unequal &= ~np.isclose(first, second, rtol=1e-12, atol=1e-12)
  low, high = bootstrap_interval(
    difference[finite], confidence=confidence, resamples=resamples, seed=seed
  )
  # between two infinite ones of unlike sign the median is undefined, NaN
  with np.errstate(invalid="ignore"):
    median = float(np.median(difference))
  return Comparison(
    cases=len(difference),
    different=int(unequal.sum()),
    infinite=int((~finite).sum()),
    first=float(finite_mean(first[finite])),
    second=float(finite_mean(second[finite])),
    mean=float(finite_mean(difference[finite])),
    median=median,
    low=low,
    high=high,
    p=_signed_rank(difference[unequal]),
  )


def _signed_rank(difference: np.ndarray) -> float:
  if not len(difference):
    return 1.0
  # the ranks in place of the differences: the same test, and infinite ones are no exception
  ranks = stats.rankdata(np.abs(difference).round(12))
  if len(ranks) > _EXACT:
    return float(stats.wilcoxon(np.sign(difference) * ranks).pvalue)
  # ranks of ties are halves: doubled, all are whole, and the sums of all signs can be counted
  doubled = (2 * ranks).astype(np.int64)
  ways = np.zeros(doubled.sum() + 1)
  ways[0] = 1.0
  for rank in doubled:
    ways[rank:] += ways[:-rank].copy()
  positive = doubled[difference > 0].sum()
  tail = min(ways[: positive + 1].sum(), ways[positive:].sum())
  return float(min(1.0, 2 * tail / 2.0 ** len(ranks)))


def smallest_p(different: int) -> float:
  """The smallest two-sided p value that a signed-rank test of so many differing cases can give."""
  return min(1.0, 2.0 ** (1 - different))


def holm(p_values: Sequence[float]) -> np.ndarray:
  """P values corrected for their number (Holm 1979); NaN ones are no tests and stay NaN."""
  p_values = np.asarray(p_values, np.float64)
  corrected = np.full(p_values.shape, math.nan)
  tests = np.flatnonzero(~np.isnan(p_values))
  order = tests[np.argsort(p_values[tests], kind="stable")]
  factors = len(order) - np.arange(len(order))
  corrected[order] = np.minimum(1.0, np.maximum.accumulate(p_values[order] * factors))
  return corrected
