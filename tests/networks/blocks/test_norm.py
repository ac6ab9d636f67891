"""Norms against numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.networks.blocks import Norm

X = np.random.default_rng(0).normal(3, 2, (2, 3, 4, 5, 6)).astype(np.float32)


def normalised(x, axes):
  x = np.asarray(x, np.float64)
  return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)


def apply(norm, x, mutable=()):
  variables = norm.init(jax.random.key(0), x)
  return norm.apply(variables, x, mutable=mutable)[0], variables


def test_batch_norm_uses_batch_and_space():
  out, _ = apply(Norm("batch"), X, mutable=["batch_stats"])
  assert_close(out, normalised(X, (0, 1, 2, 3)), atol=1e-5)


def test_instance_norm_uses_space_only():
  assert_close(apply(Norm("instance"), X)[0], normalised(X, (1, 2, 3)), atol=1e-5)


def test_group_norm_unites_neighbouring_channels():
  expected = normalised(X.reshape(2, 3, 4, 5, 2, 3), (1, 2, 3, 5)).reshape(X.shape)
  assert_close(apply(Norm("group", groups=2), X)[0], expected, atol=1e-5)


def test_no_norm_is_the_identity_without_parameters():
  out, variables = apply(Norm("none"), X)
  np.testing.assert_array_equal(out, X)
  assert not variables


def test_scale_and_bias_act_per_channel():
  scale, bias = np.arange(6, dtype=np.float32), np.arange(6, 12, dtype=np.float32)
  out = Norm("instance").apply({"params": {"scale": scale, "bias": bias}}, X)
  np.testing.assert_allclose(out, normalised(X, (1, 2, 3)) * scale + bias, atol=1e-4)


def test_running_statistics_move_a_tenth_of_the_way_and_serve_inference():
  norm = Norm("batch")
  variables = norm.init(jax.random.key(0), X)
  _, updated = norm.apply(variables, X, mutable=["batch_stats"])
  mean, var = X.mean((0, 1, 2, 3)), X.var((0, 1, 2, 3))
  np.testing.assert_allclose(updated["batch_stats"]["mean"], 0.1 * mean, rtol=1e-4)
  np.testing.assert_allclose(updated["batch_stats"]["var"], 0.9 + 0.1 * var, rtol=1e-4)
  out = norm.apply({**variables, **updated}, X)
  expected = (X - 0.1 * mean) / np.sqrt(0.9 + 0.1 * var + 1e-5)
  np.testing.assert_allclose(out, expected, atol=1e-4)


def test_initialisation_leaves_the_running_statistics_alone():
  stats = Norm("batch").init(jax.random.key(0), X)["batch_stats"]
  assert not np.any(stats["mean"])
  assert np.all(stats["var"] == 1)


@pytest.mark.parametrize("kind", ["batch", "instance", "group"])
def test_gradients_are_those_of_finite_differences(kind):
  norm = Norm(kind, groups=2)
  x = X[:, :2, :2, :3]
  variables = norm.init(jax.random.key(0), x)
  direction = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
  weights = np.random.default_rng(2).normal(size=x.shape).astype(np.float32)
  axes = {"batch": (0, 1, 2, 3), "instance": (1, 2, 3)}

  def value(x):
    if kind == "group":
      out = normalised(x.reshape(*x.shape[:-1], 2, 3), (1, 2, 3, 5)).reshape(x.shape)
    else:
      out = normalised(x, axes[kind])
    return np.sum(weights * out)

  def loss(x):
    return jnp.sum(weights * norm.apply(variables, x, mutable=["batch_stats"])[0])

  step = 1e-4
  x64, d64 = x.astype(np.float64), direction.astype(np.float64)
  expected = (value(x64 + step * d64) - value(x64 - step * d64)) / (2 * step)
  np.testing.assert_allclose(np.sum(jax.grad(loss)(x) * direction), expected, rtol=1e-3)


@pytest.mark.parametrize("kind", ["batch", "instance", "group"])
def test_gradients_of_scale_and_bias_are_sums_over_everything_else(kind):
  norm, rng = Norm(kind, groups=2), np.random.default_rng(3)
  weights = rng.normal(size=X.shape).astype(np.float32)
  params = {name: rng.normal(size=6).astype(np.float32) for name in ("scale", "bias")}

  def loss(params):
    stats = {"batch_stats": {"mean": np.zeros(6), "var": np.ones(6)}} if kind == "batch" else {}
    return jnp.sum(weights * norm.apply({"params": params, **stats}, X, mutable=["batch_stats"])[0])

  gradient = jax.jit(jax.grad(loss))(params)
  if kind == "group":
    out = normalised(X.reshape(2, 3, 4, 5, 2, 3), (1, 2, 3, 5)).reshape(X.shape)
  else:
    out = normalised(X, {"batch": (0, 1, 2, 3), "instance": (1, 2, 3)}[kind])
  every = (0, 1, 2, 3)
  np.testing.assert_allclose(gradient["scale"], np.sum(weights * out, every), rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(gradient["bias"], np.sum(weights, every), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["batch", "instance", "group"])
def test_a_mean_far_from_zero_changes_neither_values_nor_gradients(kind):
  norm = Norm(kind, groups=2)
  weights = np.random.default_rng(4).normal(size=X.shape).astype(np.float32)
  variables = norm.init(jax.random.key(0), X)

  def loss(x):
    out = norm.apply(variables, x, mutable=["batch_stats"])[0]
    return jnp.sum(weights * out), out

  x = np.round(X * 256) / 256  # so that adding 1000 loses nothing
  gradient, out = jax.grad(loss, has_aux=True)(x)
  far_gradient, far_out = jax.grad(loss, has_aux=True)(x + np.float32(1000))
  # one rounding of the mean, 1000 * 2^-24, is 3e-5 of the standard deviation
  np.testing.assert_allclose(far_out, out, atol=5e-4)
  np.testing.assert_allclose(far_gradient, gradient, atol=5e-4)


def test_second_derivatives_are_those_of_the_plain_formula():
  norm, x = Norm("instance"), X[:, :2, :2, :3]
  variables = norm.init(jax.random.key(0), x)

  def plain(x):
    mean, variance = jnp.mean(x, (1, 2, 3), keepdims=True), jnp.var(x, (1, 2, 3), keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5)

  def curvature(function):
    slope = jax.grad(lambda x: jnp.sum(function(x) ** 3))
    return jax.grad(lambda x: jnp.sum(slope(x) ** 2))(x)

  expected = curvature(plain)
  assert np.max(np.abs(expected)) > 1e-2
  out = curvature(lambda x: norm.apply(variables, x))
  np.testing.assert_allclose(out, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["batch", "instance", "group"])
def test_statistics_are_float32_whatever_the_compute_dtype(kind):
  # 1000 + {0, 4, 8}: exact in bfloat16, but sums and squares of 1000 voxels aren't
  x = (1000 + 4 * np.random.default_rng(0).integers(0, 3, (1, 10, 10, 10, 2))).astype(jnp.bfloat16)
  norm = Norm(kind, groups=2)
  out, variables = apply(norm, x, mutable=["batch_stats"])
  assert out.dtype == jnp.bfloat16
  assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}
  expected = normalised(x.astype(np.float32), (1, 2, 3))
  np.testing.assert_allclose(out.astype(np.float32), expected, atol=0.02)


def test_unknown_norm_lists_the_choices():
  with pytest.raises(ValueError, match="'btach' is unknown; choices: batch, instance, group, none"):
    Norm("btach").init(jax.random.key(0), X)


def test_groups_that_do_not_divide_the_channels_are_refused():
  with pytest.raises(ValueError, match="4 groups does not divide 6 channels"):
    Norm("group", groups=4).init(jax.random.key(0), X)
