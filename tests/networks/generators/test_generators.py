"""The contract of generators: images of the input's size in [-1, 1], a gradient everywhere."""

import fnmatch

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from abstract import count, traced
from generator_rows import ROWS

from jaxseg import paths
from jaxseg.networks.generators import GENERATORS

IMAGES = [name for name, row in ROWS.items() if row.image]
SIZES = [(name, size) for name in IMAGES for size in ROWS[name].sizes]
COUNTS = [(name, of) for name, row in ROWS.items() for of in row.counts]


def test_every_generator_has_a_row():
  assert set(ROWS) == set(GENERATORS)


@pytest.mark.parametrize(("name", "of"), COUNTS)
def test_the_published_number_of_parameters(name, of):
  net = GENERATORS[name](channels=of.classes, **of.options)
  params, out = traced(net, 1, *(64, 64, 32)[: of.rank], of.channels, train=True)
  assert count(params) == of.parameters
  assert out["image"].shape[-1] == of.classes


@pytest.mark.parametrize(("name", "size"), SIZES)
def test_a_generator_makes_images_and_learns_in_all_its_parts(name, size):
  row = ROWS[name]
  net = GENERATORS[name](channels=3, **row.small)
  shape = (2, *size, row.channels)
  x = jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)
  variables = jax.jit(lambda x: net.init(jax.random.key(0), x, train=True))(x)
  params, rest = variables["params"], {k: of for k, of in variables.items() if k != "params"}
  weights = jnp.asarray(np.random.default_rng(1).standard_normal((2, *size, 3)), jnp.float32)

  @jax.jit
  @jax.value_and_grad
  def objective(params):
    options = dict(train=True, mutable=list(rest), rngs={"dropout": jax.random.key(1)})
    image = net.apply({"params": params, **rest}, x, **options)[0]["image"]
    return (weights * image).sum()

  value, gradient = objective(params)
  assert np.isfinite(value)
  for path, slope in paths.flatten(gradient).items():
    assert np.isfinite(slope).all(), path
    silent = any(fnmatch.fnmatch(path, pattern) for pattern in row.silent)
    assert silent or np.abs(slope).max() > 1e-6, path
  image = jax.jit(lambda: net.apply(variables, x)["image"])()
  assert (image.shape, image.dtype) == ((2, *size, 3), jnp.float32)
  assert np.abs(image).max() <= 1


@pytest.mark.parametrize("name", IMAGES)
def test_a_generator_in_half_precision_makes_images_in_full(name):
  row = ROWS[name]
  net = GENERATORS[name](**row.small, dtype="bfloat16")
  _, out = traced(net, 1, *row.sizes[0], row.channels, train=True)
  assert out["image"].dtype == jnp.float32
  assert any(x.dtype == jnp.bfloat16 for x in out.values())


@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_tells_what_windows_need(name):
  net = GENERATORS[name](**ROWS[name].small)
  for rank in {len(size) for size in ROWS[name].sizes}:
    assert len(net.total_stride(rank)) == len(net.margin(rank)) == rank
