"""Focal loss against numpy."""

import functools

import jax
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.batch import Target
from jaxseg.losses import focal

RANDOM = np.random.default_rng(7)
LOGITS = RANDOM.normal(size=(2, 5, 6, 3)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, (2, 5, 6))
WEIGHT = RANDOM.choice([0, 1, 2], LABELS.shape).astype(np.float32)
LOGS = LOGITS - np.log(np.exp(LOGITS).sum(-1, keepdims=True))
PICKED = np.take_along_axis(LOGS, LABELS[..., None], -1)[..., 0]


def value(loss, labels=LABELS, **options):
  return jax.jit(functools.partial(loss, **options))(LOGITS, Target(labels, WEIGHT))


def test_focal_scales_each_class_by_its_alpha():
  factor = np.array([0.2, 0.3, 0.5])[LABELS]
  losses = -factor * (1 - np.exp(PICKED)) ** 1.5 * PICKED
  expected = (WEIGHT * losses).sum() / WEIGHT.sum()
  assert_close(value(focal, gamma=1.5, alpha=(0.2, 0.3, 0.5)), expected)
  # one number: the foreground's
  factor = np.where(LABELS > 0, 0.75, 0.25)
  expected = (-WEIGHT * factor * (1 - np.exp(PICKED)) ** 2 * PICKED).sum() / WEIGHT.sum()
  assert_close(value(focal, alpha=0.75), expected)


def test_focal_of_regions_is_the_mean_of_binary_ones():
  regions = np.random.default_rng(0).integers(0, 2, LOGITS.shape).astype(np.float32)
  p = 1 / (1 + np.exp(-LOGITS))
  right = np.where(regions == 1, p, 1 - p)
  losses = -((1 - right) ** 2) * np.log(right)
  w = WEIGHT[..., None] * np.array([1, 2, 5])
  found = value(focal, regions, sigmoid=True, class_weights=(1, 2, 5))
  assert_close(found, (w * losses).sum() / w.sum())


def test_an_unknown_average_is_refused():
  with pytest.raises(ValueError, match="average is 'classes'; expected 'voxels' or 'channels'"):
    focal(LOGITS, Target(LABELS), average="classes")
