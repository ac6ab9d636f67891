"""Regularisers, by hand and by numpy."""

import functools

import jax
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.batch import Target
from jaxseg.losses import entropy, size_constraint, total_variation


def hard(labels, classes):
  return np.where(np.eye(classes)[labels] > 0, 50, -50).astype(np.float32)


def test_total_variation_counts_the_border():
  # rows of 0, 0, 0, 1: along x one of three pairs differs, in both classes; along y none
  rows = np.tile(np.array([0, 0, 0, 1]), (1, 4, 1))
  checkers = np.indices((4, 4)).sum(0)[None] % 2
  loss = jax.jit(total_variation)
  assert float(loss(hard(rows, 2), Target(rows))) == pytest.approx(1 / 3, rel=1e-5)
  assert float(loss(hard(checkers, 2), Target(checkers))) == pytest.approx(2, rel=1e-5)


def test_total_variation_of_a_volume_with_a_thin_axis():
  random = np.random.default_rng(0)
  logits = random.normal(size=(2, 3, 1, 5, 2)).astype(np.float32)
  p = 1 / (1 + np.exp(-logits))
  expected = np.abs(np.diff(p, axis=1)).mean() + np.abs(np.diff(p, axis=3)).mean()
  loss = jax.jit(functools.partial(total_variation, sigmoid=True))
  found = loss(logits, Target(np.zeros((2, 3, 1, 5), int)))
  assert_close(found, expected)


def test_ignored_voxels_count_on_request():
  random = np.random.default_rng(0)
  logits = random.normal(size=(1, 4, 5, 3)).astype(np.float32)
  labels, weight = np.zeros((1, 4, 5), int), np.zeros((1, 4, 5), np.float32)
  weight[0, 0] = 1
  bounds = {"bounds": ((0.9, 1), None, None)}
  for loss, options in ((entropy, {}), (total_variation, {}), (size_constraint, bounds)):
    everywhere = jax.jit(functools.partial(loss, include_ignored=True, **options))
    found = everywhere(logits, Target(labels, weight))
    all_count = jax.jit(functools.partial(loss, **options))
    assert_close(found, all_count(logits, Target(labels, np.ones_like(weight))))


def test_entropy_of_even_odds_is_the_logarithm():
  logits, labels = np.zeros((1, 2, 2, 4), np.float32), np.zeros((1, 2, 2), int)
  for sigmoid, expected in ((False, np.log(4)), (True, np.log(2))):
    loss = jax.jit(functools.partial(entropy, sigmoid=sigmoid))
    assert float(loss(logits, Target(labels))) == pytest.approx(expected, rel=1e-5)


def test_a_size_between_its_bounds_costs_nothing():
  labels = np.array([[[0, 0, 0, 1], [0, 0, 1, 1]]])
  logits, target = hard(labels, 2), Target(labels)

  def loss(*pair, **options):
    constraint = functools.partial(size_constraint, bounds=(None, pair), **options)
    return float(jax.jit(constraint)(logits, target))

  assert loss(3 / 8, 3 / 8) == pytest.approx(0, abs=1e-12, rel=1e-5)
  assert loss(0.5, 1) == pytest.approx(1 / 64, rel=1e-5)
  assert loss(0, 0.25) == pytest.approx(1 / 64, rel=1e-5)
  assert loss(4, np.inf, unit="voxels") == pytest.approx(1 / 64, rel=1e-5)
  # of the four voxels that count, two are class 1
  weight = np.array([[[0, 0, 0, 0], [1, 1, 1, 1]]], np.float32)
  ignoring = size_constraint(logits, Target(labels, weight), bounds=(None, (3, 4)), unit="voxels")
  assert float(ignoring) == pytest.approx(1 / 16, rel=1e-5)


def test_bounds_are_checked():
  logits, target = np.zeros((1, 2, 2, 2), np.float32), Target(np.zeros((1, 2, 2), int))
  for bounds in (None, ((0, 1),), ((0.5, 0.2), None)):
    with pytest.raises(ValueError, match=r"size_constraint: bounds are .* each of the 2 channels"):
      size_constraint(logits, target, bounds=bounds)
  with pytest.raises(ValueError, match="expected 'share' or 'voxels'"):
    size_constraint(logits, target, bounds=(None, None), unit="mm")
