"""Boundary IoU: by hand, against the paper's erosions, and against all pairs of voxels."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from jaxseg.metrics import boundary_iou, class_masks


def random_masks(seed, shape):
  random = np.random.default_rng(seed)
  smooth = np.stack([ndimage.gaussian_filter(n, 2) for n in random.normal(size=(2, *shape))])
  smooth[1] += smooth[0]
  return (smooth > 0).astype(np.int32)


def test_a_shifted_square_overlaps_less_at_its_boundary():
  label, prediction = np.zeros((20, 20), np.int32), np.zeros((20, 20), np.int32)
  label[3:13, 3:13] = 1
  prediction[3:13, 4:14] = 1
  # rims of one pixel: 36 each; both share the rows' 9 pixels twice, the sides nothing
  value = boundary_iou(class_masks(prediction, label, classes=2), (1, 1), width=1)
  np.testing.assert_allclose(value, [np.nan, 18 / (36 + 36 - 18)])


@pytest.mark.parametrize("seed", range(4))
def test_chessboard_widths_are_the_papers_erosions(seed):
  shape = (61, 60) if seed % 2 else (17, 20, 25)
  prediction, label = random_masks(seed, shape)

  def rim(mask, steps):
    box = np.ones((3,) * mask.ndim)
    return mask & ~ndimage.binary_erosion(mask, box, iterations=steps, border_value=0)

  masks = class_masks(prediction, label, classes=2)
  steps = max(1, round(0.02 * np.linalg.norm(shape)))
  for options, width in (({}, steps), ({"width": 3}, 3)):
    p, t = rim(prediction > 0, width), rim(label > 0, width)
    value = boundary_iou(masks, (5,) * len(shape), distance="chessboard", **options)
    np.testing.assert_allclose(value[1], (p & t).sum() / (p | t).sum(), rtol=1e-12)


@pytest.mark.parametrize("ignore", [False, True], ids=["all", "ignored"])
@pytest.mark.parametrize("shape", [(15, 18), (7, 9, 8)])
def test_euclidean_widths_are_the_distances_to_the_nearest_outside(shape, ignore):
  prediction, label = random_masks(len(shape), shape)
  spacing = np.array([2.0, 0.7, 1.1])[: len(shape)]
  weight = np.ones(shape)
  weight[:, 8:] -= ignore
  counted = weight > 0

  def rim(mask, width):
    inside = mask | ~counted
    outside = np.argwhere(~np.pad(inside, 1)) - 1
    near = cdist(np.argwhere(inside) * spacing, outside * spacing).min(1) <= width
    cross = ndimage.generate_binary_structure(mask.ndim, 1)
    out = ~ndimage.binary_erosion(inside, cross, border_value=0)
    out[tuple(np.argwhere(inside)[near].T)] = True
    return out & mask & counted

  masks = class_masks(prediction, label, weight, classes=2)
  for options, width in (
    ({"width": 1.5}, 1.5),
    ({"width": 4}, 4),
    ({"width": 0.2}, 0.2),
    ({"fraction": 0.1}, 0.1 * np.sqrt(np.sum((np.array(shape) * spacing) ** 2))),
  ):
    p, t = rim(prediction > 0, width), rim(label > 0, width)
    value = boundary_iou(masks, spacing, **options)
    np.testing.assert_allclose(value[1], (p & t).sum() / (p | t).sum(), rtol=1e-12)


def test_empty_masks_and_ignored_voxels():
  empty, full = np.zeros((6, 6), np.int32), np.ones((6, 6), np.int32)
  assert np.isnan(boundary_iou(class_masks(empty, empty, classes=2), (1, 1))[1])
  assert boundary_iou(class_masks(empty, empty, classes=2), (1, 1), empty=1.0)[1] == 1
  assert boundary_iou(class_masks(empty, full, classes=2), (1, 1))[1] == 0
  weight = np.ones((6, 6))
  weight[:, 3:] = 0
  # the label ends where it is not known any more: no rim there, and none of the prediction's
  half = full.copy()
  half[:, 3:] = 0
  assert boundary_iou(class_masks(full, half, weight, classes=2), (1, 1), width=1)[1] == 1


def test_wrong_options_are_refused_in_words():
  masks = class_masks(np.ones((4, 4), int), np.ones((4, 4), int), classes=2)
  with pytest.raises(ValueError, match="distance is 'city'; expected one of euclidean, chessboard"):
    boundary_iou(masks, (1, 1), distance="city")
  with pytest.raises(ValueError, match="width is 0; expected a positive number"):
    boundary_iou(masks, (1, 1), width=0)
  with pytest.raises(ValueError, match="fraction is -1; expected a positive number"):
    boundary_iou(masks, (1, 1), fraction=-1)
  with pytest.raises(ValueError, match="expected 2 positive numbers"):
    boundary_iou(masks, (1, 1, 1))
