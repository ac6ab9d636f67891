"""Entropy minimisation: the published values of the term, of classes and of regions."""

import jax
import numpy as np
import optax
import pytest
from channel_mixer import ChannelMixer
from closeness import assert_close
from golden_inputs import B_LABELS, B_LOGITS

from jaxseg.losses import LOSSES
from jaxseg.methods import METHODS

SURE = np.where(np.eye(3)[B_LABELS] > 0, 50, -50).astype(np.float32)
BATCH = {"image": SURE, "label": B_LABELS, "unlabelled": {"image": B_LOGITS}}


def metrics_of(batch=BATCH, loss=LOSSES["cross_entropy"], **options):
  method = METHODS["entropy_minimisation"](ChannelMixer(), loss, optax.sgd(0.1), **options)
  state = method.init(jax.random.key(0), batch)
  return jax.jit(method.train_step)(state, batch, jax.random.key(1))[1]


def test_the_entropy_is_that_of_the_unlabelled_images_over_its_largest():
  metrics = metrics_of(weight=0.1)
  assert_close(metrics["entropy"], 0.642323)
  assert_close(metrics["loss"], 0.0642323)
  assert_close(metrics_of(weight=lambda step: 2.0 + step)["loss"], 2 * 0.642323)


def test_the_labelled_images_count_on_request():
  assert_close(metrics_of(images="all")["entropy"], 0.642323 / 2)
  with pytest.raises(ValueError, match=r"entropy_minimisation: images='labelled' is unknown"):
    metrics_of(images="labelled")


def test_regions_are_as_unsure_as_each_of_them():
  p = 1 / (1 + np.exp(-B_LOGITS))
  expected = -(p * np.log2(p) + (1 - p) * np.log2(1 - p)).mean()
  batch = {**BATCH, "soft_label": np.eye(3, dtype=np.float32)[B_LABELS]}
  cross = lambda logits, target: LOSSES["cross_entropy"](logits, target, sigmoid=True)  # noqa: E731
  assert_close(metrics_of(batch, cross, sigmoid=True)["entropy"], expected)
