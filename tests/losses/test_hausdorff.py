"""The Hausdorff loss."""

import distances
import numpy as np
import pytest
from closeness import assert_close
from scipy import ndimage

from jaxseg.batch import Target
from jaxseg.losses import boundary, deep_supervision, hausdorff

RNG = np.random.default_rng(0)


def logits_of(p):
  """Two classes' logits of a given foreground probability, (1, *space, 2)."""
  p = np.clip(np.asarray(p, np.float64), 1e-12, 1 - 1e-12)
  return np.stack([np.zeros_like(p), np.log(p / (1 - p))], -1).astype(np.float32)[None]


def across(mask, spacing):
  """Distance to the nearest voxel on the other side, by brute force."""
  if mask.all() or not mask.any():
    return np.zeros(mask.shape)
  inside = distances.to_nearest(~mask, spacing)
  return np.where(mask, inside, distances.to_nearest(mask, spacing))


@pytest.mark.parametrize("shape", [(6, 7), (4, 5, 3)])
def test_the_hausdorff_loss_equals_brute_force_in_millimetres(shape):
  logits = 3 * RNG.normal(size=(2, *shape, 3)).astype(np.float32)
  labels = RNG.integers(0, 3, (2, *shape))
  labels[1] = np.minimum(labels[1], 1)
  spacing = RNG.uniform(0.5, 3, (2, len(shape))).astype(np.float32)
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  g = np.eye(3)[labels]

  def expected(alpha, unit, classes):
    total = 0
    for i, k in ((i, k) for i in range(2) for k in classes):
      fields = [across(x[i, ..., k] > 0.5, unit[i]) for x in (p, g)]
      power = sum(np.where(field > 0, field, 0) ** alpha for field in fields)
      total += ((p - g)[i, ..., k] ** 2 * power).mean() / (2 * len(classes))
    return total

  target = Target(labels, spacing=spacing)
  for options, value in (
    ({}, expected(2, spacing, (1, 2))),
    ({"include_background": True, "alpha": 1.5}, expected(1.5, spacing, (0, 1, 2))),
    ({"unit": "voxel"}, expected(2, np.ones_like(spacing), (1, 2))),
  ):
    assert_close(hausdorff(logits, target, **options), value)
  blind = target._replace(spacing=None)
  assert_close(hausdorff(logits, blind), expected(2, np.ones_like(spacing), (1, 2)))


def test_an_error_far_from_the_border_costs_more_than_one_beside_it():
  label = np.zeros((1, 12, 12), int)
  label[0, 4:8, 4:8] = 1
  costs = {}
  for place in ((3, 4), (0, 0)):
    p = label[0].astype(float)
    p[place] = 1
    costs[place] = [
      float(loss(logits_of(p), Target(label, maps=maps)))
      for loss, maps in (
        (hausdorff, {}),
        (boundary, {"distance": distances.signed(label[0], 2)[None].astype(np.float32)}),
      )
    ]
  assert costs[0, 0][0] > 5 * costs[3, 4][0]
  assert costs[0, 0][1] > costs[3, 4][1]


def test_erosion_mode_weighs_what_survives_erosions():
  p = np.zeros((2, 9, 8))
  p[0, 1:7, 2:8] = 1
  p[1] = RNG.random((9, 8))
  label = np.zeros((2, 9, 8), int)
  logits = np.concatenate([logits_of(x) for x in p])
  kernel = ndimage.generate_binary_structure(2, 1) / 5
  expected = np.zeros((2, 9, 8))
  for i in range(2):
    error = p[i] ** 2
    for k in range(1, 4):
      error = 2 * np.maximum(ndimage.convolve(error, kernel, mode="constant") - 0.5, 0)
      expected[i] += k**1.5 * error
  value = hausdorff(logits, Target(label), mode="erosion", alpha=1.5, erosions=3)
  np.testing.assert_allclose(value, expected.mean(), rtol=1e-4)


def test_unknown_modes_and_misshapen_spacings_are_told():
  logits, labels = np.zeros((1, 4, 5, 3), np.float32), np.zeros((1, 4, 5), int)
  with pytest.raises(ValueError, match="mode is 'erode'; choices: distance, erosion"):
    hausdorff(logits, Target(labels), mode="erode")
  with pytest.raises(ValueError, match="unit is 'cm'; choices: mm, voxel"):
    hausdorff(logits, Target(labels), unit="cm")
  with pytest.raises(ValueError, match=r"spacing has shape \(2,\); expected \(1, 2\)"):
    hausdorff(logits, Target(labels, spacing=np.ones(2)))


def test_a_coarser_head_measures_the_same_millimetres():
  label = np.zeros((1, 8, 12), int)
  label[0, 2:6, 4:8] = 1
  spacing = np.array([[2.0, 0.5]], np.float32)
  seen = []

  def spy(logits, target):
    seen.append((logits.shape[1:-1], np.asarray(target.spacing)))
    return hausdorff(logits, target)

  heads = [np.zeros((1, 8, 12, 2), np.float32), np.zeros((1, 4, 3, 2), np.float32)]
  deep_supervision(spy)(heads, Target(label, spacing=spacing))
  assert seen[0][0] == (8, 12)
  np.testing.assert_array_equal(seen[0][1], spacing)
  assert seen[1][0] == (4, 3)
  np.testing.assert_array_equal(seen[1][1], [[4.0, 2.0]])
