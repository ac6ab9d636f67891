"""Scores of untrained networks against values worked out by hand, and Kendall's tau."""

import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close
from flax import linen as nn
from scipy import stats

from jaxseg.networks.blocks import Norm
from jaxseg.search import zero_cost
from jaxseg.search.ranks import agreement


class Two(nn.Module):
  """Two products with a ReLU and a norm between."""

  norm: str = "none"

  @nn.compact
  def __call__(self, x):
    x = nn.relu(Norm(self.norm)(nn.Dense(2, name="first")(x)))
    return nn.Dense(1, name="second")(x)


FIRST = np.array([[1.0, -2.0], [3.0, 0.5]], np.float32)
SECOND = np.array([[2.0], [-1.0]], np.float32)


def weights(bias=0.0):
  return {
    "first": {"kernel": FIRST, "bias": np.full(2, bias, np.float32)},
    "second": {"kernel": SECOND, "bias": np.zeros(1, np.float32)},
  }


def apply(params, x, norm="none"):
  return Two(norm).apply({"params": params}, x)


def test_synflow_is_the_sum_of_all_paths_in_every_layer():
  # |W1| |w2| summed over the paths from two ones: (1 + 3) * 2 + (2 + .5) * 1 = 10.5; each of the
  # two layers conserves it
  value = zero_cost.synflow(apply, weights(), (1, 3, 3, 2))
  assert_close(value, np.log10(2 * 9 * 10.5), rtol=1e-6)


def test_synflow_leaves_norms_out_and_does_not_overflow():
  def normed(params, x):
    return Two("instance").apply({"params": params}, x)

  scale = {"Norm_0": {"scale": np.ones(2, np.float32), "bias": np.zeros(2, np.float32)}}
  plain = zero_cost.synflow(apply, weights(), (1, 3, 3, 2))
  assert_close(zero_cost.synflow(normed, weights() | scale, (1, 3, 3, 2)), plain, rtol=1e-6)

  def deep(params, x):
    for _ in range(15):
      x = x @ params["kernel"]
    return x

  large = {"kernel": np.full((8, 8), 1e2, np.float32)}
  # 15 layers of one kernel: 15 times 8 * 800^15, which single precision has not
  expected = np.log10(15 * 8.0) + 15 * np.log10(800)
  assert expected > 38
  assert_close(zero_cost.synflow(deep, large, (1, 8)), expected, rtol=1e-6)
  with pytest.raises(ValueError, match=r"synflow: is (inf|nan)"):
    zero_cost.synflow(deep, {"kernel": 1e9 * large["kernel"]}, (1, 8))


def test_naswot_is_the_determinant_of_the_shared_patterns():
  images = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.2]], np.float32)[:, None, None]
  codes = (images[:, 0, 0] @ FIRST > 0).astype(int)
  kernel = np.array([[(a == b).sum() for b in codes] for a in codes])
  sign, expected = np.linalg.slogdet(kernel)
  assert sign > 0
  assert_close(zero_cost.naswot(apply, weights(), images), expected, rtol=1e-6)


def test_naswot_of_twins_or_without_relus_is_refused():
  twins = np.ones((2, 1, 1, 2), np.float32)
  with pytest.raises(ValueError, match="same pattern"):
    zero_cost.naswot(apply, weights(), twins)
  with pytest.raises(ValueError, match="no ReLU"):
    zero_cost.naswot(lambda params, x: x @ params["first"]["kernel"], weights(), twins)
  with pytest.raises(ValueError, match="expected 2 or more"):
    zero_cost.naswot(apply, weights(), twins[:1])


def test_the_gradient_norm_sums_the_norms_of_the_layers_weights():
  x = np.array([[1.0, 2.0], [0.5, -1.0]], np.float32)

  def objective(params, batch):
    return (apply(params, batch) ** 2).mean()

  # by hand: d mean(y^2) / d y = y, for two samples
  inner = x @ FIRST
  hidden = np.maximum(inner, 0)
  y = hidden @ SECOND
  second = hidden.T @ y
  first = x.T @ ((y @ SECOND.T) * (inner > 0))
  expected = np.linalg.norm(first) + np.linalg.norm(second)
  assert_close(zero_cost.gradient_norm(objective, weights(), [x]), expected)
  assert_close(zero_cost.gradient_norm(objective, weights(), [x, jnp.zeros_like(x)]), expected / 2)


def test_agreement_is_kendalls_tau_of_what_both_know():
  scores = {"a": 1.0, "b": 2.0, "c": 3.0, "d": float("nan")}
  truth = {"a": 0.1, "b": 0.3, "c": 0.2, "d": 0.9, "e": 1.0}
  told = agreement(scores, truth)
  # of three pairs one is the other way round
  assert_close(told.tau, 1 / 3)
  assert told.count == 3
  assert_close(told.p, stats.kendalltau([1, 2, 3], [1, 3, 2])[1])
  assert np.isnan(agreement({"a": 1.0}, truth).tau)
