"""The boundary loss."""

import distances
import jax
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.batch import Target
from jaxseg.losses import boundary, cross_entropy

RNG = np.random.default_rng(0)


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
