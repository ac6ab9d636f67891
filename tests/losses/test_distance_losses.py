"""Distance transforms on the device, the boundary and Hausdorff losses, the border's weights."""

import functools

import distances
import jax
import numpy as np
import pytest
from closeness import assert_close
from scipy import ndimage

from jaxseg.batch import Target
from jaxseg.losses import (
  boundary,
  cross_entropy,
  deep_supervision,
  focal,
  hausdorff,
  topk_cross_entropy,
)
from jaxseg.losses.transforms import distance_transform

RNG = np.random.default_rng(0)
transform = jax.jit(distance_transform)


@pytest.mark.parametrize(
  ("shape", "spacing"),
  [((9, 14), (1, 1)), ((9, 14), (0.7, 2.5)), ((6, 7, 9), (1, 1, 1)), ((6, 7, 9), (3, 1, 0.8))],
)
def test_the_transform_equals_scipys_on_random_masks(shape, spacing):
  for share in (0.02, 0.1, 0.5, 0.95):
    for seed in range(3):
      sources = np.random.default_rng(seed).random(shape) < share
      sources[0, 0] = True
      expected = ndimage.distance_transform_edt(~sources, sampling=spacing)
      found = transform(sources, np.array(spacing, np.float32))
      assert_close(found, expected)


def test_the_transform_takes_any_rank_and_lone_sources():
  for shape in ((11,), (4, 3, 3, 2)):
    sources = np.zeros(shape, bool)
    sources[(-1,) * len(shape)] = True
    assert_close(transform(sources), distances.to_nearest(sources))


def test_without_sources_everything_is_infinitely_far_and_sources_are_at_0():
  assert np.isinf(transform(np.zeros((5, 4), bool))).all()
  np.testing.assert_array_equal(transform(np.ones((5, 4), bool)), 0)


def test_a_spacing_of_another_rank_is_refused():
  with pytest.raises(ValueError, match=r"spacing has shape \(3,\); expected \(2,\)"):
    distance_transform(np.ones((5, 4), bool), (1.0, 1.0, 1.0))


def logits_of(p):
  """Two classes' logits of a given foreground probability, (1, *space, 2)."""
  p = np.clip(np.asarray(p, np.float64), 1e-12, 1 - 1e-12)
  return np.stack([np.zeros_like(p), np.log(p / (1 - p))], -1).astype(np.float32)[None]


def test_the_boundary_loss_of_a_square_has_the_known_values():
  label = np.zeros((5, 5), int)
  label[1:4, 1:4] = 1
  phi = distances.signed(label, 2)[None].astype(np.float32)
  target = Target(label[None], maps={"distance": phi})
  p = np.full((5, 5), 0.1)
  p[1:4, 1:4], p[0, 0] = 0.8, 0.6
  for scores, value in ((p, 0.066912), (label, -0.04), (np.ones((5, 5)), 0.666274)):
    assert_close(jax.jit(boundary)(logits_of(scores), target), value, atol=2e-6)
  region = target._replace(labels=label[None, ..., None], maps={"distance": phi[..., 1:]})
  assert_close(boundary(logits_of(p)[..., 1:], region, sigmoid=True), 0.066912, atol=2e-6)


def test_the_boundary_loss_averages_the_classes_by_their_weights():
  logits = RNG.normal(size=(2, 4, 5, 3)).astype(np.float32)
  phi = RNG.normal(size=logits.shape).astype(np.float32)
  weight = RNG.random((2, 4, 5)).astype(np.float32)
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  by_class = (weight[..., None] * p * phi).sum((0, 1, 2)) / weight.sum()
  target = Target(np.zeros((2, 4, 5), int), weight, {"distance": phi})
  for options, shares in (
    ({}, (0, 1 / 2, 1 / 2)),
    ({"include_background": True}, (1 / 3, 1 / 3, 1 / 3)),
    ({"class_weights": (9, 1, 3)}, (0, 1 / 2, 3 / 2)),
  ):
    expected = by_class @ np.array(shares)
    assert_close(boundary(logits, target, **options), expected, atol=1e-6)


def test_a_missing_or_misshapen_map_is_told():
  logits, labels = np.zeros((1, 4, 5, 3), np.float32), np.zeros((1, 4, 5), int)
  with pytest.raises(ValueError, match="boundary: the batch has no 'distance' map"):
    boundary(logits, Target(labels))
  with pytest.raises(ValueError, match="cross_entropy: the batch has no 'border' map"):
    cross_entropy(logits, Target(labels), weight_map="border")
  maps = {"distance": np.zeros((1, 4, 5, 2), np.float32)}
  with pytest.raises(ValueError, match=r"shape \(1, 4, 5, 2\); expected \(1, 4, 5, 3\)"):
    boundary(logits, Target(labels, maps=maps))


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


def test_a_weight_map_multiplies_the_weights_of_cross_entropy():
  logits = RNG.normal(size=(2, 4, 5, 3)).astype(np.float32)
  labels = RNG.integers(0, 3, (2, 4, 5))
  border, weight = RNG.random((2, 2, 4, 5)).astype(np.float32)
  logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  each = -np.take_along_axis(logs, labels[..., None], -1)[..., 0]
  for given, whole in ((None, border), (weight, weight * border)):
    value = cross_entropy(logits, Target(labels, given, {"border": border}), weight_map="border")
    assert_close(value, (whole * each).sum() / whole.sum())


@pytest.mark.parametrize(
  "loss", [functools.partial(topk_cross_entropy, share=1.0), functools.partial(focal, gamma=0.0)]
)
def test_a_weight_map_multiplies_the_weights_of_what_cross_entropy_is_a_case_of(loss):
  logits = RNG.normal(size=(2, 4, 5, 3)).astype(np.float32)
  labels = RNG.integers(0, 3, (2, 4, 5))
  target = Target(labels, None, {"border": RNG.random((2, 4, 5)).astype(np.float32)})
  expected = cross_entropy(logits, target, weight_map="border")
  assert_close(loss(logits, target, weight_map="border"), expected)
