import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.augment import bias_field, ghosting, gibbs

RNG = np.random.default_rng(13)
KEY = jax.random.key(4)


@pytest.mark.parametrize("size", [(16, 18), (8, 10, 12)])
def test_gibbs_cuts_the_spectrum_off(size):
  image = RNG.normal(size=(*size, 2)).astype(np.float32)
  out = jax.jit(functools.partial(gibbs, p=1.0, keep=(0.5, 0.5)))(KEY, {"image": image})["image"]
  axes = tuple(range(len(size)))
  spectrum = np.fft.fftn(image, axes=axes)
  grids = np.meshgrid(*[np.abs(np.fft.fftfreq(n)) for n in size], indexing="ij")
  kept = np.all([g <= 0.25 for g in grids], 0)
  oracle = np.fft.ifftn(spectrum * kept[..., None], axes=axes).real
  assert_close(out, oracle, atol=1e-5)


def test_gibbs_overshoots_at_an_edge():
  step = np.zeros((64, 4, 1), np.float32)
  step[16:48] = 1
  out = gibbs(KEY, {"image": step}, p=1.0, keep=(0.4, 0.4), axes=(0,))["image"]
  # the classical overshoot of 9 % of the jump
  np.testing.assert_allclose(float(out.max()) - 1, 0.09, atol=0.03)


@pytest.mark.parametrize("axis", [0, 1])
def test_ghosts_are_copies_a_fraction_of_the_axis_apart(axis):
  image = np.zeros((24, 24, 1), np.float32)
  image[10:13, 11:13] = 1.0
  out = ghosting(
    KEY, {"image": image}, p=1.0, ghosts=(3, 3), intensity=(0.6, 0.6), centre=-1.0, axes=(axis,)
  )["image"]
  # every third line weakened by 0.6: the mean of three copies a third of the axis apart is lost
  copies = sum(np.roll(image, 8 * n, axis) for n in range(3)) / 3
  assert_close(out, image - 0.6 * copies, atol=1e-5)


def test_ghosting_keeps_the_mean():
  image = RNG.normal(2.0, 1.0, (16, 15, 14, 1)).astype(np.float32)
  act = jax.jit(functools.partial(ghosting, p=1.0))
  for seed in range(4):
    out = act(jax.random.key(seed), {"image": image})["image"]
    assert_close(out.mean(), image.mean())
    assert np.abs(np.asarray(out) - image).max() > 0.01


def test_the_bias_field_is_the_exponential_of_a_polynomial():
  size = (12, 10)
  image = np.ones((*size, 1), np.float32)
  image[0, 0] = 0.0  # the minimum, above which the field acts
  act = jax.jit(functools.partial(bias_field, p=1.0, order=2, coefficient=0.5))
  logs = np.log(np.asarray(act(KEY, {"image": image})["image"])[..., 0].ravel()[1:])
  y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in size], indexing="ij")
  terms = np.stack([y, x, y * x, y**2, x**2], -1).reshape(-1, 5)[1:]
  found, residual, _, _ = np.linalg.lstsq(terms, logs, rcond=None)
  assert residual.sum() < 1e-8
  assert np.abs(found).max() <= 0.5 + 1e-4
  assert np.abs(found).max() > 0.05


def test_all_channels_see_the_same_field():
  image = np.ones((8, 8, 8, 2), np.float32)
  image[0, 0, 0] = 0
  out = bias_field(KEY, {"image": image}, p=1.0)["image"]
  assert_close(out[..., 0], out[..., 1])


@pytest.mark.parametrize(("act", "p"), [(bias_field, 0.2), (gibbs, 0.1), (ghosting, 0.1)])
def test_artefacts_are_drawn_with_their_probability(act, p):
  image = jnp.asarray(RNG.normal(size=(6, 6, 1)), jnp.float32)
  keys = jax.random.split(KEY, 1000)
  out = jax.jit(jax.vmap(lambda k: (act(k, {"image": image})["image"] != image).any()))(keys)
  np.testing.assert_allclose(np.mean(out), p, atol=4 * np.sqrt(p * (1 - p) / 1000))
  half = image.astype(jnp.float16)
  assert act(KEY, {"image": half}, p=1.0)["image"].dtype == jnp.float16
