"""Normalisation inside of programs: what the preparation of a whole scan gives."""

import numpy as np
import pytest

from jaxseg.data.prepared.normalise import NORMALISATIONS
from jaxseg.interop.exports import intensities

SCHEMES = (
  {"name": "zscore"},
  {"name": "ct", "lower": -3.0, "upper": 40.0, "mean": 12.0, "std": 7.0},
  {"name": "standard", "mean": 5.0, "std": 2.5},
  {"name": "window", "lower": -10.0, "upper": 30.0},
  {"name": "window", "lower": -10.0, "upper": 30.0, "signed": True},
  {"name": "minmax"},
  {"name": "minmax", "signed": True},
  {"name": "rgb", "maximum": 255.0},
  {"name": "none"},
)


def scan(shape=(6, 7, 5)):
  return (10 * np.random.default_rng(0).standard_normal(shape) + 8).astype(np.float32)


def normalised(channels, schemes):
  image = np.stack(channels, -1)
  numbers = intensities.statistics(image)
  fixed = intensities.numbers(schemes)
  return np.asarray(intensities.normalised(image[None], numbers, schemes, fixed))[0]


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme["name"])
def test_every_scheme_is_that_of_the_preparation(scheme):
  options = dict(scheme)
  expected = NORMALISATIONS[options.pop("name")](scan(), **options)
  out = normalised([scan()], (scheme,))[..., 0]
  np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


def test_channels_keep_their_own_schemes():
  out = normalised([scan() + i for i in range(len(SCHEMES))], SCHEMES)
  for i, scheme in enumerate(SCHEMES):
    options = dict(scheme)
    expected = NORMALISATIONS[options.pop("name")](scan() + i, **options)
    np.testing.assert_allclose(out[..., i], expected, rtol=1e-5, atol=1e-5)


def test_what_is_nan_becomes_zero_and_counts_in_no_mean():
  body = np.random.default_rng(1).random((6, 7, 5)) > 0.4
  expected = NORMALISATIONS["zscore"](scan(), body, nonzero=True)
  schemes = ({"name": "zscore", "nonzero": True},)
  out = normalised([np.where(body, scan(), np.nan)], schemes)[..., 0]
  assert not out[~body].any()
  np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)


def test_a_constant_scan_becomes_zero():
  for name in ("zscore", "minmax"):
    assert not normalised([np.full((4, 4), 7.25, np.float32)], ({"name": name},)).any()


def test_a_constant_scan_becomes_the_lower_end_of_signed_values():
  schemes = ({"name": "minmax", "signed": True}, {"name": "minmax"})
  out = normalised([np.full((4, 4), 7.25, np.float32)] * 2, schemes)
  np.testing.assert_array_equal(out[0, 0], [-1, 0])


def test_statistics_of_nothing_are_zero():
  out = intensities.statistics(np.full((3, 3, 2), np.nan))
  np.testing.assert_array_equal(out, np.zeros((4, 2)))


def test_pictures_without_a_maximum_are_of_eight_bits():
  assert intensities.numbers(({"name": "rgb"},))[3, 0] == 255


def test_only_schemes_with_numbers_of_each_scan_look_at_statistics():
  looked = [scheme["name"] for scheme in SCHEMES if intensities.of_a_scan((scheme,))]
  assert looked == ["zscore", "minmax", "minmax"]
