"""clDice by hand."""

import numpy as np

from jaxseg.metrics import class_masks, cldice


def test_cldice_of_lines_is_as_by_hand():
  label, prediction = np.zeros((9, 12), np.int32), np.zeros((9, 12), np.int32)
  label[4, 1:11] = 1
  prediction[4, 1:5] = 1
  # all of the prediction's line lies in the label, 4 of 10 of the label's in the prediction
  np.testing.assert_allclose(cldice(class_masks(prediction, label, classes=2))[1], 0.8 / 1.4)
  prediction[7, 1:5] = 1
  # half of the prediction's lines: 2 * 0.5 * 0.4 / 0.9
  np.testing.assert_allclose(cldice(class_masks(prediction, label, classes=2))[1], 0.4 / 0.9)


def test_a_thick_tube_in_3d_has_the_middle_line_as_its_centreline():
  label, prediction = np.zeros((9, 9, 30), np.int32), np.zeros((9, 9, 30), np.int32)
  y, x = np.mgrid[-4:5, -4:5]
  label[..., 2:28] = (y**2 + x**2 <= 9)[..., None]
  prediction[3:6, 3:6, 2:28] = 1
  assert cldice(class_masks(prediction, label, classes=2))[1] == 1
  # far from the middle: the prediction's line lies in the label, the label's not in the prediction
  prediction[:] = 0
  prediction[4, 1, 4:26] = 1
  assert cldice(class_masks(prediction, label, classes=2))[1] == 0


def test_an_object_that_thinning_deletes_is_its_own_centreline():
  # of a beam of even width scikit-image's 3D thinning leaves nothing
  label, prediction = np.zeros((8, 8, 24), np.int32), np.zeros((8, 8, 24), np.int32)
  label[2:4, 2:4, 2:22] = 1
  assert cldice(class_masks(label, label, classes=2))[1] == 1
  prediction[2:4, 2:4, 2:12] = 1
  np.testing.assert_allclose(cldice(class_masks(prediction, label, classes=2))[1], 1 / 1.5)
  # a line beside it keeps the line that it is: 10 of 20 + 20 voxels are found
  label[6, 6, 2:22], prediction[:] = 1, 0
  prediction[6, 6, 2:12] = 1
  found = 10 / (2 * 2 * 20 + 20)
  np.testing.assert_allclose(
    cldice(class_masks(prediction, label, classes=2))[1], 2 * found / (1 + found)
  )


def test_cldice_does_not_mind_the_width_of_a_tube():
  label, wide = np.zeros((9, 30), np.int32), np.zeros((9, 30), np.int32)
  label[4, 2:28] = 1
  wide[3:6, 2:28] = 1
  # Dice is 1/2; the thick line's ends thin to a voxel beside the line
  assert cldice(class_masks(wide, label, classes=2))[1] > 0.97


def test_cldice_of_empty_masks_is_documented():
  empty, line, other = (np.zeros((5, 9), np.int32) for _ in range(3))
  line[1, 1:8] = 1
  other[3, 1:8] = 1
  value = {
    pair: cldice(class_masks(*masks, classes=2))[1]
    for pair, masks in {
      "none": (empty, empty),
      "one": (empty, line),
      "apart": (line, other),
    }.items()
  }
  assert np.isnan(value["none"])
  assert value["one"] == value["apart"] == 0
  assert cldice(class_masks(empty, empty, classes=2), empty=1.0)[1] == 1


def test_ignored_voxels_belong_to_no_tube():
  label, prediction = np.zeros((5, 20), np.int32), np.zeros((5, 20), np.int32)
  label[2, 1:10] = 1
  prediction[2, 1:19] = 1
  weight = np.ones((5, 20))
  weight[:, 10:] = 0
  assert cldice(class_masks(prediction, label, weight, classes=2))[1] == 1
