"""Scores class by class, beside the same with all classes at once."""

import numpy as np
import pytest
from closeness import assert_close
from scipy import special

from jaxseg.batch import LabelSpec
from jaxseg.inference import channels

LABELS = LabelSpec(("background", "a", "b", "c"), (0, 7, 3, 9))
REGIONS = LabelSpec(("whole", "core"), (0, 1, 2), regions=((1, 2), (2,)))
SCORES = np.random.default_rng(0).normal(scale=5, size=(4, 5, 6, 4)).astype(np.float32)


def test_one_class_at_a_time_decodes_as_all_at_once():
  values = np.array([0, 7, 3, 9])[SCORES.argmax(-1)]
  np.testing.assert_array_equal(LABELS.decode(channels.of_array(SCORES)), values)


def test_the_first_of_equal_scores_wins():
  tied = np.zeros((2, 2, 4), np.float32)
  assert (LABELS.decode(channels.of_array(tied)) == 0).all()


def test_later_regions_lie_on_top():
  scores = np.array([[1.0, -1.0], [1.0, 2.0], [-1.0, -0.5], [-1.0, 0.5]], np.float32)
  np.testing.assert_array_equal(REGIONS.decode(channels.of_array(scores)), [1, 2, 0, 2])
  shares = np.array([[0.6, 0.4], [0.9, 0.51], [0.5, 0.5]], np.float32)
  decoded = REGIONS.decode(channels.of_array(shares), threshold=0.5)
  np.testing.assert_array_equal(decoded, [1, 2, 0])


def test_probabilities_are_scipys():
  shares = channels.probabilities(channels.of_array(SCORES), LABELS)
  truth = special.softmax(SCORES.astype(np.float64), -1)
  for k in range(4):
    np.testing.assert_allclose(shares(k), truth[..., k], rtol=1e-4, atol=1e-7)
  shares = channels.probabilities(channels.of_array(SCORES[..., :2]), REGIONS)
  assert_close(shares(1), special.expit(SCORES[..., 1]))


def test_huge_scores_have_finite_probabilities():
  scores = np.array([[-2e4, 3e4, 3e4, 0]], np.float32)
  shares = channels.probabilities(channels.of_array(scores), LABELS)
  assert_close([shares(k)[0] for k in range(4)], [0, 0.5, 0.5, 0])
  shares = channels.probabilities(channels.of_array(np.array([[-1e5, 1e5]], np.float32)), REGIONS)
  assert [shares(0)[0], shares(1)[0]] == [0, 1]


def test_members_count_alike_in_a_mean():
  members = [channels.of_array(np.array([[a, 1 - a]])) for a in (0.2, 0.6, 0.7)]
  assert channels.mean(members)(0) == pytest.approx(0.5)
  assert channels.mean(members)(1) == pytest.approx(0.5)


@pytest.mark.parametrize(
  ("half", "file", "dtype"), [(1e9, 1e9, "f4"), (1, 1e9, "f2"), (1, 1, "f2")]
)
def test_scores_are_kept_in_the_room_that_suits_them(monkeypatch, half, file, dtype):
  monkeypatch.setattr(channels, "_HALF", half)
  monkeypatch.setattr(channels, "_FILE", file)
  kept = channels.Store((4, 5, 6))
  for z in (2, 0):
    kept.put((slice(z, z + 2), slice(None), slice(None)), SCORES[z : z + 2])
  for k in range(4):
    assert kept.channel(k).dtype == np.float32
    np.testing.assert_array_equal(kept.channel(k), SCORES[..., k].astype(dtype))
