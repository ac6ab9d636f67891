import itertools

import numpy as np
import pytest
from scipy import stats

from jaxseg.metrics.statistics import (
  bootstrap_interval,
  bootstrap_means,
  finite_mean,
  holm,
  interval,
  paired_test,
  smallest_p,
)


def enumerated(difference):
  """Two-sided p value of the signed-rank test, from all 2^n signs of the observed ranks."""
  difference = np.array([d for d in difference if d != 0])
  ranks = stats.rankdata(np.abs(difference))
  sums = [np.dot(signs, ranks) for signs in itertools.product((0, 1), repeat=len(ranks))]
  observed = ranks[difference > 0].sum()
  tails = np.mean(np.array(sums) <= observed), np.mean(np.array(sums) >= observed)
  return min(1.0, 2 * min(tails))


def test_wilcoxon_of_a_worked_example():
  # differences 2 -1 3 5 4 6: the ranks of the positive ones sum to 20 of 21; of 64 sign patterns
  # 2 reach that (all positive, all but the smallest)
  first = np.array([10.0, 8, 12, 15, 11, 17])
  test = paired_test(first, first - [2, -1, 3, 5, 4, 6])
  assert (test.cases, test.different, test.infinite) == (6, 6, 0)
  assert test.p == pytest.approx(2 * 2 / 64)
  assert test.mean == pytest.approx(19 / 6)
  assert test.median == pytest.approx(3.5)
  assert test.low < 19 / 6 < test.high


def test_ties_zeros_and_infinite_values_are_ranked_as_they_are():
  for difference in ([1, 1, 2, 2, -3, 4, 5], [0, 0, 1, -1, 2, 2, 0, 3], [1, 1, 1, 1, 1]):
    difference = np.array(difference, float)
    test = paired_test(difference, 0 * difference)
    assert test.p == pytest.approx(enumerated(difference))
    assert test.different == np.count_nonzero(difference)
  # an infinite distance is the largest; infinite on both sides is equal
  first, second = np.array([np.inf, 1, 2, np.inf, 4]), np.array([3, np.inf, 1, np.inf, 2])
  test = paired_test(first, second)
  assert (test.cases, test.different, test.infinite) == (5, 4, 3)
  assert test.p == pytest.approx(enumerated([9, -9, 1, 2]))
  # means are of the two cases where both are finite
  assert (test.first, test.second, test.mean) == (3.0, 1.5, 1.5)
  assert test.median == 1
  # halfway between two infinite differences of unlike sign there is nothing
  assert np.isnan(paired_test([np.inf, 1.0], [1.0, np.inf]).median)


def test_many_cases_agree_with_scipy():
  random = np.random.default_rng(0)
  for n in (14, 40, 80):
    first, second = random.normal([[0.3], [0.0]], size=(2, n))
    expected = stats.wilcoxon(first, second).pvalue
    assert paired_test(first, second).p == pytest.approx(expected)


def test_equal_and_undefined_cases_carry_no_evidence():
  values = np.array([0.8, 0.9, np.nan, 0.7])
  test = paired_test(values, values)
  assert (test.cases, test.different, test.p, test.mean) == (3, 0, 1.0, 0.0)
  test = paired_test([np.nan, 1.0], [1.0, np.nan])
  assert test.cases == 0
  assert np.isnan(test.p)
  # the last bit of a float is no difference
  assert paired_test([0.1 + 0.2], [0.3]).different == 0
  with pytest.raises(ValueError, match="expected two of"):
    paired_test([1, 2], [1, 2, 3])


def test_too_few_cases_cannot_be_significant():
  assert smallest_p(5) == enumerated([1, 2, 3, 4, 5]) == 1 / 16
  assert smallest_p(0) == 1


def test_holm_corrects_as_in_a_worked_example():
  # sorted .01 .02 .03 .04: times 4, 3, 2, 1, never falling
  np.testing.assert_allclose(holm([0.03, 0.01, 0.04, 0.02]), [0.06, 0.04, 0.06, 0.06])
  np.testing.assert_allclose(holm([0.5, np.nan, 0.9]), [1.0, np.nan, 1.0])
  assert holm([]).shape == (0,)


def test_the_interval_is_that_of_the_normal_approximation_for_many_cases():
  values = np.random.default_rng(1).normal(5.0, 2.0, 400)
  low, high = bootstrap_interval(values)
  half = 1.959964 * values.std() / 20
  assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)
  assert bootstrap_interval(values) == (low, high)
  narrow = bootstrap_interval(values, confidence=0.5)
  assert narrow[1] - narrow[0] == pytest.approx(2 * 0.67449 * values.std() / 20, rel=0.05)


def test_the_interval_covers_the_mean_as_often_as_it_says():
  random = np.random.default_rng(2)
  covered = 0
  for seed in range(300):
    low, high = bootstrap_interval(random.normal(1.0, 1.0, 40), resamples=400, seed=seed)
    covered += low <= 1.0 <= high
  # 95 % but for few cases and for chance, 1.3 % each way
  assert 0.90 < covered / 300 < 0.98


def test_undefined_and_infinite_values_stay_out_of_means():
  values = np.array([[1.0, np.nan], [3.0, np.inf], [np.inf, np.nan]])
  np.testing.assert_array_equal(finite_mean(values, 0), [2.0, np.nan])
  means = bootstrap_means(values, resamples=200)
  assert means.shape == (200, 2)
  assert set(np.unique(means[:, 0][~np.isnan(means[:, 0])])) <= {1.0, 5 / 3, 2.0, 7 / 3, 3.0}
  assert np.isnan(means[:, 1]).all()
  low, high = interval(means)
  assert (low[0], high[0]) == (1.0, 3.0)
  assert np.isnan([low[1], high[1]]).all()
  assert np.isnan(bootstrap_interval([1.0, np.inf, np.nan])).all()
  with pytest.raises(ValueError, match="confidence is 95; expected between 0 and 1"):
    interval(means, confidence=95)
