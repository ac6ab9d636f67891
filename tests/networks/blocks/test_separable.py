"""Depthwise separable convolution: the survey's counts, and equality with its two steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.networks import UNet
from jaxseg.networks.blocks import Conv, convolve
from jaxseg.networks.blocks.separable import SeparableConv


def parameters(block, *shape):
  x = jax.ShapeDtypeStruct(shape, jnp.float32)
  variables = jax.eval_shape(block.init, jax.random.key(0), x)
  return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def test_published_counts():
  image, volume = (1, 8, 8, 64), (1, 4, 4, 4, 32)
  separable = parameters(SeparableConv(128, use_bias=False), *image)
  full = parameters(Conv(128, use_bias=False), *image)
  assert (separable, full) == (8_768, 73_728)
  assert separable / full == pytest.approx(1 / 128 + 1 / 9)
  assert separable / full == pytest.approx(0.118924, abs=1e-6)
  assert parameters(SeparableConv(64, use_bias=False), *volume) == 27 * 32 + 32 * 64 == 2_912
  assert parameters(SeparableConv(128, use_bias=False, multiplier=2), *image) == 2 * 8_768
  # the only biases: the pointwise convolution's, and the norm's between
  assert parameters(SeparableConv(128), *image) == 8_768 + 128
  assert parameters(SeparableConv(128, norm="batch"), *image) == 8_768 + 128 + 2 * 64
  assert parameters(SeparableConv(128, activation="relu"), *image) == 8_768 + 128 + 64


def test_equals_a_full_convolution_with_the_product_of_the_kernels():
  rng = np.random.default_rng(0)
  x = rng.normal(size=(2, 7, 6, 3)).astype(np.float32)
  block = SeparableConv(5, 3, 2, 2, use_bias=False, multiplier=2)
  depthwise = rng.normal(size=(3, 3, 1, 6)).astype(np.float32)
  pointwise = rng.normal(size=(1, 1, 6, 5)).astype(np.float32)
  params = {"depthwise": {"kernel": depthwise}, "pointwise": {"kernel": pointwise}}
  got = jax.jit(block.apply)({"params": params}, x)
  # depthwise output 2 c + j belongs to input channel c
  product = depthwise.reshape(3, 3, 3, 2, 1) * pointwise.reshape(1, 1, 3, 2, 5)
  options = {"stride": (2, 2), "padding": ((2, 2), (2, 2)), "dilation": (2, 2)}
  want = convolve(x, product.sum(3), **options)
  np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_valid_padding_and_strides_give_the_size_of_the_full_convolution():
  x = jax.ShapeDtypeStruct((1, 9, 8, 7, 2), jnp.float32)
  for options in (dict(padding="valid"), dict(stride=(1, 2, 2)), dict(kernel=(1, 3, 3))):
    outputs = [
      jax.eval_shape(make(4, **options).init_with_output, jax.random.key(0), x)[0]
      for make in (Conv, SeparableConv)
    ]
    assert outputs[0].shape == outputs[1].shape


def test_any_network_takes_it_by_name():
  net = UNet(widths=(4, 8), conv=dict(name="separable", norm="batch", activation="relu"))
  variables = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 8, 8, 8, 1)))
  layer = variables["params"]["encoder2"]["layer1"]["conv"]
  assert layer["depthwise"]["kernel"].shape == (3, 3, 3, 1, 4)
  assert layer["pointwise"]["kernel"].shape == (1, 1, 1, 4, 8)
