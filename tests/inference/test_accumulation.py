"""The weighted mean over windows, beside loops over voxels; what is held meanwhile."""

import itertools

import numpy as np
import pytest

from jaxseg.inference import Case, accumulation, sliding_window
from jaxseg.inference.accumulation import Accumulator
from jaxseg.inference.windows import window_starts

RNG = np.random.default_rng


def looped(space, window, starts, weights, scores):
  """sum w s / sum w of every voxel, window by window, in float64."""
  total = np.zeros((*space, scores.shape[-1]))
  seen = np.zeros((*space, 1))
  for n, at in enumerate(itertools.product(*starts)):
    for inside in itertools.product(*(range(w) for w in window)):
      w = np.prod([weights[a][i] for a, i in enumerate(inside)])
      voxel = tuple(s + i for s, i in zip(at, inside, strict=True))
      total[voxel] += w * scores[n][inside]
      seen[voxel] += w
  return total / seen


CASES = [((9, 7), (4, 3)), ((4, 11), (4, 5)), ((7, 6, 5), (3, 4, 2)), ((5, 5), (1, 2))]


@pytest.mark.parametrize(("space", "window"), CASES)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_sums_of_windows_equal_a_loop_over_voxels(space, window, dtype):
  starts = [window_starts(n, w, 0.5) for n, w in zip(space, window, strict=True)]
  weights = [RNG(a).uniform(0.1, 1, w) for a, w in enumerate(window)]
  count = int(np.prod([len(s) for s in starts]))
  scores = RNG(3).normal(size=(count, *window, 2)).astype(np.float32)
  found, given = np.full((*space, 2), np.nan), np.zeros(space, int)

  def give(region, part):
    found[region] = part
    given[region] += 1

  sums = Accumulator(starts, weights, np.dtype(dtype))
  for n, index in enumerate(itertools.product(*(range(len(s)) for s in starts))):
    sums.add(index, scores[n], give)
  np.testing.assert_array_equal(given, 1)
  truth = looped(space, window, starts, weights, scores)
  # half precision rounds each of up to eight parts by 2^-11 of scores below 4
  atol = 1e-5 if dtype == "float32" else 8 * 4 * 2**-11
  np.testing.assert_allclose(found, truth, rtol=1e-5, atol=atol)


def test_threads_add_the_same_bits(monkeypatch):
  starts, weights = [[0, 2, 5], [0, 3]], [np.arange(1.0, 6), np.arange(1.0, 5)]
  scores = RNG(0).normal(size=(6, 5, 4, 3)).astype(np.float32)

  def summed():
    found = np.empty((10, 7, 3), np.float32)
    sums = Accumulator(starts, weights)
    for n, index in enumerate(itertools.product(range(3), range(2))):
      sums.add(index, scores[n], found.__setitem__)
    return found

  alone = summed()
  monkeypatch.setattr(accumulation, "_LARGE", 1)
  np.testing.assert_array_equal(summed(), alone)


def test_half_precision_holds_the_corners_of_a_gaussian():
  """A corner's weight is 1e-11 of the peak's, far below what float16 knows."""
  case = Case({"image": np.full((40, 40, 40, 1), 3.25, np.float32), "spacing": np.ones(3)})
  scores = sliding_window(
    lambda batch: {"logits": batch["image"]}, case, patch=16, precision="float16"
  )
  np.testing.assert_allclose(scores, 3.25, rtol=2**-9)
  assert scores[0, 0, 0, 0] == 3.25


def test_a_case_of_one_window_gets_the_networks_own_bits():
  case = Case({"image": RNG(0).normal(size=(6, 7, 1)).astype(np.float32), "spacing": np.ones(2)})
  scores = sliding_window(lambda batch: {"logits": batch["image"]}, case, patch=8)
  np.testing.assert_array_equal(scores, case.image)


@pytest.mark.parametrize(("space", "patch"), [((20, 9), (8, 8)), ((5, 30, 3), (8, 6, 4))])
def test_parts_cover_the_case_once_and_equal_the_whole(space, patch):
  case = Case(
    {"image": RNG(0).normal(size=(*space, 2)).astype(np.float32), "spacing": np.ones(len(space))}
  )
  whole = sliding_window(lambda batch: {"logits": batch["image"] * 2}, case, patch=patch)
  seen, parts = np.zeros(space, int), np.empty_like(whole)

  def into(region, scores):
    assert scores.dtype == np.float32
    seen[region] += 1
    parts[region] = scores

  options = {"patch": patch, "into": into}
  assert sliding_window(lambda batch: {"logits": batch["image"] * 2}, case, **options) is None
  np.testing.assert_array_equal(seen, 1)
  np.testing.assert_array_equal(parts, whole)


def test_no_more_waits_than_the_overlap_across_the_case():
  """Half a window of the longest axis, and half a window's row of the one before it."""
  space, window = (64, 16, 16), (8, 8, 8)
  starts = [window_starts(n, w, 0.5) for n, w in zip(space, window, strict=True)]
  sums = Accumulator(starts, [np.ones(8)] * 3)
  most = 0
  for index in itertools.product(*(range(len(s)) for s in starts)):
    sums.add(index, np.zeros((*window, 1), np.float32), lambda *_: None)
    most = max(most, sum(part.size for part in sums._sums.values()))
  assert most <= 4 * 16 * 16 + 8 * 8 * 16
  assert not sums._sums


def test_the_longest_axis_is_the_outermost():
  columns = []

  def apply(batch):
    columns.append(int(batch["image"][0, 0, 0, 0]) % 32)
    return {"logits": batch["image"]}

  image = np.arange(16 * 32, dtype=np.float32).reshape(16, 32, 1)
  sliding_window(
    apply, Case({"image": image, "spacing": np.ones(2)}), patch=8, overlap=0.0, batch=1
  )
  assert columns == [0, 0, 8, 8, 16, 16, 24, 24]


def test_unknown_precision_is_refused_in_words():
  case = Case({"image": np.zeros((8, 8, 1), np.float32), "spacing": np.ones(2)})
  with pytest.raises(ValueError, match=r"predictor.precision: 'half'.*float32, float16"):
    sliding_window(lambda batch: {"logits": batch["image"]}, case, patch=8, precision="half")
