import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.augment import brightness, contrast, gamma, gamma_inverted, intensity_window, noise

RNG = np.random.default_rng(2)
KEY = jax.random.key(3)
AXES = (0, 1, 2)


def sample_of(dtype=np.float32):
  image = RNG.normal(0.3, 1.2, (7, 8, 9, 2)).astype(dtype)
  return {"image": image, "label": RNG.integers(0, 3, (7, 8, 9)).astype(np.int32)}


ALL = {"brightness": brightness, "contrast": contrast, "gamma": gamma, "noise": noise}


@pytest.mark.parametrize("name", ALL)
def test_only_images_change_and_their_dtype_stays(name):
  for dtype in (np.float32, np.float16):
    sample = sample_of(dtype)
    act = jax.jit(functools.partial(ALL[name], p=1.0))
    out = act(KEY, sample)
    assert out["image"].dtype == dtype
    assert not np.array_equal(out["image"], sample["image"])
    np.testing.assert_array_equal(out["label"], sample["label"])
    again = act(KEY, sample)
    np.testing.assert_array_equal(out["image"], again["image"])


@pytest.mark.parametrize("name", ALL)
def test_probability_zero_is_the_identity(name):
  sample = sample_of()
  out = jax.jit(functools.partial(ALL[name], p=0.0))(KEY, sample)
  np.testing.assert_array_equal(out["image"], sample["image"])


def test_brightness_multiplies():
  sample = sample_of()
  out = brightness(KEY, sample, p=1.0, factor=(1.2, 1.2))
  assert_close(out["image"], sample["image"] * 1.2)


def test_factors_lie_half_below_and_half_above_one_and_differ_between_channels():
  sample = {"image": jnp.ones((1, 1, 2))}
  keys = jax.random.split(KEY, 500)
  act = functools.partial(brightness, p=1.0, factor=(0.9, 2.0))
  out = np.asarray(jax.jit(jax.vmap(lambda k: act(k, sample)["image"][0, 0]))(keys))
  assert 0.9 <= out.min() < 0.91
  assert 1.98 < out.max() <= 2.0
  np.testing.assert_allclose((out < 1).mean(), 0.5, atol=0.06)
  assert abs(np.corrcoef(out.T)[0, 1]) < 0.15
  same = act(KEY, sample, per_channel=False)["image"][0, 0]
  assert same[0] == same[1]


def test_contrast_keeps_the_mean_and_scales_the_deviation():
  sample = sample_of()
  out = contrast(KEY, sample, p=1.0, factor=(0.8, 0.8))["image"]
  x = sample["image"].astype(np.float64)
  mean = x.mean(AXES)
  assert_close(out, (x - mean) * 0.8 + mean, atol=1e-5)


def test_contrast_keeps_the_range_when_asked():
  sample = sample_of()
  x = sample["image"].astype(np.float64)
  mean, low, high = x.mean(AXES), x.min(AXES), x.max(AXES)
  stretched = (x - mean) * 1.5 + mean
  kept = contrast(KEY, sample, p=1.0, factor=(1.5, 1.5))["image"]
  free = contrast(KEY, sample, p=1.0, factor=(1.5, 1.5), keep_range=False)["image"]
  assert_close(kept, np.clip(stretched, low, high), atol=1e-5)
  assert_close(free, stretched, atol=1e-5)


@pytest.mark.parametrize("invert", [False, True])
def test_gamma_is_a_power_of_the_unit_range(invert):
  sample = sample_of()
  x = sample["image"].astype(np.float64) * (-1 if invert else 1)
  low, extent = x.min(AXES), np.ptp(x, AXES)
  powered = ((x - low) / extent) ** 1.4 * extent + low
  sign = -1 if invert else 1
  out = gamma(KEY, sample, p=1.0, exponent=(1.4, 1.4), invert=invert, keep_stats=False)["image"]
  assert_close(out, sign * powered, atol=2e-5)
  assert_close(np.asarray(out).min(AXES), sample["image"].min(AXES), atol=2e-5)
  kept = gamma(KEY, sample, p=1.0, exponent=(1.4, 1.4), invert=invert)["image"]
  oracle = (powered - powered.mean(AXES)) / powered.std(AXES) * x.std(AXES) + x.mean(AXES)
  assert_close(kept, sign * oracle, atol=5e-5)


def test_gamma_of_a_constant_image_is_finite():
  sample = {"image": jnp.full((4, 4, 1), 2.5)}
  assert_close(gamma(KEY, sample, p=1.0)["image"], 2.5)


def test_noise_has_the_asked_deviation_and_no_mean():
  sample = {"image": jnp.zeros((64, 64, 2))}
  out = np.asarray(noise(KEY, sample, p=1.0, sigma=(0.3, 0.3))["image"])
  np.testing.assert_array_equal(out[..., 0], out[..., 1])  # one field for all channels
  np.testing.assert_allclose(out.std(), 0.3, rtol=0.05)
  np.testing.assert_allclose(out.mean(), 0.0, atol=0.02)
  each = np.asarray(noise(KEY, sample, p=1.0, sigma=(0.3, 0.3), per_channel=True)["image"])
  assert abs(np.corrcoef(each[..., 0].ravel(), each[..., 1].ravel())[0, 1]) < 0.1


def test_the_share_of_changed_samples_is_p():
  sample = {"image": jnp.ones((1, 1, 1))}
  keys = jax.random.split(KEY, 500)
  out = jax.jit(jax.vmap(lambda k: brightness(k, sample, p=0.15)["image"]))(keys)
  np.testing.assert_allclose((np.asarray(out) != 1).mean(), 0.15, atol=0.05)


def test_a_reversed_range_is_refused_in_words():
  with pytest.raises(ValueError, match="low <= high"):
    brightness(KEY, sample_of(), p=1.0, factor=(1.2, 0.8))


def test_inverted_gamma_is_gamma_of_the_negative_image():
  sample = sample_of()
  negative = {"image": -sample["image"]}
  for keep in (True, False):
    options = {"p": 1.0, "exponent": (1.3, 1.3), "keep_stats": keep}
    out = gamma_inverted(KEY, sample, **options)["image"]
    assert_close(out, -gamma(KEY, negative, **options)["image"], atol=1e-5)


@pytest.mark.parametrize("stretch", [False, True])
def test_a_window_clips_what_lies_beyond_it(stretch):
  sample = sample_of()
  act = functools.partial(intensity_window, p=1.0, lower=(0.2, 0.2), upper=(0.7, 0.7))
  out = act(KEY, sample, stretch=stretch)["image"]
  x = sample["image"].astype(np.float64)
  low, extent = x.min(AXES), np.ptp(x, AXES)
  oracle = np.clip(x, low + 0.2 * extent, low + 0.7 * extent)
  if stretch:
    oracle = (oracle - low - 0.2 * extent) / 0.5 + low
  assert_close(out, oracle, atol=1e-5)


@pytest.mark.parametrize(
  ("act", "p"),
  [(noise, 0.1), (contrast, 0.15), (gamma_inverted, 0.1), (gamma, 0.3), (intensity_window, 0.2)],
)
def test_each_is_drawn_with_its_own_probability(act, p):
  image = jnp.asarray(RNG.normal(size=(4, 5, 1)), jnp.float32)
  keys = jax.random.split(KEY, 1000)
  out = jax.jit(jax.vmap(lambda k: (act(k, {"image": image})["image"] != image).any()))(keys)
  np.testing.assert_allclose(np.mean(out), p, atol=4 * np.sqrt(p * (1 - p) / 1000))
