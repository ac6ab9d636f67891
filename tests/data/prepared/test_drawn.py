"""What is drawn on full labels in an annotator's place."""

import numpy as np
import pytest
from scipy import ndimage

from jaxseg.data.prepared.drawn import box_masks, slices, strokes


def label():
  """Two discs side by side in each of three slices, of values 3 and 7; the last without a 7."""
  y, x = np.mgrid[:30, :40]
  out = np.zeros((3, 30, 40), np.int32)
  out[:, (y - 14) ** 2 + (x - 12) ** 2 < 81] = 3
  out[:2, (y - 15) ** 2 + (x - 30) ** 2 < 49] = 7
  return out


@pytest.mark.parametrize("way", ["stroke", "skeleton"])
def test_each_class_of_each_slice_has_one_connected_scribble_inside_of_it(way):
  full = label()
  drawn = strokes(full, "case_1", way=way)
  for n in range(3):
    for value in np.unique(full[n]):
      mine = drawn[n] & (full[n] == value)
      assert mine.any()
      assert way != "stroke" or ndimage.label(mine, np.ones((3, 3)))[1] == 1
      # away from the border, and far less than the class
      inner = ndimage.binary_erosion(full[n] == value, border_value=1)
      assert not (mine & ~inner).any()
      assert mine.sum() < 0.25 * (full[n] == value).sum()


def test_a_scribble_follows_from_seed_and_case():
  full = label()
  first = strokes(full, "case_1", seed=3)
  np.testing.assert_array_equal(first, strokes(full, "case_1", seed=3))
  assert (first != strokes(full, "case_2", seed=3)).any()
  assert (first != strokes(full, "case_1", seed=4)).any()
  # of a slice, whatever the others are
  np.testing.assert_array_equal(first[:2], strokes(full[:2], "case_1", seed=3))


def test_a_wide_scribble_stays_in_its_class():
  full = label()
  thin, wide = (strokes(full, "a", width=width) for width in (1, 5))
  assert (wide | thin).sum() == wide.sum() > 2 * thin.sum()
  for value in (3, 7):
    # the same class is never drawn in another one's place
    grown = ndimage.binary_dilation(thin & (full == value), iterations=2)
    assert not ((wide & (full == value)) & ~grown).any()


def test_a_class_of_one_voxel_is_marked():
  full = np.zeros((6, 6), np.int32)
  full[2, 3] = 1
  for way in ("stroke", "skeleton"):
    assert strokes(full, "a", way=way)[2, 3]


def test_a_volume_without_slices_is_scribbled_on_as_a_whole():
  drawn = strokes(label(), "a", axis=None)
  for value in (0, 3, 7):
    mine = drawn & (label() == value)
    assert ndimage.label(mine, np.ones((3, 3, 3)))[1] == 1


def test_every_nth_slice_or_those_that_are_named():
  full = np.zeros((7, 2, 3), np.int32)
  np.testing.assert_array_equal(slices(full, "a", every=3).any((1, 2)), [1, 0, 0, 1, 0, 0, 1])
  np.testing.assert_array_equal(
    slices(full, "a", every=4, first=1).any((1, 2)), [0, 1, 0, 0, 0, 1, 0]
  )
  chosen = {"a": (2, 6), "b": (0,)}
  np.testing.assert_array_equal(slices(full, "a", chosen=chosen).all((1, 2)), [0, 0, 1, 0, 0, 0, 1])
  np.testing.assert_array_equal(slices(full, "b", axis=2, every=2).all((0, 1)), [1, 0, 1])
  # a short case isn't left without a label
  np.testing.assert_array_equal(slices(full[:2], "a", every=9, first=5).any((1, 2)), [0, 1])


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({}, "expected either `every`"),
    ({"every": 2, "chosen": {"a": (0,)}}, "expected either `every`"),
    ({"chosen": {"b": (0,)}}, "`chosen` has no slices of case 'a'"),
    ({"chosen": {"a": (7,)}}, "case 'a' has no slice 7; it has 7 of them"),
    ({"every": 2, "axis": 3}, "axis 3 of an image of 3 axes"),
  ],
)
def test_slices_that_there_are_not_are_told(options, words):
  with pytest.raises(ValueError, match=words):
    slices(np.zeros((7, 2, 3), np.int32), "a", **options)


def test_a_box_is_as_wide_as_its_class_in_each_slice_or_in_all():
  full = label()
  masks = np.stack([full == 3, full == 7], -1)
  each, whole = (box_masks(masks, axis=axis) for axis in (0, None))
  for k, value in enumerate((3, 7)):
    for n in range(3):
      inside = np.argwhere(full[n] == value)
      expected = np.zeros((30, 40), bool)
      if len(inside):
        (y0, x0), (y1, x1) = inside.min(0), inside.max(0)
        expected[y0 : y1 + 1, x0 : x1 + 1] = True
      np.testing.assert_array_equal(each[n, ..., k], expected)
  assert not whole[2, ..., 1].any()
  assert whole[..., 0].sum() == each[..., 0].sum()
  wide = box_masks(masks, axis=0, margin=2)
  assert wide[0, ..., 1].sum() == (13 + 4) ** 2
  assert not wide[2, ..., 1].any()
