import itertools

import numpy as np
import pytest

from jaxseg.metrics import METRICS, score, v_info, v_rand
from jaxseg.metrics.electron_microscopy import grow

# two cells of 4 x 3 voxels with a membrane (class 1) of one voxel between them
LABEL = np.zeros((4, 7), np.int32)
LABEL[:, 3] = 1
MERGED = np.zeros_like(LABEL)
WIDE = LABEL.copy()
WIDE[:, 2:5] = 1
NAMES = ("v_rand", "v_info")


def of(metric, prediction, label=LABEL, weight=None, probabilities=None, **options):
  return metric(prediction, label, weight, 2, probabilities, **options)[1]


def test_equal_segmentations_score_one():
  for metric in (v_rand, v_info):
    assert of(metric, LABEL) == pytest.approx(1.0)
    assert of(metric, MERGED, MERGED) == pytest.approx(1.0)


def test_a_merger_has_the_scores_worked_by_hand():
  # shares: both (1/2, 1/2), prediction (1), label (1/2, 1/2)
  assert of(v_rand, MERGED) == pytest.approx(0.5 / (0.5 * 1 + 0.5 * 0.5))
  assert of(v_rand, MERGED, alpha=0.0) == pytest.approx(1.0)
  assert of(v_rand, MERGED, alpha=1.0) == pytest.approx(0.5)
  # a prediction of one segment tells nothing
  assert of(v_info, MERGED) == pytest.approx(0.0, abs=1e-12)


def test_a_split_has_the_scores_worked_by_hand():
  # a merged label; the prediction's two cells and its membrane, which grows into the nearest
  assert of(v_rand, LABEL, MERGED, alpha=0.0) == pytest.approx((16**2 + 12**2) / 28**2)
  assert of(v_rand, LABEL, MERGED, alpha=1.0) == pytest.approx(1.0)
  # without growth: 12, 12 and four segments of one voxel; a label of one segment tells nothing
  alone = (2 * 12**2 + 4) / 28**2
  assert of(v_rand, LABEL, MERGED, alpha=0.0, thin=False) == pytest.approx(alone)
  assert of(v_info, LABEL, MERGED, thin=False) == pytest.approx(0.0, abs=1e-12)
  # in information a split costs what it adds: I(S; T) = H(T) where T is coarser than S
  cut = LABEL.copy()
  cut[1, :3] = 1
  half = np.log(2)
  parts = np.array([3, 6, 1, 1, 1, 12]) / 24
  assert of(v_info, cut, thin=False, alpha=0.0) == pytest.approx(
    half / -(parts * np.log(parts)).sum()
  )
  assert of(v_info, cut, thin=False, alpha=1.0) == pytest.approx(1.0)


def test_the_width_of_the_membrane_does_not_matter():
  for metric in (v_rand, v_info):
    assert of(metric, WIDE) == pytest.approx(1.0)
    assert of(metric, WIDE, thin=False) < 0.95


def test_the_membrane_goes_to_the_nearest_segment():
  prediction = np.array([[0, 0, 1, 1, 0, 0, 0]] * 3)
  split = of(v_rand, prediction, np.zeros_like(prediction), alpha=0.0)
  assert split == pytest.approx((3**2 + 4**2) / 7**2)


@pytest.mark.parametrize("shape", [(11, 13), (6, 7, 8)])
def test_segments_grow_to_where_they_are_nearest(shape):
  random = np.random.default_rng(7)
  membrane, inner = np.zeros(shape, bool), tuple(slice(2, -2) for _ in shape)
  membrane[inner] = random.random(membrane[inner].shape) < 0.8
  segments = np.where(membrane, 0, random.integers(1, 9, shape))
  grown = segments.copy()
  grow(grown)
  known = np.argwhere(segments > 0)
  for voxel in np.argwhere(segments == 0):
    away = ((known - voxel) ** 2).sum(1)
    # a tie may go to either
    assert grown[tuple(voxel)] in segments[tuple(known[away == away.min()].T)]
  np.testing.assert_array_equal(grown[segments > 0], segments[segments > 0])


def test_random_segmentations_agree_with_all_pairs_of_voxels():
  """Rand by enumerating pairs, information by counting words; segments by flood fill."""
  random = np.random.default_rng(3)
  for _ in range(4):
    prediction, label = (random.random((2, 9, 9)) < 0.35).astype(np.int32)
    s, t = flood(prediction == 0), flood(label == 0)
    counted = label.ravel() == 0
    s, t = s.ravel()[counted], t.ravel()[counted]
    s = np.where(s == 0, 1000 + np.arange(len(s)), s)
    # every ordered pair, a voxel with itself included
    same_s, same_t = s[:, None] == s, t[:, None] == t
    merge = (same_s & same_t).sum() / same_s.sum()
    split = (same_s & same_t).sum() / same_t.sum()
    got = [of(v_rand, prediction, label, alpha=a, thin=False) for a in (0.0, 0.5, 1.0)]
    f = 2 * merge * split / (merge + split)
    np.testing.assert_allclose(got, [split, f, merge])
    h_s, h_t, h_both = (entropy(words) for words in (s, t, [*zip(s, t, strict=True)]))
    expected = 2 * (h_s + h_t - h_both) / (h_s + h_t)
    assert of(v_info, prediction, label, thin=False) == pytest.approx(expected)


def flood(mask):
  ids, last = np.zeros(mask.shape, int), 0
  for start in itertools.product(*map(range, mask.shape)):
    if mask[start] and not ids[start]:
      last += 1
      stack = [start]
      while stack:
        y, x = stack.pop()
        if 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and mask[y, x] and not ids[y, x]:
          ids[y, x] = last
          stack += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
  return ids


def entropy(words):
  words = [tuple(np.atleast_1d(word)) for word in words]
  shares = np.array([words.count(word) for word in set(words)]) / len(words)
  return -(shares * np.log(shares)).sum()


def test_the_best_threshold_is_taken():
  membrane = LABEL * 0.9
  membrane[1, 3] = 0.35  # a leak, closed where less than 0.65 of cell is not enough
  probabilities = np.stack([1 - membrane, membrane], -1)
  assert of(v_rand, MERGED, probabilities=probabilities) == pytest.approx(1.0)
  leaking = of(v_rand, LABEL, probabilities=probabilities, thresholds=(0.5,))
  assert leaking == pytest.approx(2 / 3)
  values = score(
    {name: METRICS[name] for name in NAMES}, MERGED, LABEL, classes=2, probabilities=probabilities
  )
  assert [values[name][1] for name in NAMES] == pytest.approx([1.0, 1.0])


def test_the_class_may_be_the_inside_of_the_segments():
  for metric in (v_rand, v_info):
    inside = of(metric, 1 - WIDE, 1 - LABEL, membrane=False, thin=False)
    assert inside == pytest.approx(of(metric, WIDE, thin=False))


def test_integer_predictions_of_regions_are_no_classes():
  # what thresholded scores are, beside a float label of regions
  for metric in (v_rand, v_info):
    expected = [of(metric, x, y) for x, y in ((LABEL, LABEL), (MERGED, LABEL))]
    prediction = np.stack([LABEL, MERGED], -1)
    label = np.stack([LABEL, LABEL], -1).astype(np.float32)
    np.testing.assert_allclose(metric(prediction, label, None, 2), expected)
    np.testing.assert_allclose(metric(prediction > 0, label, None, 2), expected)


def test_sections_are_scored_one_by_one_where_asked():
  prediction, label = np.stack([LABEL, MERGED]), np.stack([LABEL, LABEL])
  assert of(v_rand, prediction, label, sections=True) == pytest.approx((1 + 2 / 3) / 2)
  # in 3D the second section joins the two cells of the first: a merger
  assert of(v_rand, prediction, label) == pytest.approx(2 / 3)


def test_ignored_voxels_are_in_no_segment():
  weight = np.ones(LABEL.shape)
  weight[:, 4:] = 0
  assert of(v_rand, MERGED, weight=weight) == pytest.approx(1.0)


def test_a_label_without_segments_is_undefined():
  everywhere = np.ones_like(LABEL)
  for metric in (v_rand, v_info):
    assert np.isnan(of(metric, LABEL, everywhere))
    assert np.isnan(metric(LABEL, LABEL, None, 2)[0])
    # no segment predicted: each voxel is one of its own
    assert 0 < of(metric, everywhere) < 1


def test_options_out_of_range_are_refused_in_words():
  with pytest.raises(ValueError, match="v_rand: alpha is 2; expected 0 to 1"):
    of(v_rand, LABEL, alpha=2)
  with pytest.raises(ValueError, match=r"v_info: thresholds are \(1.0,\); expected at least one"):
    of(v_info, LABEL, thresholds=(1.0,))
  with pytest.raises(ValueError, match=r"sections are those of a volume; .* is \(4, 7\)"):
    of(v_rand, LABEL, sections=True)
  with pytest.raises(ValueError, match=r"v_info: the probabilities have shape \(4, 7\)"):
    of(v_info, LABEL, probabilities=np.zeros((4, 7)))
