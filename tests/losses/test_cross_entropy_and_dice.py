"""Cross entropy and Dice against numpy: what is averaged over what, soft labels and regions."""

import numpy as np
from closeness import assert_close

from jaxseg.batch import Target
from jaxseg.losses import LOSSES

LOGITS = np.random.default_rng(3).normal(size=(1, 2, 2, 3)).astype(np.float32)


def inputs():
  random = np.random.default_rng(0)
  labels = random.integers(0, 3, (2, 6, 5))
  return random.normal(size=(2, 6, 5, 3)).astype(np.float32), labels


def test_cross_entropy_of_soft_labels_is_the_sum_over_classes():
  random = np.random.default_rng(0)
  soft = random.dirichlet(np.ones(3), (1, 2, 2)).astype(np.float32)
  logs = LOGITS - np.log(np.exp(LOGITS).sum(-1, keepdims=True))
  value = LOSSES["cross_entropy"](LOGITS, Target(soft))
  assert_close(value, -(soft * logs).sum(-1).mean())


def test_cross_entropy_is_one_mean_over_the_batch_with_weights():
  # the mean over both samples' voxels, not the mean of two means
  logits, labels = inputs()
  weight = np.random.default_rng(1).uniform(0, 3, labels.shape).astype(np.float32)
  weight[1, 1:] = 0
  logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
  picked = -np.take_along_axis(logs, labels[..., None], -1)[..., 0]
  value = LOSSES["cross_entropy"](logits, Target(labels, weight))
  assert_close(value, (weight * picked).sum() / weight.sum())


def test_cross_entropy_of_regions_is_the_mean_of_binary_ones():
  random = np.random.default_rng(0)
  regions = random.integers(0, 2, (1, 2, 2, 3)).astype(np.float32)
  p = 1 / (1 + np.exp(-LOGITS))
  binary = -np.where(regions == 1, np.log(p), np.log(1 - p))
  value = LOSSES["cross_entropy"](LOGITS, Target(regions), sigmoid=True)
  assert_close(value, binary.mean())
  weighted = LOSSES["cross_entropy"](LOGITS, Target(regions), sigmoid=True, class_weights=(1, 2, 5))
  per_region = binary.mean((0, 1, 2))
  assert_close(weighted, per_region @ np.array([1, 2, 5]) / 8)


def test_dice_is_taken_per_sample_or_over_the_batch():
  logits, labels = inputs()
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  g = np.eye(3)[labels]
  by_sample = 1 - 2 * (p * g).sum((1, 2)) / (p + g).sum((1, 2))
  of_batch = 1 - 2 * (p * g).sum((0, 1, 2)) / (p + g).sum((0, 1, 2))
  dice = LOSSES["dice"]
  assert_close(dice(logits, Target(labels)), by_sample.mean(), atol=1e-5)
  assert_close(dice(logits, Target(labels), batch=True), of_batch.mean(), atol=1e-5)
  weighted = dice(logits, Target(labels), batch=True, class_weights=(0, 1, 3))
  assert_close(weighted, (of_batch[1] + 3 * of_batch[2]) / 3, atol=1e-5)


def test_dice_keeps_every_region_where_there_is_no_background():
  regions = np.random.default_rng(0).integers(0, 2, (1, 2, 2, 3)).astype(np.float32)
  values = [
    LOSSES["dice"](LOGITS, Target(regions), sigmoid=True, include_background=b)
    for b in (True, False)
  ]
  assert values[0] == values[1]
