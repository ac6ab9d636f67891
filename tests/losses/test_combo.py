"""Combo and exponential logarithmic losses against numpy in float64."""

import functools

import jax
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.batch import Target
from jaxseg.losses import combo, exponential_log

RANDOM = np.random.default_rng(11)
LOGITS = RANDOM.normal(size=(2, 4, 5, 3))
LABELS = RANDOM.integers(0, 3, (2, 4, 5))
WEIGHT = RANDOM.choice([0, 1, 2], LABELS.shape).astype(np.float32)
P = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
G = np.eye(3)[LABELS]
W = WEIGHT[..., None]


def value(loss, labels=LABELS, **options):
  call = jax.jit(functools.partial(loss, **options))
  return call(LOGITS.astype(np.float32), Target(labels, WEIGHT))


def dice(p, g, smooth):
  return (2 * (W * p * g).sum((1, 2)) + smooth) / ((W * (p + g)).sum((1, 2)) + smooth)


def test_combo_under_a_softmax_takes_each_class_against_the_rest():
  entropy = -(0.7 * G * np.log(P) + 0.3 * (1 - G) * np.log(1 - P))
  scale = np.array([1, 2, 5])
  mean = (W * scale * entropy).sum() / (3 * W.sum())
  expected = 0.4 * mean - 0.6 * (dice(P, G, 1) @ scale / 3).mean()
  found = value(combo, alpha=0.4, beta=0.7, class_weights=(1, 2, 5))
  assert_close(found, expected)
  foreground = entropy[..., 1:]
  mean = (W * foreground).sum() / (2 * W.sum())
  assert_close(
    value(combo, beta=0.7, include_background=False),
    0.5 * mean - 0.5 * dice(P, G, 1)[:, 1:].mean(),
    atol=1e-6,  # the terms nearly cancel
  )


def test_exponential_log_of_regions_weighs_inside_and_outside():
  regions = np.random.default_rng(0).integers(0, 2, LOGITS.shape).astype(np.float32)
  p = 1 / (1 + np.exp(-LOGITS))
  right = np.where(regions == 1, p, 1 - p)
  inside = (W * regions).sum((0, 1, 2))
  rarity = np.where(regions == 1, WEIGHT.sum() / inside, WEIGHT.sum() / (WEIGHT.sum() - inside))
  cross = (W * np.sqrt(rarity) * (-np.log(right)) ** 0.3).sum() / (3 * WEIGHT.sum())
  expected = 0.8 * ((-np.log(dice(p, regions, 1))) ** 0.3).mean() + 0.2 * cross
  found = value(exponential_log, regions, sigmoid=True)
  assert_close(found, expected)


def test_exponential_log_takes_the_training_sets_weights():
  picked = -np.log((P * G).sum(-1))
  cross = (WEIGHT * np.array([1, 2, 5])[LABELS] * picked**0.5).sum() / WEIGHT.sum()
  options = {"gamma_cross": 0.5, "dice_weight": 0, "cross_weight": 1}
  found = value(exponential_log, class_weights=(1, 2, 5), **options)
  assert_close(found, cross)
  with pytest.raises(ValueError, match="smooth is 0; expected a positive number"):
    exponential_log(LOGITS, Target(LABELS), smooth=0)
