"""Interpolation and pooling against the fact sheet's numbers and against numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.networks.blocks import adaptive_pool, nearest_up, pool, resize
from jaxseg.networks.blocks.resize import largest


def line(*values):
  return jnp.asarray(values, jnp.float32).reshape(1, -1, 1)


def test_upsampling_both_conventions():
  x = line(0, 1, 4, 9)
  assert_close(resize(x, (8,))[0, :, 0], [0, 0.25, 0.75, 1.75, 3.25, 5.25, 7.75, 9])
  assert_close(
    resize(x, (8,), align_corners=True)[0, :, 0],
    [0, 0.428571, 0.857143, 1.857143, 3.142857, 4.714286, 6.857143, 9],
  )


def test_downsampling_does_not_smooth():
  x = line(*(k * k for k in range(16)))
  assert_close(resize(x, (4,))[0, :, 0], [2.5, 30.5, 90.5, 182.5])


@pytest.mark.parametrize("rank", [2, 3])
def test_resize_is_separable_and_keeps_linear_functions(rank):
  grid = jnp.arange(5.0).reshape(5, *(1,) * (rank - 1))
  x = jnp.broadcast_to(grid, (5,) * rank)[None, ..., None]
  out = resize(x, (9,) * rank, align_corners=True)
  assert_close(out[0, :, *(0,) * rank], np.linspace(0, 4, 9))


def test_nearest_repeats_voxels_per_axis():
  x = jnp.arange(6.0).reshape(1, 2, 3, 1)
  out = nearest_up(x, stride=(1, 2))
  np.testing.assert_array_equal(out[0, :, :, 0], np.repeat(np.arange(6).reshape(2, 3), 2, 1))


@pytest.mark.parametrize("kind", ["max", "average"])
def test_overlapping_windows_equal_a_loop(kind):
  x = np.random.default_rng(0).normal(size=(1, 7, 8, 2)).astype(np.float32)
  fill = -np.inf if kind == "max" else 0.0
  padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=fill)
  reduce = np.max if kind == "max" else np.mean
  expected = [
    [reduce(padded[0, i : i + 3, j : j + 3], axis=(0, 1)) for j in range(0, 8, 2)]
    for i in range(0, 7, 2)
  ]
  out = pool(jnp.asarray(x), kind, kernel=3, stride=2, padding=1)
  assert_close(out[0], expected, atol=1e-6)


def test_largest_over_axes_and_its_gradient_for_equal_values():
  x = np.random.default_rng(0).integers(0, 5, size=(2, 3, 4, 5)).astype(np.float32)
  np.testing.assert_array_equal(largest(x, -1), x.max(-1))
  np.testing.assert_array_equal(largest(x, (1, 2), keepdims=True), x.max((1, 2), keepdims=True))
  np.testing.assert_array_equal(largest(x, range(1, 3)), x.max((1, 2)))
  assert largest(jnp.float32([-jnp.inf, -jnp.inf]), 0) == -jnp.inf
  gradient = jax.grad(lambda x: largest(x, 0))(jnp.float32([1, 3, 3]))
  np.testing.assert_array_equal(gradient, [0, 1, 0])


def test_adaptive_bins_overlap_where_the_size_does_not_divide():
  x = line(*range(7))
  assert_close(adaptive_pool(x, 3)[0, :, 0], [1, 3, 5])
  assert_close(adaptive_pool(x, 2, kind="max")[0, :, 0], [3, 6])
  with pytest.raises(ValueError, match="at least 8 voxels"):
    adaptive_pool(x, 8)


@pytest.mark.parametrize("values", ["apart", "equal"])
def test_the_gradient_of_overlapping_maxima_is_that_of_one_device_where_an_axis_is_split(values):
  random = np.random.default_rng(0)
  shape = (2, 9, 8, 3)
  x = random.normal(size=shape) if values == "apart" else random.integers(0, 3, shape)
  x, weight = x.astype(np.float32), random.normal(size=shape).astype(np.float32)

  def by_windows(x):
    pads = [(0, 0), (1, 1), (1, 1), (0, 0)]
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1,) * 4, pads)

  def ours(x):
    return pool(x, "max", kernel=3, stride=1, padding=1)

  def gradient(function):
    return jax.jit(jax.grad(lambda x: (function(x) * weight).sum()))

  np.testing.assert_array_equal(ours(x), by_windows(x))
  mesh = jax.make_mesh((2,), ("space",), axis_types=(jax.sharding.AxisType.Auto,))
  split = jax.device_put(x, jax.NamedSharding(mesh, jax.P(None, None, "space")))
  for where in (x, split):
    assert_close(gradient(ours)(where), gradient(by_windows)(x), atol=1e-5)
