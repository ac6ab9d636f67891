"""Pseudo-labels: the values of both terms, what is kept, where the gradient goes."""

import jax
import numpy as np
import optax
import pytest
from channel_mixer import ChannelMixer
from closeness import assert_close
from golden_inputs import B_LABELS, B_LOGITS, T_LOGITS

from jaxseg.losses import LOSSES
from jaxseg.methods import METHODS

CROSS, DICE = LOSSES["cross_entropy"], LOSSES["dice"]
BATCH = {"image": B_LOGITS, "label": B_LABELS, "unlabelled": {"image": T_LOGITS}}


def half_of_both(logits, target):
  """SSL4MIS's supervised loss, half of each: cross entropy, Dice with squares."""
  return 0.5 * (CROSS(logits, target) + DICE(logits, target, squared=True))


def step_of(loss=half_of_both, pseudo=CROSS, rate=1.0, **options):
  method = METHODS["pseudo_label"](ChannelMixer(), loss, pseudo, optax.sgd(rate), **options)
  state = method.init(jax.random.key(0), BATCH)
  return state, *jax.jit(method.train_step)(state, BATCH, jax.random.key(1))


@pytest.mark.parametrize(("threshold", "kept"), [(0.0, 1.0), (0.7, 0.75), (0.99, 0.0)])
def test_the_loss_is_the_sum_of_both_terms(threshold, kept):
  _, _, metrics = step_of(weight=lambda step: 0.5 + step, threshold=threshold)
  p = np.asarray(jax.nn.softmax(T_LOGITS, -1)).max(-1)
  counts = p >= threshold
  expected = -np.log(p[counts]).mean() if counts.any() else 0.0
  assert_close(metrics["supervised_loss"], 0.687912)
  assert_close(metrics["kept"], kept)
  assert_close(metrics["pseudo_loss"], expected, atol=1e-7)
  assert_close(metrics["loss"], 0.687912 + 0.5 * kept * expected)
  assert_close(metrics["weight"], 0.5)


def test_labels_are_no_way_for_the_gradient():
  """Of cross entropy and hard labels it is p - y of the voxels that count."""
  before, after, _ = step_of(lambda logits, target: 0.0 * logits.sum(), threshold=0.7)
  p = np.asarray(jax.nn.softmax(T_LOGITS, -1)).reshape(4, 3)
  y = np.eye(3)[p.argmax(-1)] * (p.max(-1, keepdims=True) >= 0.7)
  expected = T_LOGITS.reshape(4, 3).T @ (p * y.sum(-1, keepdims=True) - y) / 4
  kernels = (of.learners["network"].params["kernel"] for of in (before, after))
  first, second = map(np.asarray, kernels)
  assert_close(first - second, expected)
