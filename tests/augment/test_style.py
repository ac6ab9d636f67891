"""Styles of other images: values of the papers' own rules, written out in numpy."""

import jax
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.augment.style import fourier, histogram


def images(shape, seed=0):
  return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# what makes these images those of a camera, which have no values below 0
BLACK = 8.0


def swapped(source, target, band):
  """FDA's rule for one image (channels, h, w) from 0: centred spectra, a square of 2 b + 1."""
  own, other = (np.fft.fftshift(np.fft.fft2(x), axes=(-2, -1)) for x in (source, target))
  amplitude, phase = np.abs(own), np.angle(own)
  _, h, w = source.shape
  b = int(np.floor(min(h, w) * band))
  y, x = h // 2, w // 2
  low = slice(None), slice(y - b, y + b + 1), slice(x - b, x + b + 1)
  amplitude[low] = np.abs(other)[low]
  mixed = np.fft.ifftshift(amplitude * np.exp(1j * phase), axes=(-2, -1))
  return np.real(np.fft.ifft2(mixed))


@pytest.mark.parametrize(("shape", "band"), [((16, 16), 0.2), ((15, 18), 0.1), ((9, 12), 0.0)])
def test_low_amplitudes_are_the_others_and_phases_the_images_own(shape, band):
  a, b = BLACK + images((2, *shape, 3)), BLACK + 2 * images((2, *shape, 3), 1)
  expected = [
    np.moveaxis(swapped(np.moveaxis(x, -1, 0), np.moveaxis(y, -1, 0), band), 0, -1)
    for x, y in zip(a, b, strict=True)
  ]
  assert_close(
    jax.jit(fourier, static_argnames="band")(a, b, band=band), np.stack(expected), atol=1e-4
  )


@pytest.mark.parametrize("shape", [(12, 10), (6, 5, 4)])
def test_a_signed_image_gets_what_the_same_one_without_values_below_0_does(shape):
  # a dark image in the style of a bright one, and the reverse: their means have other signs
  a = images((2, *shape, 1)) / 4 + np.array([-0.3, 0.2]).reshape(2, *(1,) * len(shape), 1)
  b = images((2, *shape, 1), 1) / 4 + np.array([0.4, -0.6]).reshape(2, *(1,) * len(shape), 1)
  a, b = a.astype(np.float32), b.astype(np.float32)
  signed = np.asarray(fourier(a, b, band=0.2))
  assert_close(signed, fourier(a + BLACK, b + BLACK, band=0.2) - BLACK, atol=1e-5)
  axes = tuple(range(1, signed.ndim))
  assert_close(signed.mean(axes), b.mean(axes), atol=1e-5)


def test_an_image_in_its_own_style_is_itself_and_every_frequency_is_the_other_with_its_phase():
  a = images((1, 8, 10, 6, 1))
  assert_close(fourier(a, a, band=0.3), a, atol=1e-5)
  # of a positive mean alone the amplitude is the mean itself
  a, b = np.abs(a), np.abs(a) + 5
  assert_close(fourier(a, b, band=0.0).mean(), b.mean(), rtol=1e-5)


def matched(source, template):
  """Quantiles of the distinct values, interpolated: what scikit-image's match_histograms does."""
  _, where, counts = np.unique(source.ravel(), return_inverse=True, return_counts=True)
  values, of = np.unique(template.ravel(), return_counts=True)
  shares, theirs = np.cumsum(counts) / source.size, np.cumsum(of) / template.size
  return np.interp(shares, theirs, values)[where].reshape(source.shape)


@pytest.mark.parametrize("levels", [0, 5])
@pytest.mark.parametrize("shape", [(12, 9), (5, 6, 4)])
def test_histograms_are_matched_by_distinct_values(shape, levels):
  a, b = images((2, *shape, 2)), 2 * images((2, *shape, 2), 1) ** 2
  if levels:
    # many equal values, as an image's background and a picture's grey levels
    a, b = np.round(levels * a) / levels, np.round(b)
  found = np.asarray(jax.jit(histogram)(a, b))
  for i in range(2):
    for c in range(2):
      assert_close(found[i, ..., c], matched(a[i, ..., c], b[i, ..., c]), atol=1e-5)


def test_a_constant_template_makes_all_values_its_own():
  assert_close(histogram(images((1, 4, 4, 1)), np.full((1, 4, 4, 1), 0.7, np.float32)), 0.7)
