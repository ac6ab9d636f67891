"""Cases on their own grid: one configuration, several, orientation, probabilities; by hand."""

import dataclasses

import numpy as np
import pytest
from closeness import assert_close
from scipy import special

from jaxseg.batch import LabelSpec
from jaxseg.data.formats.geometry import Geometry, plain_geometry
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.data.sources.source import RawCase
from jaxseg.inference import Case, sliding_window
from jaxseg.inference.segmentation import Configuration, prepared_case, seen_by, segment

LABELS = LabelSpec(("background", "a", "b"), (0, 5, 9))
REGIONS = LabelSpec(("whole", "core"), (0, 1, 2), regions=((1, 2), (2,)))
PLAIN = Preparation(("x",), 3, ({"name": "none"},))
IMAGE = np.random.default_rng(0).normal(size=(6, 9, 7, 1)).astype(np.float32)
RAW = RawCase(IMAGE, None, None, plain_geometry(IMAGE.shape[:-1]))


def linear(slopes, offsets, preparations=(PLAIN,), labels=LABELS, seen=None):
  """A configuration whose logits are slope x + offset."""

  def apply(batch):
    if seen is not None:
      seen.append(batch)
    x = batch["image"][..., :1]
    return {"logits": x * np.float32(slopes) + np.float32(offsets)}

  def logits(case, **options):
    return sliding_window(apply, case, patch=(4, 4, 4), **options)

  return Configuration(tuple(preparations), labels, logits)


ONE = ((0, 2, -3), (0.5, 0, 0))
TWO = ((0, -1, 1), (0, 1, 0.25))


def scores(member):
  return IMAGE.astype(np.float64) * member[0] + member[1]


def test_labels_are_the_largest_logits_stored_values():
  found = segment([linear(*ONE)], RAW)
  np.testing.assert_array_equal(found.labels, np.array([0, 5, 9])[scores(ONE).argmax(-1)])
  assert found.probabilities is None


def test_probabilities_are_a_softmax_and_leave_the_labels_as_they_are():
  found = segment([linear(*ONE)], RAW, probabilities=True)
  np.testing.assert_allclose(
    found.probabilities, special.softmax(scores(ONE), -1), rtol=1e-4, atol=1e-6
  )
  np.testing.assert_array_equal(found.labels, segment([linear(*ONE)], RAW).labels)


def test_configurations_average_their_probabilities_not_their_logits():
  mean = (special.softmax(scores(ONE), -1) + special.softmax(scores(TWO), -1)) / 2
  found = segment([linear(*ONE), linear(*TWO)], RAW, probabilities=True)
  np.testing.assert_allclose(found.probabilities, mean, rtol=1e-4, atol=1e-6)
  labels = segment([linear(*ONE), linear(*TWO)], RAW).labels
  np.testing.assert_array_equal(labels, np.array([0, 5, 9])[mean.argmax(-1)])
  by_logits = np.array([0, 5, 9])[(scores(ONE) + scores(TWO)).argmax(-1)]
  assert (labels != by_logits).any()


def test_regions_are_sigmoids_and_nested():
  first, second = ((1, 2), (0.5, -1)), ((-2, 1), (1, 0.5))
  configurations = [linear(*one, labels=REGIONS) for one in (first, second)]
  alone = segment(configurations[:1], RAW).labels
  whole, core = np.moveaxis(scores(first) > 0, -1, 0)
  np.testing.assert_array_equal(alone, np.where(core, 2, np.where(whole, 1, 0)))
  shares = (special.expit(scores(first)) + special.expit(scores(second))) / 2
  found = segment(configurations, RAW, probabilities=True)
  np.testing.assert_allclose(found.probabilities, shares, rtol=1e-4, atol=1e-6)
  whole, core = np.moveaxis(shares > 0.5, -1, 0)
  np.testing.assert_array_equal(found.labels, np.where(core, 2, np.where(whole, 1, 0)))


@pytest.mark.parametrize("several", [False, True])
def test_labels_come_back_in_the_files_own_orientation(several):
  affine = np.array([[0, 0, -2.0, 5], [-1.5, 0, 0, 7], [0, 1.0, 0, -3], [0, 0, 0, 1]])
  raw = RAW._replace(geometry=Geometry(affine, IMAGE.shape[:-1], "nifti"))
  turned = Preparation(("x",), 3, ({"name": "none"},), "RAS")
  seen = []
  one = linear(*ONE, preparations=(turned,), seen=seen)
  found = segment([one, one] if several else [one], raw)
  np.testing.assert_array_equal(found.labels, np.array([0, 5, 9])[scores(ONE).argmax(-1)])
  # x, y, z of the body lie along file axes z, x, y: in the array's order (z, y, x)
  np.testing.assert_array_equal(seen[0]["spacing"][0], [1.0, 1.5, 2.0])


def test_folds_with_other_normalisations_see_their_own_images():
  double = Preparation(("x",), 3, ({"name": "ct", "lower": -9, "upper": 9, "mean": 0, "std": 0.5},))
  case, _ = prepared_case(linear(*ONE, preparations=(PLAIN, double)), RAW, "it")
  assert isinstance(case, Case)
  for i in range(2):
    own = seen_by(i, case.fields)
    assert set(own) == {"image", "spacing"}
    assert_close(own["image"], IMAGE * (1 + i))


def test_an_earlier_stages_scores_reach_the_network():
  prior = np.random.default_rng(1).random((6, 9, 7, 2)).astype(np.float32)
  seen = []
  one = linear(*ONE, seen=seen)._replace(fields=lambda raw, where: {"prior": prior})
  segment([one], RAW)
  np.testing.assert_array_equal(seen[0]["prior"][0], prior[:4, :4, :4])


def test_a_case_smaller_than_the_patch_is_padded_and_cropped():
  small = RAW._replace(image=IMAGE[:2, :3, :1], geometry=plain_geometry((2, 3, 1)))
  found = segment([linear(*ONE)], small)
  truth = np.array([0, 5, 9])[scores(ONE).argmax(-1)]
  np.testing.assert_array_equal(found.labels, truth[:2, :3, :1])


def test_nan_voxels_and_missing_channels_are_told():
  broken = RAW._replace(image=np.where(IMAGE > 2, np.nan, IMAGE))
  with pytest.raises(ValueError, match=r"scan.nii: \d+ voxel\(s\) of the image are NaN"):
    segment([linear(*ONE)], broken, "scan.nii")
  with pytest.raises(ValueError, match=r"scan.nii: the image has 2 channel\(s\), expected 1"):
    segment([linear(*ONE)], RAW._replace(image=np.repeat(IMAGE, 2, -1)), "scan.nii")


def test_progress_counts_the_windows_of_every_configuration():
  seen = []
  segment([linear(*ONE), linear(*TWO)], RAW, progress=lambda done, of: seen.append((done, of)))
  # 2 x 4 x 3 windows of 4^3 in 6 x 9 x 7, four at a time
  assert seen == [(n, 24) for n in range(4, 25, 4)] * 2


def test_outside_the_crop_is_background():
  """A third of the image is zero, and the network would call it `a`."""
  image = np.where(np.arange(9)[None, :, None, None] < 3, 0, np.abs(IMAGE) + 1)
  raw = RAW._replace(image=image.astype(np.float32))
  cropped = dataclasses.replace(PLAIN, crop_nonzero=True, transpose=(2, 0, 1))
  one = linear((0, 1, 2), (0, 1, -0.5), preparations=(cropped,))
  x = image[..., 0]
  truth = np.where(x == 0, 0, np.where(x > 1.5, 9, 5))
  np.testing.assert_array_equal(segment([one], raw).labels, truth)
  found = segment([one, one], raw, probabilities=True)
  np.testing.assert_array_equal(found.labels, truth)
  outside = np.broadcast_to(np.array([1, 0, 0]), (6, 3, 7, 3))
  assert_close(found.probabilities[:, :3], outside, atol=1e-7)


def test_a_coarser_grid_comes_back_by_linear_interpolation():
  """The network sees every two voxels' average of a ramp; a threshold on it comes back exactly."""
  ramp = np.broadcast_to(np.arange(8.0, dtype=np.float32)[:, None, None, None], (8, 4, 4, 1))
  raw = RawCase(ramp, None, None, plain_geometry((8, 4, 4)))
  coarse = dataclasses.replace(PLAIN, spacing=(2.0, 1.0, 1.0), resampling={"order": 1})
  seen = []
  one = linear((0, 1, 0), (2.75, 0, 0), preparations=(coarse,), seen=seen)
  found = segment([one], raw).labels
  assert_close(seen[0]["image"][0, :, 0, 0, 0], [0.5, 2.5, 4.5, 6.5], atol=1e-5)
  np.testing.assert_array_equal(seen[0]["spacing"][0], [2, 1, 1])
  np.testing.assert_array_equal(found[:, 0, 0], np.where(np.arange(8) > 2.75, 5, 0))
