"""Numbers of sets of samples, against SciPy and searches written out."""

import numpy as np
import pytest
from scipy import linalg, stats

from jaxseg.metrics.generation import (
  NearestImage,
  NearestMask,
  earth_movers_distance,
  frechet_distance,
  pairwise_dice,
  shares,
  turns,
)


def test_dice_of_pairs_counts_foreground_of_one_class_in_both():
  masks = np.array([[0, 1, 1, 2], [0, 1, 2, 2], [0, 1, 1, 2], [0, 0, 0, 0]])
  dice = pairwise_dice(masks, 3)
  # 0 with 1: the second and the fourth voxel of three and three
  np.testing.assert_allclose(dice, [4 / 6, 1, 0, 4 / 6, 0, 0])
  assert np.isnan(pairwise_dice(np.zeros((2, 4), int), 3)).all()


def test_shares_of_the_voxels_of_each_class():
  masks = np.array([[[0, 1], [1, 2]], [[0, 0], [0, 2]]])
  np.testing.assert_allclose(shares(masks, 3), [[0.25, 0.5, 0.25], [0.75, 0, 0.25]])


@pytest.mark.parametrize(("n", "m"), [(5, 5), (7, 30), (1, 4)])
def test_the_earth_movers_distance_is_scipys(n, m):
  random = np.random.default_rng(n)
  a, b = random.standard_normal(n), 2 * random.standard_normal(m) + 1
  expected = stats.wasserstein_distance(a, b)
  assert earth_movers_distance(a, b) == pytest.approx(expected, rel=1e-9)
  assert earth_movers_distance(a, a) == 0


def test_the_frechet_distance_is_the_formula_with_scipys_root_of_a_matrix():
  random = np.random.default_rng(0)
  mix = random.standard_normal((4, 4))
  a, b = random.standard_normal((50, 4)) @ mix, random.standard_normal((40, 4)) * 2 + 1
  means, covariances = a.mean(0) - b.mean(0), [np.cov(x, rowvar=False) for x in (a, b)]
  root = linalg.sqrtm(covariances[0] @ covariances[1]).real
  expected = means @ means + np.trace(covariances[0] + covariances[1] - 2 * root)
  assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)
  assert frechet_distance(a, a) == pytest.approx(0, abs=1e-8)


def test_the_frechet_distance_of_one_feature_is_by_hand():
  a, b = np.array([[0.0], [2.0]]), np.array([[1.0], [9.0]])
  # means 1 and 5, deviations sqrt(2) and sqrt(32)
  assert frechet_distance(a, b) == pytest.approx(16 + (np.sqrt(32) - np.sqrt(2)) ** 2)
  with pytest.raises(ValueError, match="at least two"):
    frechet_distance(a[:1], b)


def test_a_square_has_eight_turns_and_a_rectangle_four():
  square, flat = np.arange(9).reshape(3, 3), np.arange(6).reshape(2, 3)
  assert len({turned.tobytes() for turned in map(np.ascontiguousarray, turns(square, 2))}) == 8
  assert [turned.shape for turned in turns(flat, 2)] == [(2, 3)] * 4
  np.testing.assert_array_equal(next(iter(turns(square, 2))), square)


def dice_of(a, b, classes=3):
  shared = sum(((a == k) & (b == k)).sum() for k in range(1, classes))
  return 2 * shared / ((a > 0).sum() + (b > 0).sum())


def windows(array, size):
  for place in np.ndindex(*(n - m + 1 for n, m in zip(array.shape, size, strict=False))):
    yield place, array[tuple(slice(p, p + m) for p, m in zip(place, size, strict=True))]


@pytest.mark.parametrize("rank", [2, 3])
def test_the_nearest_mask_is_that_of_a_search_of_all_places_and_turns(rank):
  random = np.random.default_rng(3)
  masks = [random.integers(0, 3, (7, 9, 6)[:rank]) for _ in range(2)]
  sample = random.integers(0, 3, (4,) * rank)
  nearest = NearestMask(masks, 3)(sample)
  scored = {
    (turn, case, place): dice_of(turned, window)
    for turn, turned in enumerate(turns(sample, rank))
    for case, mask in enumerate(masks)
    for place, window in windows(mask, turned.shape)
  }
  assert nearest.value == pytest.approx(max(scored.values()), abs=1e-5)
  assert scored[nearest.turn, nearest.case, nearest.start] == pytest.approx(nearest.value, abs=1e-5)


def test_a_copied_window_is_told_whole_however_it_is_turned():
  random = np.random.default_rng(1)
  masks = [random.integers(0, 2, (20, 24)) for _ in range(3)]
  copied = np.rot90(masks[2][5:13, 9:17], 3)[:, ::-1]
  nearest = NearestMask(masks, 2)(copied)
  assert (nearest.case, nearest.start) == (2, (5, 9))
  assert nearest.value == pytest.approx(1, abs=1e-5)
  other = NearestMask(masks, 2)(random.integers(0, 2, (8, 8)))
  assert other.value < 0.98
  assert NearestMask([np.zeros((9, 9), int)], 2)(np.zeros((4, 4), int)).value == 1


def test_the_nearest_image_is_that_of_a_search_of_all_places_and_turns():
  random = np.random.default_rng(2)
  images = [100 + random.standard_normal((8, 9, 2)) for _ in range(2)]
  sample = 100 + random.standard_normal((4, 4, 2))
  nearest = NearestImage(images)(sample)
  scored = {
    (turn, case, place[:2]): np.sqrt(np.mean((turned - window) ** 2))
    for turn, turned in enumerate(turns(sample, 2))
    for case, image in enumerate(images)
    for place, window in windows(image, turned.shape)
  }
  assert nearest.value == pytest.approx(min(scored.values()), rel=1e-6)
  assert scored[nearest.turn, nearest.case, nearest.start] == pytest.approx(nearest.value, rel=1e-6)
  copied = NearestImage(images)(images[1][3:7, 2:6])
  assert (copied.case, copied.start, copied.turn) == (1, (3, 2), 0)
  assert copied.value == pytest.approx(0, abs=1e-6)
