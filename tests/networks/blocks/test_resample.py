"""Pooling and up-sampling against numpy, jax.image and flax's transposed convolution."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close
from flax import linen as nn

from jaxseg.networks import blocks
from jaxseg.networks.blocks import UpConv

linear_up, max_pool, max_pool_with_positions, max_unpool = (
  jax.jit(function, static_argnames="stride")
  for function in (
    blocks.linear_up,
    blocks.max_pool,
    blocks.max_pool_with_positions,
    blocks.max_unpool,
  )
)

SHAPES = [((6, 8), 2), ((7, 9), 2), ((4, 6, 8), 2), ((5, 6, 7), (1, 2, 3)), ((9,), 4)]


def normal(*shape):
  return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def pooled_by_loops(x, stride):
  rank = x.ndim - 2
  stride = (stride,) * rank if isinstance(stride, int) else stride
  out = np.zeros(
    (x.shape[0], *(n // s for n, s in zip(x.shape[1:-1], stride, strict=True)), x.shape[-1])
  )
  for index in itertools.product(*(range(n) for n in out.shape[1:-1])):
    window = tuple(slice(i * s, i * s + s) for i, s in zip(index, stride, strict=True))
    out[(slice(None), *index)] = x[(slice(None), *window)].max(tuple(range(1, rank + 1)))
  return out


@pytest.mark.parametrize(("space", "stride"), SHAPES)
def test_max_pool_takes_each_windows_maximum_and_floors_odd_sizes(space, stride):
  x = normal(2, *space, 3)
  expected = pooled_by_loops(x, stride)
  np.testing.assert_array_equal(max_pool(x, stride=stride), expected)
  np.testing.assert_array_equal(max_pool_with_positions(x, stride=stride)[0], expected)


@pytest.mark.parametrize(("space", "stride"), SHAPES)
def test_the_gradient_of_max_pool_goes_to_the_maxima_alone(space, stride):
  x = normal(2, *space, 3)
  expected = pooled_by_loops(x, stride)
  gradient = jax.jit(jax.grad(lambda x: jnp.sum(jnp.square(max_pool(x, stride=stride)))))(x)
  assert_close(gradient, np.where(np.isin(x, expected), 2 * x, 0))


def test_among_equal_maxima_the_first_gets_the_gradient():
  gradient = jax.jit(jax.grad(lambda x: jnp.sum(max_pool(x, stride=2))))(jnp.ones((1, 4, 4, 4, 1)))
  expected = np.zeros((4, 4, 4))
  expected[::2, ::2, ::2] = 1
  np.testing.assert_array_equal(gradient[0, ..., 0], expected)


def test_max_pool_has_a_forward_derivative_too():
  x, t = normal(1, 4, 6, 2), np.random.default_rng(1).normal(size=(1, 4, 6, 2)).astype(np.float32)
  _, tangent = jax.jit(lambda x, t: jax.jvp(max_pool, (x,), (t,)))(x, t)
  gradient = jax.jit(jax.grad(lambda x: jnp.sum(max_pool(x))))(x)
  assert_close(jnp.sum(tangent), jnp.sum(gradient * t))


@pytest.mark.parametrize(("space", "stride"), [((6, 8), 2), ((4, 6, 8), (1, 2, 2))])
def test_unpooling_puts_maxima_back_where_they_were(space, stride):
  x = normal(2, *space, 3)
  pooled, positions = max_pool_with_positions(x, stride=stride)
  expected = np.where(np.isin(x, pooled_by_loops(x, stride).astype(np.float32)), x, 0)
  np.testing.assert_array_equal(max_unpool(pooled, positions, stride=stride), expected)


def test_unpooling_and_pooling_with_positions_have_gradients():
  x = normal(1, 4, 4, 2)

  def loss(x):
    pooled, positions = max_pool_with_positions(x)
    return jnp.sum(jnp.square(max_unpool(pooled, positions)))

  expected = np.where(np.isin(x, pooled_by_loops(x, 2).astype(np.float32)), 2 * x, 0)
  assert_close(jax.jit(jax.grad(loss))(x), expected)


def test_an_input_smaller_than_the_window_is_refused():
  with pytest.raises(ValueError, match=r"size \(1, 4\) is smaller than the pooling \(2, 2\)"):
    max_pool(jnp.ones((1, 1, 4, 1)))


@pytest.mark.parametrize(("space", "stride"), [*SHAPES, ((1, 4), 2), ((5, 3), (4, 3))])
def test_linear_up_equals_jax_image_resize(space, stride):
  x = normal(2, *space, 3)
  factors = (stride,) * len(space) if isinstance(stride, int) else stride
  size = tuple(n * s for n, s in zip(space, factors, strict=True))
  expected = jax.jit(lambda x: jax.image.resize(x, (2, *size, 3), "linear"))(x)
  assert_close(linear_up(x, stride=stride), expected, atol=1e-5)


def test_linear_up_gives_the_fact_sheets_numbers():
  x = jnp.array([0.0, 1, 4, 9]).reshape(1, 4, 1)
  expected = [0, 0.25, 0.75, 1.75, 3.25, 5.25, 7.75, 9]
  assert_close(np.ravel(linear_up(x)), expected)


def test_the_gradient_of_linear_up_is_its_transpose():
  x, y = normal(1, 3, 4, 2), np.random.default_rng(1).normal(size=(1, 6, 8, 2)).astype(np.float32)
  pulled = jax.jit(lambda x, y: jax.vjp(linear_up, x)[1](y)[0])(x, y)
  np.testing.assert_allclose(np.sum(pulled * x), np.sum(linear_up(x) * y), rtol=1e-4)


def test_linear_up_keeps_bfloat16():
  assert linear_up(jnp.ones((1, 4, 4, 1), jnp.bfloat16)).dtype == jnp.bfloat16


@pytest.mark.parametrize(("space", "stride"), [((3, 4), 2), ((2, 3, 4), 2), ((3, 4, 2), (1, 2, 3))])
def test_up_convolution_equals_flaxs_transposed_convolution(space, stride):
  x = normal(2, *space, 5)
  ours = UpConv(4, stride)
  variables = jax.jit(ours.init)(jax.random.key(0), x)
  factors = (stride,) * len(space) if isinstance(stride, int) else stride
  kernel = variables["params"]["kernel"]
  assert kernel.shape == (*factors, 5, 4)
  bias = jnp.arange(4.0)
  transposed = nn.ConvTranspose(4, factors, factors, padding="VALID", transpose_kernel=True)
  # transpose_kernel swaps in and out, and flips as the gradient of a convolution does
  expected = jax.jit(transposed.apply)(
    {"params": {"kernel": jnp.swapaxes(kernel, -1, -2), "bias": bias}}, x
  )
  out = jax.jit(ours.apply)({"params": {"kernel": kernel, "bias": bias}}, x)
  assert_close(out, expected, atol=1e-5)


def test_up_convolution_writes_kernel_voxels_in_order():
  x = jnp.array([2.0, 3.0]).reshape(1, 2, 1, 1)
  kernel = jnp.array([[1.0, 10], [100, 1000]]).reshape(2, 2, 1, 1)
  out = UpConv(1, use_bias=False).apply({"params": {"kernel": kernel}}, x)
  np.testing.assert_array_equal(out[0, ..., 0], [[2, 20], [200, 2000], [3, 30], [300, 3000]])


def test_up_convolution_starts_as_pytorch_does():
  kernel = UpConv(128).init(jax.random.key(0), jnp.ones((1, 2, 2, 64)))["params"]["kernel"]
  np.testing.assert_allclose(np.std(kernel), np.sqrt(2 / (4 * 128)), rtol=0.02)


def test_factors_for_two_axes_on_a_volume_are_refused():
  with pytest.raises(ValueError, match="2 entries but the input has 3 spatial axes"):
    linear_up(jnp.ones((1, 2, 2, 2, 1)), stride=(2, 2))
