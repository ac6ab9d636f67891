"""Focal loss and top-k cross entropy against numpy."""

import functools

import jax
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.batch import Target
from jaxseg.losses import cross_entropy, focal, topk_cross_entropy

RANDOM = np.random.default_rng(7)
LOGITS = RANDOM.normal(size=(2, 5, 6, 3)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, (2, 5, 6))
WEIGHT = RANDOM.choice([0, 1, 2], LABELS.shape).astype(np.float32)
LOGS = LOGITS - np.log(np.exp(LOGITS).sum(-1, keepdims=True))
PICKED = np.take_along_axis(LOGS, LABELS[..., None], -1)[..., 0]


def value(loss, labels=LABELS, **options):
  return jax.jit(functools.partial(loss, **options))(LOGITS, Target(labels, WEIGHT))


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


def test_unknown_options_are_refused():
  with pytest.raises(ValueError, match=r"share is 10; expected a number in \(0, 1\]"):
    topk_cross_entropy(LOGITS, Target(LABELS), share=10)
  with pytest.raises(ValueError, match="average is 'classes'; expected 'voxels' or 'channels'"):
    focal(LOGITS, Target(LABELS), average="classes")
