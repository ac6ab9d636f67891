"""The slices that a report shows: which ones, which way up, how large."""

import numpy as np
import pytest

from jaxseg.batch import LabelSpec
from jaxseg.data import Geometry, RawCase
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.report import views

LABELS = LabelSpec(("background", "a", "b"), (0, 5, 9))


def case(label, geometry=None, channels=1):
  image = np.random.default_rng(0).standard_normal((*label.shape, channels)).astype(np.float32)
  return RawCase(image, label, None, geometry or plain_geometry(label.shape))


def test_each_class_is_shown_where_the_reference_has_most_of_it():
  label = np.zeros((6, 10, 12), np.int32)
  label[1, :2, :2], label[4, :5, :5] = 5, 5
  label[2, 3:5, 3:5] = 9
  found = views.of_case(case(label), np.zeros_like(label), LABELS)
  assert [str(found.names[i]) for i in found.slice_of] == ["slice 5 of 6", "slice 3 of 6"]
  np.testing.assert_array_equal(found.label[found.slice_of[0]], (label[4] == 5) * 1)
  np.testing.assert_array_equal(found.label[found.slice_of[1]], (label[2] == 9) * 2)
  assert not found.prediction.any()


def test_a_class_that_the_reference_lacks_is_shown_where_it_was_predicted():
  label = np.zeros((6, 10, 12), np.int32)
  label[1, :4, :4] = 5
  predicted = np.zeros_like(label)
  predicted[3, 2:4, 2:4] = 9
  found = views.of_case(case(label), predicted, LABELS)
  assert str(found.names[found.slice_of[1]]) == "slice 4 of 6"


def test_a_scan_is_shown_with_its_right_on_the_left_and_front_at_the_top():
  # RAS voxels of 1 x 1 x 3 mm: x grows to the right, y to the front
  affine = np.diag([1.0, 1.0, 3.0, 1.0])
  label = np.zeros((4, 10, 12), np.int32)
  label[2, 9, 11] = 5  # the front right corner
  label[2, 0, 0] = 9  # the back left one
  found = views.of_case(case(label, Geometry(affine, label.shape, "nifti")), label, LABELS)
  assert found.label.shape == (1, 10, 12)
  assert found.label[0, 0, 0] == 1
  assert found.label[0, -1, -1] == 2
  assert str(found.names[0]).startswith("axial")


def test_pixels_that_are_not_square_are_shown_so():
  label = np.zeros((10, 20), np.int32)
  label[2:5, 2:5] = 5
  found = views.of_case(case(label, plain_geometry((10, 20), (2.0, 1.0))), label, LABELS)
  picture = found.picture(0, height=100)
  # 20 mm high, 20 mm wide; three tiles and two gaps of six
  assert picture.shape == (100, 312, 3)
  assert picture.dtype == np.uint8


def test_large_pictures_are_thinned_and_regions_lie_on_top_of_each_other():
  labels = LabelSpec(("whole", "core"), (0, 1, 2), regions=((1, 2), (2,)))
  label = np.zeros((1000, 500), np.int32)
  label[100:700, 100:400] = 1
  label[300:400, 200:300] = 2
  found = views.of_case(case(label, channels=3), label, labels)
  assert max(found.label.shape) <= 448
  assert found.image.shape[-1] == 3
  np.testing.assert_array_equal(found.label[0], label[::3, ::3])


def test_views_come_back_from_their_file_and_missing_ones_are_told(tmp_path):
  label = np.zeros((4, 6, 6), np.int32)
  label[1, 2:4, 2:4] = 5
  found = views.of_case(case(label), label, LABELS)
  views.save(tmp_path, "scan", found)
  again = views.load(tmp_path, "scan")
  for name in views.Views._fields:
    np.testing.assert_array_equal(getattr(found, name), getattr(again, name))
  with pytest.raises(FileNotFoundError, match=r"other\.npz: not found; it is written at the end"):
    views.load(tmp_path, "other")
