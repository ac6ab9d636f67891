"""CycleGAN: its losses written out, who learns from what, its pools, resuming, bad options."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from closeness import assert_close
from drawn_states import state_of
from flax import linen as nn
from method_rows import batch_of, method, small_generator, small_unet

from jaxseg.losses import IMAGE_LOSSES
from jaxseg.method import State
from jaxseg.methods.cyclegan import cyclegan
from jaxseg.networks import CRITICS

ROLES = ("network", "reverse", "critic", "source_critic")


class Shift(nn.Module):
  """A generator that adds a number."""

  start: float

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    shift = self.param("shift", nn.initializers.constant(self.start), (1, 1, 1, 1))
    return {"image": x + shift}


class Scale(nn.Module):
  """A critic whose score of a pixel is a multiple of it."""

  start: float

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    factor = self.param("factor", nn.initializers.constant(self.start), (1, 1, 1, 1))
    return {"score": x * factor, "stage1": x}


def shifting(**options):
  """G adds 0.5, F takes 0.25 away; critics double the target's, and take the source's as it is."""
  return cyclegan(
    Shift(0.5),
    Scale(2.0),
    IMAGE_LOSSES["l1"],
    optax.sgd(0.0),
    optax.sgd(0.1),
    Shift(-0.25),
    Scale(1.0),
    **options,
  )


def of_one(source: float, target: float):
  image = functools.partial(jnp.full, (2, 3, 3, 1))
  return {"image": image(source), "target": {"image": image(target)}}


@functools.partial(jax.jit, static_argnums=0)
def first_step(scheme, batch):
  return scheme.train_step(scheme.init(jax.random.key(0), batch), batch, jax.random.key(1))


def test_the_losses_are_the_published_ones_written_out():
  state, metrics = first_step(shifting(), of_one(0.1, 0.3))
  # G(a) = 0.6, F(b) = 0.05; their scores 1.2 and 0.05; a and b come back 0.25 too bright; what
  # should stay is moved by 0.5 and by 0.25
  parts = {
    "adversarial_loss": (1 - 1.2) ** 2,
    "source_adversarial_loss": (1 - 0.05) ** 2,
    "source_cycle_loss": 0.25,
    "target_cycle_loss": 0.25,
    "identity_loss": 0.75,
    # real 0.6 and fake 1.2, real 0.1 and fake 0.05
    "critic_loss": ((1 - 0.6) ** 2 + 1.2**2) / 2,
    "source_critic_loss": ((1 - 0.1) ** 2 + 0.05**2) / 2,
    # both above 1/2, both below
    "critic_accuracy": 0.5,
    "source_critic_accuracy": 0.5,
  }
  for name, value in parts.items():
    assert_close(metrics[name], value, err_msg=name)
  assert_close(metrics["loss"], 0.2**2 + 0.95**2 + 10 * 0.5 + 10 * 0.5 * 0.75)
  # the critics' slopes: -(1 - 2 b) b + (2 * 0.6) 0.6, of each pixel alike
  slope = -(1 - 0.6) * 0.3 + 1.2 * 0.6
  assert_close(state.learners["critic"].params["factor"], [[[[2 - 0.1 * slope]]]])


@pytest.mark.parametrize(("mode", "accuracy"), [("bce", 0.5), ("hinge", 0.5), ("lsgan", 0.5)])
def test_other_games_are_played(mode, accuracy):
  _, metrics = first_step(shifting(mode=mode, identity=0.0), of_one(0.1, 0.3))
  loss = {"bce": np.log1p(np.exp(-1.2)), "hinge": -1.2, "lsgan": 0.04}[mode]
  assert_close(metrics["adversarial_loss"], loss)
  assert_close(metrics["critic_accuracy"], accuracy)
  assert "identity_loss" not in metrics


def test_a_critic_sees_what_the_pool_gives_and_the_pool_keeps_what_was_made():
  scheme = shifting(pool=2)
  first = state = jax.jit(scheme.init)(jax.random.key(0), of_one(0.0, 0.0))
  train = jax.jit(scheme.train_step)
  for step in range(3):
    state, _ = train(state, of_one(0.1 * step, 0.0), jax.random.key(step))
  held = np.asarray(state.extra["critic"].images[:, 0, 0, 0])
  assert int(state.extra["critic"].number) == 2
  made = {round(0.5 + 0.1 * step, 6) for step in range(3)}
  assert {round(float(x), 6) for x in held} <= made
  assert first.extra["source_critic"].number == 0
  alone = shifting(pool=0).init(jax.random.key(0), of_one(0.0, 0.0))
  assert alone.extra == {"critic": None, "source_critic": None}


def stepped(scheme, state, batch, *numbers):
  step = jax.jit(scheme.train_step)
  for number in numbers:
    state, metrics = step(state, batch, jax.random.key(number))
  return state, metrics


def test_all_four_learn_and_the_generators_loss_falls():
  scheme, batch = method("cyclegan"), batch_of()
  batch = {
    "image": jnp.tanh(batch["image"] - 1),
    "target": {"image": -jnp.tanh(batch["image"] - 1)},
  }
  first = state_of(scheme, batch)
  state, before = stepped(scheme, first, batch, 0)
  assert set(state.learners) == set(ROLES)
  for role in ROLES:
    pairs = zip(*(jax.tree.leaves(s.learners[role].params) for s in (first, state)), strict=True)
    assert not all(np.array_equal(*pair) for pair in pairs), role
  state, after = stepped(scheme, state, batch, *range(1, 10))
  assert after["loss"] < before["loss"]
  assert all(np.isfinite(value) and value.dtype == jnp.float32 for value in after.values())


def test_it_predicts_the_image_that_the_first_generator_makes():
  scheme, batch = shifting(), of_one(0.1, 0.3)
  state = scheme.init(jax.random.key(0), batch)
  assert_close(scheme.apply(state, {"image": batch["image"]})["image"], batch["image"] + 0.5)


def test_a_resumed_run_goes_on_from_its_pools():
  scheme, batch = method("cyclegan", pool=3), batch_of()
  first = state_of(scheme, batch)
  whole, _ = stepped(scheme, first, batch, 0, 1, 2, 3)
  half, _ = stepped(scheme, first, batch, 0, 1)
  stored = jax.tree.map(np.asarray, half)
  resumed, _ = stepped(scheme, jax.tree.map(jnp.asarray, stored), batch, 2, 3)
  jax.tree.map(np.testing.assert_array_equal, whole, resumed)
  assert isinstance(resumed, State)


def test_volumes_are_translated_too():
  batch = batch_of(3)
  state = jax.eval_shape(method("cyclegan").init, jax.random.key(0), batch)
  made = jax.eval_shape(method("cyclegan").apply, state, {"image": batch["image"]})
  assert made["image"].shape == batch["image"].shape


PATCH = CRITICS["patch_critic"](widths=(4, 8))


@pytest.mark.parametrize(
  ("parts", "options", "words"),
  [
    ({}, {"mode": "gan"}, "cyclegan: mode='gan' is unknown"),
    ({}, {"mode": "wgan"}, r"mode='wgan' lets the critic grow without end.*networks\.critic"),
    ({"critic": CRITICS["two_input_critic"](widths=(4, 8))}, {}, "takes a map as well; expected"),
  ],
)
def test_bad_options_are_told(parts, options, words):
  roles = {"network": small_generator(), "critic": PATCH, "loss": IMAGE_LOSSES["l1"], **parts}
  with pytest.raises(ValueError, match=words):
    cyclegan(**roles, optimiser=optax.sgd(0.1), critic_optimiser=optax.sgd(0.1), **options)


@pytest.mark.parametrize(
  ("net", "channels", "words"),
  [
    (small_unet(1), 1, r"config\.network: UNet gives .*logits.*, and no image; expected a gene"),
    (small_generator(channels=2), 1, "makes images of 2 channel.s., those of the domain have 1"),
    (
      small_generator(),
      2,
      r"streams\.target: its images have 2 channel.s., the main stream's 1",
    ),
  ],
)
def test_networks_and_domains_that_cannot_be_translated_are_told(net, channels, words):
  scheme = cyclegan(net, PATCH, IMAGE_LOSSES["l1"], optax.sgd(0.1), optax.sgd(0.1))
  batch = {
    "image": jnp.zeros((1, 8, 8, 1)),
    "target": {"image": jnp.zeros((1, 8, 8, channels))},
  }
  with pytest.raises(ValueError, match=words):
    jax.eval_shape(scheme.init, jax.random.key(0), batch)
