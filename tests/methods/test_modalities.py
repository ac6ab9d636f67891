"""Channels that are missing: training's path is prediction's, and what lies there has no say."""

import jax
import numpy as np
import optax
import pytest
from drawn_states import state_of
from method_rows import loss_of, small_unet

from jaxseg.augment import modality_dropout
from jaxseg.inference import Case, sliding_window
from jaxseg.methods.modalities import masked
from jaxseg.methods.supervised import supervised

RNG = np.random.default_rng(8)
MASKS = np.array([[1, 0, 1], [0, 0, 1]], np.float32)


def batch_of(seed=0, size=(16, 16)):
  random = np.random.default_rng(seed)
  image = random.normal(size=(2, *size, 3)).astype(np.float32)
  return {"image": image, "label": random.integers(0, 3, (2, *size)).astype(np.int32)}


def with_other_content(batch):
  """The same where the masks have a channel, something else where they don't."""
  other = 100 * RNG.normal(size=batch["image"].shape).astype(np.float32)
  space = (1,) * (batch["image"].ndim - 2)
  shown = MASKS.reshape(2, *space, 3)
  return {**batch, "image": np.where(shown > 0, batch["image"], other), "modalities": MASKS}


@pytest.fixture(scope="module")
def method():
  return masked(supervised(small_unet(norm="batch"), loss_of(False), optax.sgd(0.1)))


@pytest.fixture(scope="module")
def state(method):
  return state_of(method, batch_of())


def test_prediction_with_a_mask_is_trainings_dropout_bit_for_bit(method, state):
  batch, apply = batch_of(), jax.jit(method.apply)
  dropped = [
    modality_dropout(jax.random.key(seed), {"image": image})
    for seed, image in zip((5, 7), batch["image"], strict=True)
  ]
  trained_on = {name: np.stack([d[name] for d in dropped]) for name in dropped[0]}
  assert (trained_on["modalities"].sum(1) < 3).any()
  predicted_on = {"image": batch["image"], "modalities": trained_on["modalities"]}
  ours, theirs = (np.asarray(apply(state, of)["logits"]) for of in (trained_on, predicted_on))
  np.testing.assert_array_equal(ours, theirs)


def test_what_lies_in_a_missing_channel_changes_neither_prediction_nor_training(method, state):
  batch = {**batch_of(), "modalities": MASKS}
  other = with_other_content(batch)
  apply, step = jax.jit(method.apply), jax.jit(method.train_step)
  np.testing.assert_array_equal(apply(state, batch)["logits"], apply(state, other)["logits"])
  ours, theirs = (step(state, of, jax.random.key(1)) for of in (batch, other))
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)
  whole = {name: values for name, values in other.items() if name != "modalities"}
  assert not np.array_equal(apply(state, whole)["logits"], apply(state, other)["logits"])


def test_a_batch_that_tells_no_modalities_goes_through_as_it_is(state):
  plain = supervised(small_unet(norm="batch"), loss_of(False), optax.sgd(0.1))
  batch = batch_of()
  ours, theirs = (jax.jit(of.apply)(state, batch)["logits"] for of in (plain, masked(plain)))
  np.testing.assert_array_equal(ours, theirs)


def test_every_window_of_a_case_has_its_mask(method, state):
  image = RNG.normal(size=(20, 27, 3)).astype(np.float32)
  apply = jax.jit(method.apply)

  def window(fields):
    return {"logits": apply(state, fields)["logits"]}

  def scores(image, **fields):
    case = Case({"image": image, "spacing": np.ones(2, np.float32), **fields})
    return sliding_window(window, case, patch=16, batch=2, mirror_axes=(0,))

  lacks = np.array([1, 0, 1], np.float32)
  np.testing.assert_array_equal(scores(image, modalities=lacks), scores(image * lacks))
