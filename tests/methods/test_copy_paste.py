"""Bidirectional copy-paste: what is pasted where, what teaches there, and its pre-training."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from closeness import assert_close
from drawn_states import state_of
from flax import linen as nn
from method_rows import batch_of, loss_of, small_unet

from jaxseg import networks
from jaxseg.losses import LOSSES
from jaxseg.methods.copy_paste import copy_paste
from jaxseg.schedules import resolve

CE, STILL = LOSSES["cross_entropy"], optax.sgd(0.0)


class Reader(nn.Module):
  """Logits that say the class which is written in the image, from 0 to 2."""

  classes: int = 3

  def margin(self, rank):
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    del train
    nothing = self.param("nothing", nn.initializers.zeros, (1,) * x.ndim)
    return {
      "logits": -40 * (x - jnp.arange(3.0).reshape((1,) * (x.ndim - 1) + (3,))) ** 2 + nothing
    }


def written(labelled, unlabelled, space):
  """Images of one class each, and labels that are one class more."""

  def constant(values):
    return np.broadcast_to(np.float32(values).reshape(-1, *(1,) * len(space)), (4, *space))

  image, label = constant(labelled), (constant(labelled).astype(np.int32) + 1) % 3
  return {
    "image": image[..., None],
    "label": label,
    "unlabelled": {"image": constant(unlabelled)[..., None]},
  }


@pytest.mark.parametrize("space", [(9, 12), (6, 6, 6)])
def test_each_part_of_a_mixture_is_taught_by_the_stream_that_it_comes_from(space):
  """Labels here are wrong where images say what the teacher reads: its parts cost nothing."""
  method = copy_paste(Reader(), CE, STILL, unlabelled_weight=0.5)
  batch = written([0, 0, 0, 0], [2, 1, 2, 1], space)
  metrics = step(method, batch)
  assert_close(metrics["consistency"], 0.0, atol=1e-5)
  assert_close(metrics["supervised_loss"], 2 * 40.0)
  assert_close(metrics["loss"], 2 * 40.0)


def test_pre_training_pastes_labelled_images_and_weighs_all_parts_the_same():
  method = copy_paste(Reader(), CE, STILL, unlabelled_weight=0.0)
  batch = written([0, 1, 0, 1], [2, 2, 2, 2], (9, 12))
  metrics = step(method, batch)
  # label 1 for what says 0, label 2 for what says 1: all four parts are 40, none is of the 2s
  assert_close(metrics["consistency"], 2 * 40.0)
  # both terms of a mixture count 1, and the two mixtures are averaged
  assert_close(metrics["loss"], 40.0 + 40.0)


@functools.partial(jax.jit, static_argnums=0)
def step(method, batch):
  return method.train_step(method.init(jax.random.key(0), batch), batch, jax.random.key(1))[1]


def test_the_teacher_is_the_student_until_pre_training_ends_and_follows_then():
  spec = {"name": "piecewise", "at": (0.5,), "values": (0.0, 0.5)}
  weight = resolve(spec, steps=4, where="method.unlabelled_weight")
  method = copy_paste(small_unet(), loss_of(False), optax.sgd(0.05), unlabelled_weight=weight)
  batch = batch_of()
  state, run = state_of(method, batch), jax.jit(method.train_step)
  apart = []
  for number in range(3):
    before = state
    state, _ = run(state, batch, jax.random.key(number))
    pair = (state.learners[of].params for of in ("network", "teacher"))
    apart.append(max(jax.tree.leaves(jax.tree.map(lambda a, b: np.abs(a - b).max(), *pair))))
  assert apart[:2] == [0, 0]
  assert apart[2] > 0
  decay = 1 - 1 / 3
  old, new = (s.learners[of] for s, of in ((before, "teacher"), (state, "network")))
  for part in ("params", "stats"):
    expected = jax.tree.map(
      lambda a, b: decay * a + (1 - decay) * b, getattr(old, part), getattr(new, part)
    )
    jax.tree.map(assert_close, getattr(state.learners["teacher"], part), expected)


def test_small_components_of_a_teachers_labels_are_left_out():
  """What the teacher says of an image without labels teaches as background there."""
  image = np.zeros((4, 9, 9), np.float32)
  image[:, 1:4, 1:4] = 1
  image[:, 7, 7] = 1
  batch = written([0] * 4, [0] * 4, (9, 9))
  batch["unlabelled"] = {"image": image[..., None]}

  def cost(largest):
    method = copy_paste(Reader(), CE, STILL, box=1.0, largest_component=largest)
    return step(method, batch)["consistency"]

  # the box is all: every other mixture is an unlabelled image, whole
  assert_close(cost(True), 40 / 81)
  assert_close(cost(False), 0.0, atol=1e-5)


@pytest.mark.parametrize("counts", [(4, 2), (3, 3)])
def test_batches_that_cannot_be_paired_are_told(counts):
  batch = batch_of()
  known, unknown = counts
  given = {"image": batch["image"][:known], "label": batch["label"][:known]}
  given["unlabelled"] = {"image": batch["image"][:unknown]}
  words = rf"copy_paste: {known} images with labels and {unknown} without .*streams\.unlabelled"
  with pytest.raises(ValueError, match=words):
    jax.eval_shape(lambda: step(copy_paste(small_unet(), CE, STILL), given))


def test_networks_with_a_margin_and_options_that_cannot_be_are_told():
  net = networks.UNet2015(classes=3, widths=(4, 6))
  with pytest.raises(ValueError, match=r"copy_paste: the network gives less .*without a margin"):
    copy_paste(net, CE, STILL).init(jax.random.key(0), batch_of())
  with pytest.raises(ValueError, match=r"teacher: predict_with='both'"):
    copy_paste(small_unet(), CE, STILL, predict_with="both")
