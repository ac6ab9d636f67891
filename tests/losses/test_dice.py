"""Dice and its relatives (Jaccard, Tversky) against numpy, and what becomes of absent classes."""

import functools

import jax
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.batch import Target
from jaxseg.losses import dice, focal_tversky, generalized_dice, jaccard, tversky


def inputs():
  """Logits, labels of which the second sample lacks class 2, weights with ignored voxels."""
  random = np.random.default_rng(5)
  logits = random.normal(size=(2, 4, 5, 3)).astype(np.float32)
  labels = random.integers(0, 3, (2, 4, 5)) % np.array([3, 2])[:, None, None]
  return logits, labels, random.choice([0, 1, 2], labels.shape).astype(np.float32)


def counts(logits, labels, weight, axes):
  """sum w p g, sum w p (1 - g), sum w (1 - p) g."""
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  g, w = np.eye(3)[labels], weight[..., None]
  return ((w * x).sum(axes) for x in (p * g, p * (1 - g), (1 - p) * g))


def value(loss, arrays, **options):
  logits, labels, weight = arrays
  return jax.jit(functools.partial(loss, **options))(logits, Target(labels, weight))


def test_dice_is_taken_per_sample_or_over_the_batch():
  logits, labels, _ = inputs()
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  g = np.eye(3)[labels]
  by_sample = 1 - 2 * (p * g).sum((1, 2)) / (p + g).sum((1, 2))
  of_batch = 1 - 2 * (p * g).sum((0, 1, 2)) / (p + g).sum((0, 1, 2))
  assert_close(dice(logits, Target(labels)), by_sample.mean(), atol=1e-5)
  assert_close(dice(logits, Target(labels), batch=True), of_batch.mean(), atol=1e-5)
  weighted = dice(logits, Target(labels), batch=True, class_weights=(0, 1, 3))
  assert_close(weighted, (of_batch[1] + 3 * of_batch[2]) / 3, atol=1e-5)


def test_dice_keeps_every_region_where_there_is_no_background():
  logits = np.zeros((1, 2, 2, 3), np.float32)
  regions = np.random.default_rng(0).integers(0, 2, (1, 2, 2, 3)).astype(np.float32)
  values = [
    dice(logits, Target(regions), sigmoid=True, include_background=b) for b in (True, False)
  ]
  assert values[0] == values[1]


@pytest.mark.parametrize(("batch", "axes"), [(False, (1, 2)), (True, (0, 1, 2))])
def test_tversky_weighs_false_positives_by_alpha_and_negatives_by_beta(batch, axes):
  arrays = inputs()
  tp, fp, fn = counts(*arrays, axes)
  index = tp / (tp + 0.2 * fp + 0.9 * fn)
  options = {"alpha": 0.2, "beta": 0.9, "batch": batch}
  assert_close(value(tversky, arrays, **options), (1 - index).mean(), atol=1e-5)
  found = value(focal_tversky, arrays, gamma=2, include_background=False, **options)
  assert_close(found, np.sqrt(1 - index[..., 1:]).mean(), atol=1e-5)


def test_jaccard_is_intersection_over_union_or_squared():
  logits, labels, weight = inputs()
  tp, fp, fn = counts(logits, labels, weight, (1, 2))
  found = value(jaccard, (logits, labels, weight), class_weights=(0, 1, 3))
  expected = (1 - tp / (tp + fp + fn)) @ np.array([0, 1, 3]) / 3
  assert_close(found, expected.mean(), atol=1e-5)
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  squares = (weight[..., None] * (p**2 + np.eye(3)[labels])).sum((1, 2))
  found = value(jaccard, (logits, labels, weight), squared=True)
  assert_close(found, (1 - tp / (squares - tp)).mean(), atol=1e-5)


@pytest.mark.parametrize(
  ("weighting", "power", "batch"),
  [("square", 2, True), ("simple", 1, False), ("uniform", 0, False)],
)
def test_generalized_dice_weighs_classes_by_their_size(weighting, power, batch):
  arrays = inputs()
  tp, fp, fn = counts(*arrays, (0, 1, 2) if batch else (1, 2))
  size = np.atleast_2d(tp + fn)
  # an absent class has the weight of the rarest one that is present
  smallest = np.where(size > 0, size, np.inf).min(1, keepdims=True)
  w = 1 / np.where(size > 0, size, smallest) ** power
  ratio = 2 * (w * tp).sum(1) / (w * np.atleast_2d(2 * tp + fp + fn)).sum(1)
  found = value(generalized_dice, arrays, weighting=weighting, batch=batch)
  assert_close(found, (1 - ratio).mean(), atol=1e-5)


def test_smoothing_does_not_drown_large_classes_in_generalized_dice():
  # weights of 1e-8 beside a smoothing of 1e-5
  random = np.random.default_rng(0)
  arrays = (random.normal(size=(1, 150, 200, 3)).astype(np.float32),)
  arrays += (random.integers(0, 3, (1, 150, 200)), np.ones((1, 150, 200), np.float32))
  tp, fp, fn = counts(*arrays, (1, 2))
  w = 1 / (tp + fn) ** 2
  expected = 1 - 2 * (w * tp).sum() / (w * (2 * tp + fp + fn)).sum()
  assert_close(value(generalized_dice, arrays), expected, atol=1e-5)


def test_generalized_dice_without_any_foreground_counts_false_positives():
  logits = np.zeros((1, 4, 4, 3), np.float32)
  arrays = (logits, np.zeros((1, 4, 4), int), np.ones((1, 4, 4), np.float32))
  found = value(generalized_dice, arrays, include_background=False)
  assert_close(found, 1, atol=1e-5)


def test_an_unknown_weighting_is_refused():
  logits, labels, _ = inputs()
  with pytest.raises(ValueError, match="'cube' is unknown; choices: square, simple, uniform"):
    generalized_dice(logits, Target(labels), weighting="cube")
