"""SPADE's generator: its published counts, its norm by numpy, and where noise comes in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from abstract import shapes
from closeness import assert_close

from jaxseg.networks.generators import SPADEGenerator
from jaxseg.networks.generators.spade_generator import SpatiallyAdaptiveNorm

SMALL = {"widths": (4, 6, 8), "hidden": 4, "norm": "instance", "spectral": False}


@pytest.mark.parametrize(
  # counted with PyTorch 2.13: SPADEGenerator of the release without its encoder of styles
  ("labels", "published"),
  [(2, 92_029_635), (36, 93_048_003), (184, 97_480_899)],
)
def test_counts_are_those_of_the_pytorch_release(labels, published):
  params = shapes(SPADEGenerator(channels=3), 1, 64, 64, labels)[1]["params"]
  assert sum(x.size for x in jax.tree.leaves(params)) == published


def convolved(x, layer):
  """A 3x3 convolution with zeros around, written out: (h, w, in) -> (h, w, out)."""
  kernel, bias = (np.asarray(layer[name], np.float64) for name in ("kernel", "bias"))
  padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
  h, w = x.shape[:2]
  parts = (padded[i : i + h, j : j + w] @ kernel[i, j] for i in range(3) for j in range(3))
  return sum(parts) + bias


def test_the_norm_is_one_plus_scale_and_shift_of_the_label_map():
  random = np.random.default_rng(0)
  x, labels = random.standard_normal((5, 6, 3)), random.integers(0, 2, (5, 6, 2)).astype(float)
  net = SpatiallyAdaptiveNorm(hidden=4, norm="instance")
  inputs = jnp.asarray(x[None], jnp.float32), jnp.asarray(labels[None], jnp.float32)
  out, variables = net.init_with_output(jax.random.key(0), *inputs)
  params = variables["params"]
  seen = np.maximum(convolved(labels, params["shared"]), 0)
  scale, shift = (convolved(seen, params[name]) for name in ("scale", "shift"))
  normed = (x - x.mean((0, 1))) / np.sqrt(x.var((0, 1)) + 1e-5)
  assert_close(out[0], normed * (1 + scale) + shift, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("space", [(16, 12), (9, 11), (8, 8, 4)])
def test_any_size_comes_back_between_minus_one_and_one(space):
  x = jax.nn.one_hot(jax.random.randint(jax.random.key(0), (2, *space), 0, 3), 3)
  run = jax.jit(SPADEGenerator(channels=2, **SMALL).init_with_output)
  image = run(jax.random.key(1), x)[0]["image"]
  assert image.shape == (2, *space, 2)
  assert float(jnp.abs(image).max()) <= 1


def test_noise_changes_the_image_where_a_key_is_given_alone():
  x = jax.nn.one_hot(jax.random.randint(jax.random.key(0), (1, 8, 8), 0, 3), 3)
  for noise, random in ((0, False), (2, True)):
    net = SPADEGenerator(channels=1, noise=noise, **SMALL)
    variables = jax.jit(net.init)(jax.random.key(1), x)
    run = jax.jit(net.apply)
    images = [run(variables, x, rngs={"dropout": jax.random.key(k)}) for k in (2, 3)]
    assert np.array_equal(*(of["image"] for of in images)) is not random


def test_channels_of_noise_below_none_are_refused():
  with pytest.raises(ValueError, match="0 channels of noise or more"):
    SPADEGenerator(noise=-1)
