"""Distances between a student and a teacher: formulas in numpy, and golden values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close
from golden_inputs import B_LOGITS as B
from golden_inputs import T_LOGITS as T

from jaxseg.losses import distillation

A1 = np.moveaxis(np.array([[[1, 2], [0, 1]], [[0, 1], [3, 0]]], np.float32), 0, -1)[None]
A2 = np.moveaxis(np.array([[[2, 0], [1, 1]], [[1, 1], [0, 2]]], np.float32), 0, -1)[None]


def softmax(x, axis):
  e = np.exp(x - x.max(axis, keepdims=True))
  return e / e.sum(axis, keepdims=True)


@pytest.mark.parametrize(("temperature", "value"), [(1.0, 0.963566), (2.0, 1.080163)])
def test_logits_with_temperature(temperature, value):
  taught = distillation.softened(T, temperature=temperature)
  distance = distillation.logits_distance(B, taught, temperature=temperature)
  np.testing.assert_allclose(distance, value, atol=1e-6)
  assert_close(distillation.logits_distance(T, taught, temperature=temperature), 0, atol=1e-6)


def test_logits_of_regions_are_compared_channel_by_channel():
  p, q = (1 / (1 + np.exp(-x / 2)) for x in (T, B))
  expected = 4 * np.mean(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))
  taught = distillation.softened(T, temperature=2.0, sigmoid=True)
  assert_close(distillation.logits_distance(B, taught, temperature=2.0, sigmoid=True), expected)


def test_a_certain_teacher_gives_finite_numbers_and_gradients():
  taught = distillation.softened(1e4 * T)
  for sigmoid in (False, True):
    value, gradient = jax.value_and_grad(
      lambda x, sigmoid=sigmoid: distillation.logits_distance(x, taught, sigmoid=sigmoid)
    )(jnp.asarray(1e4 * B))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_places_are_a_softmax_over_the_voxels_of_each_channel():
  flat = [x.reshape(4, 3) / 4 for x in (T, B)]
  p, q = (softmax(x, 0) for x in flat)
  expected = 16 * np.mean(np.sum(p * np.log(p / q), 0))
  taught = distillation.places(T, temperature=4.0)
  assert_close(taught.sum(1), np.ones((1, 3)))
  assert_close(distillation.places_distance(B, taught, temperature=4.0), expected)
  # where a class lies counts, not how high its logits are
  moved = T + np.array([5.0, -3.0, 0.0], np.float32).reshape(1, 1, 1, 3)
  assert_close(distillation.places_distance(moved, taught, temperature=4.0), 0, atol=1e-5)


def test_attention_transfer():
  taught = distillation.attention_map(A2)
  np.testing.assert_allclose(distillation.attention_distance(A1, taught), 0.339872, atol=1e-6)
  wide = np.concatenate([A1, A1], -1)  # of another number of channels
  np.testing.assert_allclose(distillation.attention_distance(wide, taught), 0.339872, atol=1e-6)


def test_features_that_are_all_zero_have_a_gradient():
  taught = distillation.attention_map(A2)
  zero = jax.grad(lambda x: distillation.attention_distance(x, taught))(jnp.zeros_like(A1))
  assert np.isfinite(zero).all()


def test_features_are_compared_through_a_linear_map():
  rng = np.random.default_rng(0)
  ours, theirs = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 4, 6))
  kernel = rng.normal(size=(5, 6))
  expected = np.mean((ours @ kernel - theirs) ** 2)
  run = jax.jit(distillation.features_distance)
  assert_close(run(ours, theirs, kernel), expected)
  assert_close(run(ours, theirs, np.stack([kernel, kernel])), expected)
  assert_close(run(ours, ours), 0, atol=1e-7)


@pytest.mark.parametrize("kind", ["logits", "places", "attention"])
def test_the_mean_of_teachers_has_the_gradient_of_the_mean_distance(kind):
  rng = np.random.default_rng(0)
  ours, *several = rng.normal(size=(4, 2, 3, 4, 5)).astype(np.float32)
  describe, distance = {
    "logits": (distillation.softened, distillation.logits_distance),
    "places": (distillation.places, distillation.places_distance),
    "attention": (distillation.attention_map, distillation.attention_distance),
  }[kind]
  said = [describe(x) for x in several]
  of_mean = jax.grad(lambda x: distance(x, sum(said) / 3))(ours)
  of_each = jax.grad(lambda x: sum(distance(x, t) for t in said) / 3)(ours)
  assert_close(of_mean, of_each)


def test_agreement_is_a_share_of_decisions():
  assert distillation.agreement(B, distillation.softened(B)) == 1
  expected = np.mean(B.argmax(-1) == T.argmax(-1))
  assert_close(distillation.agreement(B, distillation.softened(T)), expected)
  assert_close(
    distillation.agreement(B, distillation.softened(T, sigmoid=True), sigmoid=True),
    np.mean((B > 0) == (T > 0)),
  )


def test_what_valid_convolutions_give_is_compared_at_the_centre():
  x = np.arange(2 * 6 * 7).reshape(2, 6, 7, 1)
  np.testing.assert_array_equal(distillation.centred(x, (4, 3)), x[:, 1:5, 2:5])
