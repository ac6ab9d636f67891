"""The discrepancy of two sets of features, against its sums written out."""

import jax
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.losses.domains import BANDWIDTHS, maximum_mean_discrepancy


def written_out(a, b, bandwidths):
  points = [*a, *b]
  n, number = len(a), len(points)
  pairs = [((x - y) ** 2).sum() for x in points for y in points]
  scale = sum(pairs) / (number * (number - 1))

  def kernel(x, y):
    d = ((x - y) ** 2).sum()
    return np.mean([np.exp(-d / (factor * scale)) for factor in bandwidths])

  def mean(one, other):
    return np.mean([kernel(x, y) for x in one for y in other])

  assert n == len(a)
  return mean(a, a) + mean(b, b) - 2 * mean(a, b)


@pytest.mark.parametrize("bandwidths", [BANDWIDTHS, (1.0,)])
def test_it_is_the_mean_over_all_pairs_and_bandwidths(bandwidths):
  random = np.random.default_rng(0)
  a, b = random.normal(size=(4, 3)), random.normal(1.0, 2.0, size=(6, 3))
  found = maximum_mean_discrepancy(a, b, bandwidths=bandwidths)
  assert_close(found, written_out(a, b, bandwidths), atol=1e-6)
  assert_close(maximum_mean_discrepancy(b, a, bandwidths=bandwidths), found, atol=1e-6)


def test_two_points_apart_have_a_value_of_paper_and_pencil():
  # s is the only distance, so that each kernel of the pair is exp(-1 / factor)
  a, b = np.zeros((1, 2)), np.full((1, 2), 3.0)
  assert_close(maximum_mean_discrepancy(a, b, bandwidths=(1.0,)), 2 - 2 * np.exp(-1.0), rtol=1e-6)


def test_sets_that_are_alike_are_not_apart_and_units_do_not_count():
  a = np.random.default_rng(0).normal(size=(5, 3))
  assert_close(maximum_mean_discrepancy(a, a), 0.0, atol=1e-6)
  assert_close(maximum_mean_discrepancy(a, a + 1), maximum_mean_discrepancy(9 * a, 9 * a + 9))
  assert_close(maximum_mean_discrepancy(np.ones((2, 3)), np.ones((2, 3))), 0.0, atol=1e-6)


def test_its_gradient_moves_the_sets_together():
  random = np.random.default_rng(0)
  a, b = random.normal(size=(8, 2)), random.normal(3.0, size=(8, 2))
  slope = jax.grad(maximum_mean_discrepancy)(a.astype(np.float32), b.astype(np.float32))
  assert np.all(np.isfinite(slope))
  assert np.mean(np.asarray(slope)) < 0
  same = np.ones((3, 2), np.float32)
  assert np.all(np.isfinite(jax.grad(maximum_mean_discrepancy)(same, same)))


def test_what_all_features_have_in_common_takes_no_digits():
  random = np.random.default_rng(0)
  a, b = random.normal(size=(4, 3)), random.normal(1.0, 2.0, size=(6, 3))
  far = maximum_mean_discrepancy(a + 3000.0, b + 3000.0)
  assert_close(far, written_out(a, b, BANDWIDTHS), atol=1e-3)
