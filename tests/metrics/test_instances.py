import numpy as np
import pytest
from scipy import ndimage

from jaxseg.metrics import (
  METRICS,
  class_masks,
  lesion_f1,
  lesion_precision,
  lesion_sensitivity,
  panoptic_quality,
  recognition_quality,
  score,
  segmentation_quality,
)

LESION = (lesion_sensitivity, lesion_precision, lesion_f1)
PANOPTIC = (panoptic_quality, segmentation_quality, recognition_quality)


def boxes(*slices, shape=(12, 12)):
  """A mask of rectangles, (first row, last row, first column, last column)."""
  mask = np.zeros(shape, np.int32)
  for top, bottom, left, right in slices:
    mask[top : bottom + 1, left : right + 1] = 1
  return mask


# four lesions: two joined by one prediction, one hit by a corner, one missed
LABEL = boxes((0, 1, 0, 1), (0, 1, 4, 5), (5, 8, 0, 3), (10, 11, 9, 11))
# the join (12 voxels), the corner with much beside it (12 voxels), and two inventions
PREDICTION = boxes((0, 1, 0, 5), (8, 9, 3, 8), (3, 3, 10, 11), (6, 6, 11, 11))


def of(metric, prediction=PREDICTION, label=LABEL, weight=None, classes=2, **options):
  masks = class_masks(prediction, label, weight, classes=classes)
  return metric(masks, options.pop("instances", None), **options)


def test_lesions_are_found_by_any_overlap():
  # 3 of 4 lesions found, 2 of 4 predictions right
  assert of(lesion_sensitivity)[1] == pytest.approx(3 / 4)
  assert of(lesion_precision)[1] == pytest.approx(2 / 4)
  assert of(lesion_f1)[1] == pytest.approx(2 * 0.75 * 0.5 / 1.25)


def test_lesions_may_have_to_overlap_by_a_share():
  # IoU of the join with each of its two: 4 / 12; of the corner: 1 / (16 + 12 - 1)
  assert of(lesion_sensitivity, iou=1 / 3)[1] == pytest.approx(2 / 4)
  assert of(lesion_precision, iou=1 / 3)[1] == pytest.approx(1 / 4)
  assert of(lesion_f1, iou=1 / 27)[1] == pytest.approx(2 * 0.75 * 0.5 / 1.25)
  assert of(lesion_f1, iou=0.34)[1] == 0


def test_diagonal_neighbours_are_one_lesion_unless_faces_count_only():
  label = np.eye(4, dtype=np.int32)
  prediction = np.zeros((4, 4), np.int32)
  prediction[0, 0] = 1
  assert of(lesion_sensitivity, prediction, label)[1] == 1
  assert of(lesion_sensitivity, prediction, label, connectivity=1)[1] == 1 / 4
  with pytest.raises(ValueError, match="connectivity is 3; expected a whole number from 1 to 2"):
    of(lesion_f1, connectivity=3)


def test_panoptic_quality_is_that_of_a_worked_example():
  # IoU 3 / 4 (a match), exactly 1 / 2 (none), and a miss
  label = boxes((0, 1, 0, 1), (5, 5, 0, 1), (9, 9, 9, 9))
  prediction = boxes((0, 1, 0, 0), (0, 0, 1, 1), (5, 5, 1, 1))
  prediction[5, 1] = 1
  sq, rq = 3 / 4, 1 / (1 + 1 / 2 + 2 / 2)
  assert of(panoptic_quality, prediction, label)[1] == pytest.approx(sq * rq)
  assert of(segmentation_quality, prediction, label)[1] == pytest.approx(sq)
  assert of(recognition_quality, prediction, label)[1] == pytest.approx(rq)


def test_touching_instances_are_told_apart_by_their_numbers():
  label_ids = np.array([[7, 7, 3, 3, 3, 0], [7, 7, 3, 3, 3, 0]])
  predicted_ids = np.array([[1, 1, 1, 2, 2, 0], [1, 1, 1, 2, 2, -4]])
  pair = (predicted_ids != 0).astype(np.int32), (label_ids != 0).astype(np.int32)
  # 1 and 7: 4 / 6; 2 and 3: 4 / 6; -4 is invented
  together = {"instances": (predicted_ids, label_ids)}
  assert of(panoptic_quality, *pair, **together)[1] == pytest.approx((4 / 6 * 2) / 2.5)
  assert of(lesion_precision, *pair, **together)[1] == pytest.approx(2 / 3)
  values = score({"pq": panoptic_quality}, *pair, classes=2, instances=together["instances"])
  assert values["pq"][1] == pytest.approx((4 / 6 * 2) / 2.5)
  with pytest.raises(ValueError, match=r"map of the label has shape \(2, 5\); expected \(2, 6\)"):
    of(panoptic_quality, *pair, instances=(predicted_ids, label_ids[:, :5]))


@pytest.mark.parametrize("rank", [2, 3])
def test_random_masks_agree_with_loops_over_objects(rank):
  random = np.random.default_rng(rank)
  whole = np.ones((3,) * rank)
  for _ in range(5):
    pair = ndimage.gaussian_filter(random.normal(size=(2, *(18,) * rank)), (0, *(1.2,) * rank))
    prediction, label = np.digitize(pair + 0.15 * pair[::-1], [0.15, 0.3]).astype(np.int32)
    for c in (1, 2):
      objects = []
      for array in (prediction, label):
        ids, count = ndimage.label(array == c, whole)
        objects.append([ids == i + 1 for i in range(count)])
      iou = np.array([[(p & t).sum() / (p | t).sum() for t in objects[1]] for p in objects[0]])
      n = iou.shape
      for threshold in (0.0, 0.2):
        hit = (iou >= threshold) & (iou > 0)
        sensitivity, precision = hit.any(0).mean(), hit.any(1).mean()
        got = [of(m, prediction, label, classes=3, iou=threshold)[c] for m in LESION[:2]]
        np.testing.assert_allclose(got, [sensitivity, precision])
      matched = iou[iou > 0.5]
      rq = len(matched) / (len(matched) + (n[0] - len(matched)) / 2 + (n[1] - len(matched)) / 2)
      got = [of(m, prediction, label, classes=3)[c] for m in PANOPTIC]
      sq = matched.mean() if len(matched) else np.nan
      np.testing.assert_allclose(got, [np.nan_to_num(sq) * rq, sq, rq])


def test_objects_absent_from_one_or_both_are_defined():
  empty = np.zeros_like(LABEL)
  for metric in (*LESION, *PANOPTIC):
    assert np.isnan(of(metric, empty, empty)[1])
    assert of(metric, empty, empty, empty=1.0)[1] == 1
    assert np.isnan(of(metric)[0])
  nan = np.nan
  missed = [of(metric, empty, LABEL)[1] for metric in (*LESION, *PANOPTIC)]
  np.testing.assert_array_equal(missed, [0, nan, 0, 0, nan, 0])
  invented = [of(metric, PREDICTION, empty)[1] for metric in (*LESION, *PANOPTIC)]
  np.testing.assert_array_equal(invented, [nan, 0, 0, 0, nan, 0])


def test_ignored_voxels_and_regions_count_as_declared():
  weight = np.ones(LABEL.shape)
  weight[9:, 8:] = 0  # the missed lesion
  weight[3] = weight[6, 11] = 0  # the inventions
  assert of(lesion_f1, weight=weight)[1] == 1
  regions = [np.stack([x, 1 - x], -1).astype(np.float32) for x in (PREDICTION, LABEL)]
  assert of(lesion_sensitivity, *regions)[0] == pytest.approx(3 / 4)


def test_a_share_out_of_range_is_refused_in_words():
  with pytest.raises(ValueError, match=r"iou is 1.5; expected 0 \(any overlap\) to 1"):
    of(lesion_f1, iou=1.5)


def test_all_have_a_row_in_the_table():
  for metric in (*LESION, *PANOPTIC):
    assert METRICS[metric.__name__] is metric
