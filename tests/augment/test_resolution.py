import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close
from scipy import ndimage

from jaxseg.augment import blur, low_resolution

RNG = np.random.default_rng(12)
KEY = jax.random.key(2)


def image_of(size, channels=1):
  return RNG.normal(size=(*size, channels)).astype(np.float32)


@pytest.mark.parametrize("size", [(14, 11), (9, 12, 10)])
def test_blur_is_the_gaussian_filter_of_scipy(size):
  image = image_of(size, 2)
  for sigma in (0.5, 0.8, 1.0):
    # the same kernel and border: three times the largest sigma, mirrored about the last voxel
    act = functools.partial(blur, p=1.0, p_channel=1.0, sigma=(sigma, sigma))
    out = jax.jit(act)(KEY, {"image": image})["image"]
    for channel in range(2):
      oracle = ndimage.gaussian_filter(
        image[..., channel].astype(np.float64), sigma, mode="mirror", radius=int(np.ceil(3 * sigma))
      )
      assert_close(out[..., channel], oracle, atol=1e-5)


def test_every_axis_and_channel_is_blurred_by_another_width():
  image = np.zeros((21, 21, 2), np.float32)
  image[10, 10] = 1
  out = blur(KEY, {"image": image}, p=1.0, p_channel=1.0, sigma=(0.5, 2.0))["image"]
  grid = np.arange(21) - 10.0
  widths = [
    np.sqrt((out[..., c].sum(1 - axis) * grid**2).sum()) for c in range(2) for axis in range(2)
  ]
  assert all(0.4 < width < 2.0 for width in widths)
  assert len({round(float(width), 2) for width in widths}) == 4


def coarse_and_back(line, coarse):
  """numpy: nearest-exact down and half-pixel linear up, as PyTorch defines them."""
  size = len(line)
  small = line[np.minimum(((np.arange(coarse) + 0.5) * size / coarse).astype(int), size - 1)]
  at = np.maximum((np.arange(size) + 0.5) * coarse / size - 0.5, 0)
  return np.interp(at, np.arange(coarse), small)


@pytest.mark.parametrize("size", [(13, 16), (8, 11, 9)])
@pytest.mark.parametrize("zoom", [0.5, 0.74, 1.0])
def test_low_resolution_is_nearest_down_and_linear_up(size, zoom):
  image = image_of(size)
  act = functools.partial(low_resolution, p=1.0, p_channel=1.0, zoom=(zoom, zoom))
  out = jax.jit(act)(KEY, {"image": image})["image"][..., 0]
  oracle = image[..., 0].astype(np.float64)
  for axis, n in enumerate(size):
    oracle = np.apply_along_axis(coarse_and_back, axis, oracle, round(n * zoom))
  assert_close(out, oracle, atol=1e-5)


def test_axes_that_are_left_out_keep_their_resolution():
  image = image_of((8, 9, 10))
  act = functools.partial(low_resolution, p=1.0, p_channel=1.0, zoom=(0.5, 0.5), axes=(1, 2))
  out = act(KEY, {"image": image})["image"]
  alone = act(KEY, {"image": image[3:4]})["image"]
  assert_close(out[3:4], alone, atol=1e-6)


@pytest.mark.parametrize(("act", "p", "p_channel"), [(blur, 0.2, 0.5), (low_resolution, 0.25, 0.5)])
def test_samples_and_channels_are_drawn_with_their_probabilities(act, p, p_channel):
  image = jnp.asarray(image_of((6, 6), 2))
  keys = jax.random.split(KEY, 2000)
  changed = jax.jit(jax.vmap(lambda k: (act(k, {"image": image})["image"] != image).any((0, 1))))(
    keys
  )
  changed = np.asarray(changed)
  # low_resolution with a zoom near 1 rounds to the size itself: 1 in 6 of these draws
  same = 1 / 6 if act is low_resolution else 0.0
  expected = p * p_channel * (1 - same)
  deviation = np.sqrt(expected * (1 - expected) / 2000)
  np.testing.assert_allclose(changed.mean(0), expected, atol=4 * deviation)
  both = p * (p_channel * (1 - same)) ** 2
  np.testing.assert_allclose(changed.all(1).mean(), both, atol=4 * np.sqrt(both / 2000))


def test_the_dtype_stays_and_the_label_too():
  label = RNG.integers(0, 3, (8, 8)).astype(np.int32)
  for act in (blur, low_resolution):
    image = image_of((8, 8)).astype(np.float16)
    out = act(KEY, {"image": image, "label": label}, p=1.0, p_channel=1.0)
    assert out["image"].dtype == np.float16
    np.testing.assert_array_equal(out["label"], label)
