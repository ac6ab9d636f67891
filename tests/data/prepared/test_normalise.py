"""Normalisation against plain numpy, and the choice by channel name."""

import numpy as np
import pytest
from closeness import assert_close

from jaxseg.data.formats.geometry import Geometry, plain_geometry
from jaxseg.data.prepared import normalise
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.data.sources.source import RawCase

CHANNEL = np.random.default_rng(0).normal(300, 50, (4, 5, 6)).astype(np.float32)


def test_zscore_has_zero_mean_and_unit_deviation():
  out = normalise.zscore(CHANNEL)
  assert out.dtype == np.float32
  assert out.mean() == pytest.approx(0, abs=1e-5)
  assert out.std() == pytest.approx(1, abs=1e-5)


def test_zscore_inside_the_nonzero_mask_keeps_zeros():
  brain = np.where(np.arange(6) < 3, 0, CHANNEL)
  out = normalise.zscore(brain, nonzero=True)
  assert (out[brain == 0] == 0).all()
  expected = (brain[brain != 0] - brain[brain != 0].mean()) / brain[brain != 0].std()
  assert_close(out[brain != 0], expected, atol=1e-5)


@pytest.mark.parametrize("scheme", [normalise.zscore, normalise.minmax])
def test_constant_image_becomes_zero(scheme):
  np.testing.assert_array_equal(scheme(np.full((3, 3), 7, np.float32)), 0)


def test_ct_clips_then_standardises():
  channel = np.array([-2000.0, -100, 50, 3000], np.float32)
  out = normalise.ct(channel, lower=-150, upper=200, mean=25, std=50)
  assert_close(out, [-3.5, -2.5, 0.5, 3.5])


def test_window_maps_its_ends():
  channel = np.array([-1000, -160, 40, 240, 900], np.int16)
  assert_close(normalise.window(channel, lower=-160, upper=240), [0, 0, 0.5, 1, 1])
  assert_close(normalise.window(channel, lower=-160, upper=240, signed=True), [-1, -1, 0, 1, 1])
  # bounds outside the range of the stored type
  grey = np.array([0, 255], np.uint8)
  assert_close(normalise.window(grey, lower=-255, upper=510), [1 / 3, 2 / 3])
  with pytest.raises(ValueError, match="lower 5 must be less than upper 5"):
    normalise.window(channel, lower=5, upper=5)


def test_rgb_and_minmax_reach_one():
  assert_close(normalise.rgb(np.array([0, 51, 255], np.uint8)), [0, 0.2, 1])
  assert_close(normalise.minmax(np.array([2, 3, 6], np.uint8)), [0, 0.25, 1])
  assert_close(normalise.minmax(np.array([2, 3, 6], np.uint8), signed=True), [-1, -0.5, 1])


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_rgb_divides_by_the_largest_value_of_the_pictures_type(kind):
  top = np.iinfo(kind).max
  values = np.array([0, top // 5, top], kind)
  assert_close(normalise.rgb(values), [0, 0.2, 1])
  dark = np.array([0, 1, 2], kind)
  assert_close(normalise.rgb(dark), dark / top)


def test_rgb_of_other_types_is_0_to_255_or_refused():
  assert_close(normalise.rgb(np.array([0, 51, 255], np.float32)), [0, 0.2, 1])
  assert_close(normalise.rgb(np.array([0, 51], np.int16)), [0, 0.2])
  np.testing.assert_array_equal(normalise.rgb(np.zeros(3, np.float32)), 0)
  for values in ([0, 256], [-1, 3], [0, 0.5, 1]):
    with pytest.raises(ValueError, match="'rgb' divides float32 by 255"):
      normalise.rgb(np.array(values, np.float32))
    assert normalise.rgb(np.array(values, np.float32), maximum=2.0)[-1] == values[-1] / 2


def test_an_image_whose_values_do_not_suit_the_scheme_is_named():
  preparation = Preparation(("red",), 2, ({"name": "rgb"},))
  raw = RawCase(np.full((4, 5, 1), 0.5, np.float32), None, None, plain_geometry((4, 5)))
  with pytest.raises(ValueError, match=r"a\.tif: config\.data\.normalise: 'rgb' divides float32"):
    preparation.apply(raw, "a.tif")


def test_pictures_of_8_and_16_bits_may_be_mixed():
  preparation = Preparation(("red",), 2, ({"name": "rgb"},))
  grey = np.random.default_rng(0).integers(0, 256, (4, 5, 1)).astype(np.uint8)
  narrow, wide = (
    preparation.apply(RawCase(image, None, None, plain_geometry((4, 5))))
    for image in (grey, grey.astype(np.uint16) * 257)
  )
  np.testing.assert_array_equal(narrow, wide)


def test_auto_follows_the_channels_name():
  found = normalise.schemes("auto", ("CT", "MRI", "red", "noNorm", "rescale_to_0_1"))
  assert [s["name"] for s in found] == ["ct", "zscore", "rgb", "none", "minmax"]


def test_scheme_may_differ_per_channel():
  found = normalise.schemes(({"name": "window", "lower": 0, "upper": 9}, "zscore"), ("CT", "PET"))
  assert found == ({"name": "window", "lower": 0, "upper": 9}, {"name": "zscore"})


@pytest.mark.parametrize(
  ("scheme", "message"),
  [
    ("zscor", r"config\.data\.normalise\.name: 'zscor' is unknown .*zscore"),
    ({"name": "zscore", "nonzer": True}, r"nonzer: 'zscore' has no such option .*nonzero"),
    (("zscore", "zscore"), r"2 schemes for 1 channels \(CT\)"),
    ("window", "'window' needs lower and upper"),
  ],
)
def test_unknown_schemes_and_options_are_told(scheme, message):
  with pytest.raises(ValueError, match=message):
    normalise.schemes(scheme, ("CT",))


def test_ct_numbers_come_from_the_foreground_of_the_training_cases():
  random = np.random.default_rng(1)
  cases = {name: random.normal(i, 10, (6, 7, 8, 2)) for i, name in enumerate("abc")}
  inside = {name: random.random((6, 7, 8)) < 0.3 for name in cases}
  found = normalise.fit(
    normalise.schemes(("zscore", "ct"), ("MR", "CT")), lambda c: (cases[c], inside[c]), ("a", "b")
  )
  values = np.concatenate([cases[c][inside[c]][:, 1] for c in "ab"])
  assert found[0] == {"name": "zscore"}
  assert found[1]["mean"] == pytest.approx(values.mean(), rel=1e-5)
  assert found[1]["std"] == pytest.approx(values.std(), rel=1e-5)
  assert found[1]["lower"] == pytest.approx(np.percentile(values, 0.5), rel=1e-5)
  assert found[1]["upper"] == pytest.approx(np.percentile(values, 99.5), rel=1e-5)


def test_ct_without_any_foreground_is_told():
  with pytest.raises(ValueError, match="these have none; use 'window'"):
    normalise.fit(
      ({"name": "ct"},), lambda _: (np.zeros((2, 2, 1)), np.zeros((2, 2), bool)), ("a",)
    )


def test_preparation_survives_json_and_its_output_goes_back():
  schemes = ({"name": "zscore"}, {"name": "window", "lower": -1.0, "upper": 1.0})
  preparation = Preparation(("MR", "CT"), 3, schemes, "RAS")
  assert Preparation.from_json(preparation.to_json()) == preparation
  geometry = Geometry(
    np.array([[0, 0, 3, 0], [-2, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]]), (4, 5, 6)
  )
  raw = RawCase(np.stack([CHANNEL, CHANNEL], -1), None, None, geometry)
  out = preparation.apply(raw)
  assert out.shape == (5, 6, 4, 2)  # x, y, z of the file point to -y, -z, x
  back = preparation.restore(out, geometry)
  np.testing.assert_array_equal(back[..., 0], normalise.zscore(CHANNEL))


def test_preparation_refuses_what_it_was_not_made_for():
  preparation = Preparation(("MR",), 3, ({"name": "zscore"},))
  flat = RawCase(CHANNEL[0, ..., None], None, None, plain_geometry((5, 6)))
  with pytest.raises(ValueError, match=r"scan\.png: the image has 2 spatial axes"):
    preparation.apply(flat, "scan.png")
  two = RawCase(np.stack([CHANNEL, CHANNEL], -1), None, None, plain_geometry((4, 5, 6)))
  with pytest.raises(ValueError, match=r"the image has 2 channel\(s\), expected 1"):
    preparation.apply(two)


@pytest.mark.parametrize(
  "scheme",
  [
    {"name": "standard", "mean": 300.0, "std": 50.0},
    {"name": "ct", "lower": -1e4, "upper": 1e4, "mean": 250.0, "std": 40.0},
    {"name": "window", "lower": 0.0, "upper": 1000.0},
    {"name": "window", "lower": -500.0, "upper": 1000.0, "signed": True},
    {"name": "rgb", "maximum": 4095.0},
    {"name": "none"},
  ],
  ids=str,
)
def test_what_is_normalised_by_numbers_of_a_set_is_undone(scheme):
  options = {name: value for name, value in scheme.items() if name != "name"}
  values = normalise.NORMALISATIONS[scheme["name"]](CHANNEL, **options)
  assert_close(normalise.undone(values, scheme), CHANNEL, atol=1e-2)


@pytest.mark.parametrize(
  ("scheme", "words"),
  [
    ({"name": "zscore"}, "'zscore' takes each case's own numbers"),
    ({"name": "minmax"}, "'minmax' takes each case's own numbers"),
    ({"name": "rgb"}, "one that is yet to be made has no type"),
  ],
  ids=["zscore", "minmax", "rgb"],
)
def test_what_is_normalised_by_a_cases_own_numbers_cannot_be_undone(scheme, words):
  with pytest.raises(ValueError, match=words):
    normalise.undone(CHANNEL, scheme)


def test_standard_takes_its_numbers_from_all_voxels_of_the_training_cases():
  random = np.random.default_rng(1)
  images = {name: random.normal(7, 3, (4, 5, 2)).astype(np.float32) for name in "ab"}
  given = ({"name": "zscore"}, {"name": "standard"})
  first, second = normalise.fit(given, lambda case: (images[case], None), ("a", "b"))
  values = np.stack([images["a"], images["b"]])[..., 1].astype(np.float64)
  assert first == {"name": "zscore"}
  assert second["mean"] == pytest.approx(values.mean())
  assert second["std"] == pytest.approx(values.std())
  # what is given goes before
  (kept,) = normalise.fit(
    ({"name": "standard", "mean": 0.0},), lambda case: (images[case], None), "a"
  )
  assert kept["mean"] == 0.0
