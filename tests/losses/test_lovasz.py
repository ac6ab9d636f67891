"""Lovasz losses against the definition of the extension: an integral over level sets."""

import functools
import itertools

import jax
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.batch import Target
from jaxseg.losses import lovasz_softmax
from jaxseg.losses.lovasz import jaccard_extension


def jaccard_distance(wrong, true, size):
  """1 - Jaccard index of the true set and the prediction that is wrong in the voxels `wrong`."""
  predicted = true ^ wrong
  union = size[true | predicted].sum()
  return 1 - size[true & predicted].sum() / union if union > 0 else 0.0


def extension(errors, true, size):
  """The integral over t of the distance that the voxels with an error above t make."""
  levels = np.unique(np.concatenate([[0.0], errors]))
  return sum(
    (high - low) * jaccard_distance(errors > low, true, size)
    for low, high in itertools.pairwise(levels)
  )


def inputs():
  random = np.random.default_rng(3)
  logits = random.normal(size=(2, 3, 4, 3)).astype(np.float32)
  # the second sample lacks class 2
  labels = random.integers(0, 3, (2, 3, 4)) % np.array([3, 2])[:, None, None]
  weight = random.choice([0, 0.5, 1, 2], (2, 3, 4)).astype(np.float32)
  return logits, labels, weight


def expected(errors, truth, weight):
  """By sample and class, (b, k)."""
  return np.array(
    [
      [extension(e[..., k].ravel(), t[..., k].ravel(), w.ravel()) for k in range(e.shape[-1])]
      for e, t, w in zip(errors, truth, weight, strict=True)
    ]
  )


def value(logits, labels, weight, **options):
  loss = jax.jit(functools.partial(lovasz_softmax, **options))
  return loss(logits, Target(labels, weight))


def test_each_class_has_the_extension_of_its_jaccard_distance():
  logits, labels, weight = inputs()
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  truth = np.eye(3, dtype=bool)[labels]
  errors = np.abs(truth - p)
  each = expected(errors, truth, weight)
  here = (weight[..., None] * truth).sum((1, 2)) > 0
  assert not here[1, 2]
  assert_close(value(logits, labels, weight, classes="all", batch=False), each.mean())
  by_sample = (each * here).sum(1) / here.sum(1)
  assert_close(value(logits, labels, weight, batch=False), by_sample.mean())
  pooled = expected(*(x.reshape(1, 6, *x.shape[2:]) for x in (errors, truth, weight)))
  assert_close(value(logits, labels, weight), pooled.mean())
  assert_close(
    value(logits, labels, weight, include_background=False, class_weights=(9, 1, 3)),
    pooled[0] @ np.array([0, 1, 3]) / 2,
  )


def test_regions_have_sigmoid_or_hinge_errors_and_all_count():
  logits, labels, weight = inputs()
  truth = np.eye(3, dtype=bool)[labels]
  sign = 2 * truth - 1
  for hinge, errors in (
    (False, 1 / (1 + np.exp(sign * logits))),
    (True, np.maximum(0, 1 - sign * logits)),
  ):
    each = expected(errors, truth, weight)
    found = value(logits, labels, weight, batch=False, sigmoid=True, hinge=hinge)
    assert_close(found, each.mean())


def test_hard_predictions_have_one_minus_the_jaccard_index():
  _, labels, weight = inputs()
  predicted = np.roll(labels, 1, 2)
  logits = np.where(np.eye(3)[predicted] > 0, 100, -100).astype(np.float32)
  size = np.broadcast_to(weight[..., None], (*weight.shape, 3))
  p, g = np.eye(3, dtype=bool)[predicted], np.eye(3, dtype=bool)[labels]
  jaccard = np.where(p & g, size, 0).sum((0, 1, 2)) / np.where(p | g, size, 0).sum((0, 1, 2))
  assert_close(value(logits, labels, weight), 1 - jaccard.mean())


def test_steps_of_many_voxels_keep_their_digits():
  # a step is about 1e-5 or 1e-6: as a difference of two float32 ratios it would lose half of them
  random = np.random.default_rng(0)
  errors = random.uniform(size=100_000).astype(np.float32)
  inside = (random.uniform(size=errors.shape) < 0.3).astype(np.float32)
  arrays = [x[None, :, None] for x in (errors, inside, 1 - inside)]
  steps = jax.jit(jax.grad(lambda *x: jaccard_extension(*x).sum()))(*arrays)[0, :, 0]
  order = np.argsort(-errors, kind="stable")
  g = inside[order].astype(np.float64)
  distance = 1 - (g.sum() - np.cumsum(g)) / (g.sum() + np.cumsum(1 - g))
  assert_close(steps[order], np.diff(distance, prepend=0))


def test_unknown_options_are_refused():
  logits, labels, _ = inputs()
  with pytest.raises(ValueError, match="expected 'present' or 'all'"):
    lovasz_softmax(logits, Target(labels), classes="some")
  with pytest.raises(ValueError, match="needs sigmoid=True"):
    lovasz_softmax(logits, Target(labels), hinge=True)
