"""Cross entropy against numpy: what is averaged over what, soft labels, regions, hardest voxels."""

import functools

import jax
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.batch import Target
from jaxseg.losses import LOSSES, cross_entropy, focal, topk_cross_entropy

RANDOM = np.random.default_rng(7)
LOGITS = RANDOM.normal(size=(2, 5, 6, 3)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, (2, 5, 6))
WEIGHT = RANDOM.choice([0, 1, 2], LABELS.shape).astype(np.float32)
LOGS = LOGITS - np.log(np.exp(LOGITS).sum(-1, keepdims=True))
SMALL = np.random.default_rng(3).normal(size=(1, 2, 2, 3)).astype(np.float32)
PICKED = np.take_along_axis(LOGS, LABELS[..., None], -1)[..., 0]


def value(loss, labels=LABELS, **options):
  return jax.jit(functools.partial(loss, **options))(LOGITS, Target(labels, WEIGHT))


def test_cross_entropy_of_soft_labels_is_the_sum_over_classes():
  random = np.random.default_rng(0)
  soft = random.dirichlet(np.ones(3), (1, 2, 2)).astype(np.float32)
  logs = SMALL - np.log(np.exp(SMALL).sum(-1, keepdims=True))
  value = LOSSES["cross_entropy"](SMALL, Target(soft))
  assert_close(value, -(soft * logs).sum(-1).mean())


def test_cross_entropy_is_one_mean_over_the_batch_with_weights():
  # the mean over both samples' voxels, not the mean of two means
  logits = RANDOM.normal(size=(2, 6, 5, 3)).astype(np.float32)
  labels = RANDOM.integers(0, 3, (2, 6, 5))
  weight = np.random.default_rng(1).uniform(0, 3, labels.shape).astype(np.float32)
  weight[1, 1:] = 0
  logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  picked = -np.take_along_axis(logs, labels[..., None], -1)[..., 0]
  value = LOSSES["cross_entropy"](logits, Target(labels, weight))
  assert_close(value, (weight * picked).sum() / weight.sum())


def test_cross_entropy_of_regions_is_the_mean_of_binary_ones():
  random = np.random.default_rng(0)
  regions = random.integers(0, 2, (1, 2, 2, 3)).astype(np.float32)
  p = 1 / (1 + np.exp(-SMALL))
  binary = -np.where(regions == 1, np.log(p), np.log(1 - p))
  value = LOSSES["cross_entropy"](SMALL, Target(regions), sigmoid=True)
  assert_close(value, binary.mean())
  weighted = LOSSES["cross_entropy"](SMALL, Target(regions), sigmoid=True, class_weights=(1, 2, 5))
  per_region = binary.mean((0, 1, 2))
  assert_close(weighted, per_region @ np.array([1, 2, 5]) / 8)


def test_a_weight_map_multiplies_the_weights_of_cross_entropy():
  logits = RANDOM.normal(size=(2, 4, 5, 3)).astype(np.float32)
  labels = RANDOM.integers(0, 3, (2, 4, 5))
  border, weight = RANDOM.random((2, 2, 4, 5)).astype(np.float32)
  logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  each = -np.take_along_axis(logs, labels[..., None], -1)[..., 0]
  for given, whole in ((None, border), (weight, weight * border)):
    value = cross_entropy(logits, Target(labels, given, {"border": border}), weight_map="border")
    assert_close(value, (whole * each).sum() / whole.sum())


@pytest.mark.parametrize(
  "loss", [functools.partial(topk_cross_entropy, share=1.0), functools.partial(focal, gamma=0.0)]
)
def test_a_weight_map_multiplies_the_weights_of_what_cross_entropy_is_a_case_of(loss):
  logits = RANDOM.normal(size=(2, 4, 5, 3)).astype(np.float32)
  labels = RANDOM.integers(0, 3, (2, 4, 5))
  target = Target(labels, None, {"border": RANDOM.random((2, 4, 5)).astype(np.float32)})
  expected = cross_entropy(logits, target, weight_map="border")
  assert_close(loss(logits, target, weight_map="border"), expected)


@pytest.mark.parametrize("class_weights", [None, (1, 2, 5)])
def test_topk_takes_the_largest_weighted_losses(class_weights):
  w = WEIGHT * np.array(class_weights or (1, 1, 1))[LABELS]
  losses = (-w * PICKED)[WEIGHT > 0]
  count = int(0.3 * losses.size)
  hardest = np.argsort(losses)[::-1][:count]
  expected = losses[hardest].sum() / w[WEIGHT > 0][hardest].sum()
  found = value(topk_cross_entropy, share=0.3, class_weights=class_weights)
  assert_close(found, expected)


def test_topk_of_all_voxels_is_cross_entropy():
  for options in ({}, {"label_smoothing": 0.1}, {"sigmoid": True, "class_weights": (1, 2, 5)}):
    whole = value(cross_entropy, **options)
    assert_close(value(topk_cross_entropy, share=1.0, **options), whole)


def test_topk_gives_no_gradient_to_the_other_voxels():
  loss = functools.partial(topk_cross_entropy, share=0.25)
  gradient = jax.jit(jax.grad(loss))(LOGITS, Target(LABELS))
  # of 60
  assert (np.abs(gradient).sum(-1) > 0).sum() == 15


def test_a_share_out_of_range_is_refused():
  with pytest.raises(ValueError, match=r"share is 10; expected a number in \(0, 1\]"):
    topk_cross_entropy(LOGITS, Target(LABELS), share=10)
