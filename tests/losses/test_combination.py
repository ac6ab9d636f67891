import functools

import jax
import numpy as np
import optax
import pytest
from closeness import assert_close

from jaxseg.batch import Target
from jaxseg.losses import cross_entropy, dice, focal, weighted_sum

LOGITS = np.stack([[[1, 0], [-1, 2]], [[0.5, 2], [0, -1]], [[-0.5, 0], [1.5, 0]]], -1)[None]
LOGITS = LOGITS.astype(np.float32)
LABELS = np.array([[0, 1], [2, 1]])[None]


def test_dice_plus_cross_entropy_has_the_known_value():
  loss = weighted_sum({"dice": (1.0, dice), "cross_entropy": (1.0, cross_entropy)})
  assert_close(jax.jit(loss)(LOGITS, Target(LABELS)), 1.519524, atol=2e-6)


def test_dice_plus_focal_has_the_known_value():
  # MONAI's DiceFocalLoss takes the focal loss of sigmoids
  parts = {"dice": (1.0, dice), "focal": (1.0, functools.partial(focal, sigmoid=True))}
  assert_close(jax.jit(weighted_sum(parts))(LOGITS, Target(LABELS)), 0.744877, atol=2e-6)


def test_dice_plus_cross_entropy_of_a_region_has_the_known_value():
  logits = np.array([[2, -1], [0.5, -3]], np.float32)[None, ..., None]
  parts = {
    loss.__name__: (1.0, functools.partial(loss, sigmoid=True)) for loss in (dice, cross_entropy)
  }
  value = jax.jit(weighted_sum(parts))(logits, Target(np.array([[[1, 0], [1, 0]]])))
  assert_close(value, 0.453590, atol=2e-6)


def test_a_schedule_follows_the_training_step():
  schedule = optax.linear_schedule(1.0, 0.0, 10)
  loss = jax.jit(weighted_sum({"dice": (schedule, dice), "cross_entropy": (0.5, cross_entropy)}))
  for step, share in ((0, 1.0), (5, 0.5), (10, 0.0)):
    value = loss(LOGITS, Target(LABELS, step=step))
    assert_close(value, share * 0.449552 + 0.5 * 1.069972, atol=2e-6)


def test_terms_that_are_no_losses_are_refused():
  with pytest.raises(ValueError, match="no loss is given"):
    weighted_sum({})
  with pytest.raises(ValueError, match=r"term 'dice'.*weight or schedule"):
    weighted_sum({"dice": dice})
