"""The windows that hold a target: a place in the middle, parts that are each explained once."""

import functools

import numpy as np
import pytest

from jaxseg.explain import windows
from jaxseg.inference.boxed import boxed
from jaxseg.inference.case import Case
from jaxseg.inference.planes import slices
from jaxseg.inference.windows import sliding_window


def case(shape):
  image = np.arange(np.prod(shape), dtype=np.float32).reshape(*shape, 1)
  return Case({"image": image, "spacing": np.ones(len(shape), np.float32)})


def frame(shape, **options):
  return windows.frame(functools.partial(sliding_window, **options), case(shape))


def test_a_voxel_is_in_the_middle_of_one_window_and_near_the_edge_it_is_moved_in():
  of = frame((20, 30), patch=(8, 8), total_stride=4)
  for place, corner in (((10, 15), (6, 11)), ((0, 29), (0, 22))):
    target = np.zeros((20, 30), bool)
    target[place] = True
    (window,), left = windows.select(of, target, 8)
    assert (window.corner, left) == (corner, 0)
    fields = windows.fields_of(of, window)
    weights = windows.target_of(of, window, np.array([0, 1.0]))
    at = np.argwhere(np.asarray(weights)[0, ..., 1])
    np.testing.assert_array_equal(at, [np.subtract(place, corner)])
    assert fields["image"][0][tuple(at[0])] == place[0] * 30 + place[1]


def test_a_large_target_is_parted_so_that_each_voxel_counts_once():
  of = frame((20, 30), patch=(8, 8))
  target = np.random.default_rng(0).random((20, 30)) < 0.5
  found, left = windows.select(of, target, 1000)
  total = windows.empty(of)
  for window in found:
    windows.add(total, of, window, window.inside.astype(np.float32))
  np.testing.assert_array_equal(windows.whole(of, total), target)
  few, more = windows.select(of, target, 3)
  assert (len(few), left, more) == (3, 0, len(found) - 3)
  assert few[0].inside.sum() == max(window.inside.sum() for window in found)


def test_a_case_smaller_than_the_patch_is_padded_and_valid_convolutions_have_their_margin():
  of = frame((5, 6), patch=(16, 16), margin=4)
  assert (of.scores, of.padded, of.before) == ((8, 8), (8, 8), (1, 1))
  target = np.zeros((5, 6), bool)
  target[4, 0] = True
  (window,), _ = windows.select(of, target, 8)
  image = windows.fields_of(of, window)["image"]
  assert image.shape == (1, 16, 16, 1)
  assert image[0, 4 + 1 + 4, 4 + 1 + 0, 0] == 4 * 6
  assert window.inside[5, 1]
  total = windows.empty(of)
  windows.add(total, of, window, image[0, ..., 0])
  np.testing.assert_array_equal(windows.whole(of, total), case((5, 6)).image[..., 0])


def test_a_2d_network_sees_a_volume_slice_by_slice():
  predict = functools.partial(slices, patch=(4, 4), total_stride=2, axis=1)
  of = windows.frame(predict, case((6, 5, 7)))
  assert (of.patch, of.axis, of.stride) == ((4, 1, 4), 1, (2, 2))
  target = np.zeros((6, 5, 7), bool)
  target[2, 1:3, 3] = True
  found, _ = windows.select(of, target, 8)
  assert sorted(window.corner[1] for window in found) == [1, 2]
  fields = windows.fields_of(of, found[0])
  assert fields["image"].shape == (1, 4, 4, 1)
  assert fields["spacing"].shape == (1, 2)
  assert windows.target_of(of, found[0], np.ones(3)).shape == (1, 4, 4, 3)


def test_a_predictor_that_shows_its_network_other_images_is_refused():
  with pytest.raises(ValueError, match="'boxed' shows its network images that it scales"):
    windows.frame(functools.partial(boxed, patch=(4, 4, 4)), case((8, 8, 8)))
