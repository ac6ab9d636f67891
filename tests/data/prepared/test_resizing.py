"""Resampling against scikit-image and SciPy, and the rules that nnU-Net documents."""

import numpy as np
import pytest
from closeness import assert_close
from scipy import ndimage
from skimage.transform import resize as skimage_resize

from jaxseg.data.prepared.resizing import coarse_axis, resize, resize_label, resized_shape

GRIDS = [
  ((11, 13, 9), (17, 8, 9)),
  ((5, 20, 21), (12, 15, 33)),
  ((7, 6), (3, 15)),
  ((1, 9), (4, 9)),
]


def image(shape):
  return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize(("shape", "new"), GRIDS)
def test_all_axes_together_equal_scikit_image(shape, new, order):
  array = image(shape)
  expected = skimage_resize(
    array.astype(np.float64), new, order, mode="edge", anti_aliasing=False, clip=True
  )
  assert_close(resize(array, new, (order,) * len(shape)), expected, atol=2e-6)


@pytest.mark.parametrize("order", [0, 1, 3])
def test_all_axes_together_equal_scipys_zoom_before_values_are_cut_off(order):
  array = image((8, 9, 10))
  new = (12, 6, 10)
  zoom = [m / n for n, m in zip(array.shape, new, strict=True)]
  expected = ndimage.zoom(array, zoom, order=order, mode="nearest", grid_mode=True)
  expected = np.clip(expected, array.min(), array.max())
  assert_close(resize(array, new, (order,) * 3), expected, atol=2e-6)


@pytest.mark.parametrize("size", [3, 12])
def test_an_axis_apart_equals_slices_resized_one_by_one_then_the_nearest_slice(size):
  array = image((6, 10, 9))
  slices = np.stack(
    [skimage_resize(s.astype(np.float64), (14, 7), 3, mode="edge", clip=True) for s in array]
  )
  at = (np.arange(size) + 0.5) * 6 / size - 0.5
  grid = np.meshgrid(at, np.arange(14), np.arange(7), indexing="ij")
  expected = ndimage.map_coordinates(slices, grid, order=0, mode="nearest")
  assert_close(resize(array, (size, 14, 7), (0, 3, 3)), expected, atol=2e-6)


def test_constant_stays_constant_and_no_value_beyond_the_image_appears():
  assert_close(resize(np.full((4, 5, 6), 3.5), (9, 3, 6), (3, 3, 3)), 3.5, atol=1e-6)
  step = np.repeat([0.0, 1.0], 8)[:, None] * np.ones((1, 4))
  out = resize(step, (41, 4), (3, 3))
  assert (out.min(), out.max()) == (0, 1)


def test_same_size_changes_no_bit():
  array = image((4, 5, 6))
  np.testing.assert_array_equal(resize(array, (4, 5, 6), (3, 3, 3)), array)


@pytest.mark.parametrize("orders", [(1, 1, 1), (0, 1, 1), (0, 0, 0)])
def test_label_is_that_of_the_largest_share(orders):
  blobs = np.random.default_rng(1).integers(0, 4, (4, 5, 5)) * 7
  label = ndimage.zoom(blobs, 3, order=0)
  label[label == 14] = 0  # a declared value that is absent
  new = (7, 21, 11)
  shares = [resize(label == value, new, orders) for value in (0, 7, 14, 21)]
  order = np.argsort(shares, 0, kind="stable")
  expected = np.array([0, 7, 14, 21])[order[-1]]
  found = resize_label(label, new, orders, (0, 7, 14, 21))
  clear = np.sort(shares, 0)[-1] - np.sort(shares, 0)[-2] > 1e-6
  np.testing.assert_array_equal(found[clear], expected[clear])
  assert clear.mean() > 0.9
  assert found.dtype == label.dtype


def test_label_follows_nnunets_half_where_one_value_has_more_than_half():
  label = np.zeros((9, 10, 11), np.uint8)
  label[2:7, 3:8, 1:6], label[5:9, 6:, 4:] = 1, 2
  new = (13, 7, 16)
  expected = np.zeros(new, np.uint8)
  decided = np.zeros(new, bool)
  for value in (0, 1, 2):
    share = skimage_resize((label == value).astype(float), new, 1, mode="edge")
    expected[share > 0.5 + 1e-6], decided = value, decided | (share > 0.5 + 1e-6)
  found = resize_label(label, new, (1, 1, 1), (0, 1, 2))
  np.testing.assert_array_equal(found[decided], expected[decided])
  assert decided.mean() > 0.95


def test_of_equal_shares_the_greater_value_wins():
  np.testing.assert_array_equal(resize_label(np.array([[0, 5]]), (1, 1), (1, 1), (0, 5)), [[5]])


def test_shape_is_nnunets_rounding():
  # 2.5 -> 2 and 3.5 -> 4: half to even, as Python rounds; 0.2 -> at least one voxel
  assert resized_shape((5, 7, 1), (1, 1, 1), (2, 2, 5)) == (2, 4, 1)
  assert resized_shape((35, 51, 35), (1.0, 1.0, 1.0), (1.25, 0.8, 1.0)) == (28, 64, 35)


@pytest.mark.parametrize(
  ("spacing", "target", "expected"),
  [
    ((1, 1, 1), (1, 1, 1), None),
    ((3, 1, 1), (3, 1, 1), None),  # more than 3 times, not 3 times
    ((5, 1, 1), (1, 1, 1), 0),
    ((1, 1, 1), (1, 4, 1), 1),
    ((5, 1, 1), (1, 1, 9), 0),  # the first grid decides
    ((0.24, 1.25, 1.25), (1, 1, 1), None),  # two long axes
    ((9, 1), (1, 1), None),  # pictures
  ],
)
def test_axis_apart_is_the_lone_long_one_of_an_anisotropic_grid(spacing, target, expected):
  assert coarse_axis(spacing, target) == expected
