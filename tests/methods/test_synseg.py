"""SynSeg-Net: the segmentation's gradient reaches G and S, and neither F nor the critics."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from closeness import assert_close
from drawn_states import state_of
from method_rows import batch_of, loss_of, method, small_generator, small_unet

from jaxseg.batch import target
from jaxseg.method import forward
from jaxseg.methods.cyclegan import cyclegan
from jaxseg.methods.synseg import synseg
from jaxseg.networks import CRITICS

TX = optax.sgd(0.05)
PATCH = CRITICS["patch_critic"](widths=(4, 8), norm="instance")


def made(**options):
  return synseg(small_unet(), small_generator(), PATCH, loss_of(False), TX, TX, TX, **options)


@functools.cache
def program():
  """A step whose segmentation weighs as much as the number of steps before it."""
  return jax.jit(made(segmentation=lambda step: 1.0 * step).train_step)


def after_one(step, state, batch):
  return step(state, batch, jax.random.key(1))


def weighing(state, factor):
  return state.replace(step=jnp.int32(factor))


def test_the_segmentations_gradient_moves_the_generator_and_neither_its_reverse_nor_the_critics():
  batch = batch_of()
  state = state_of(made(), batch)
  free, one, two = (after_one(program(), weighing(state, k), batch)[0] for k in range(3))

  def params(of, role):
    return jax.tree.leaves(of.learners[role].params)

  for role in ("reverse", "critic", "source_critic"):
    jax.tree.map(np.testing.assert_array_equal, params(free, role), params(one, role))
  for role in ("network", "generator"):
    slopes = [b - a for a, b in zip(params(free, role), params(one, role), strict=True)]
    largest = max(np.abs(slope).max() for slope in slopes)
    assert largest > 1e-5, role
    doubled = [b - a for a, b in zip(params(free, role), params(two, role), strict=True)]
    for slope, of in zip(slopes, doubled, strict=True):
      np.testing.assert_allclose(of, 2 * slope, atol=1e-2 * largest)
  # without the segmentation's loss S has nothing to learn from
  jax.tree.map(np.testing.assert_array_equal, params(free, "network"), params(state, "network"))


def test_the_gradient_is_that_of_the_loss_through_both_networks():
  batch, factor = batch_of(), 3.0
  joint = made(segmentation=factor)
  state = state_of(joint, batch)
  free, _ = after_one(program(), weighing(state, 0), batch)
  one, metrics = after_one(jax.jit(joint.train_step), state, batch)
  own = state.learners

  def segmented(generator):
    fake = forward(small_generator(), generator, {}, batch["image"], update_stats=True)[0]["image"]
    net = own["network"]
    outputs = forward(small_unet(), net.params, net.stats, fake, update_stats=True)[0]
    return loss_of(False)(outputs["logits"], target(batch))

  loss, slope = jax.jit(jax.value_and_grad(segmented))(own["generator"].params)
  assert_close(metrics["supervised_loss"], loss)
  expected = jax.tree.map(lambda x: -0.05 * factor * x, slope)
  moves = jax.tree.map(
    jnp.subtract, one.learners["generator"].params, free.learners["generator"].params
  )
  largest = max(np.abs(x).max() for x in jax.tree.leaves(expected))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3 * largest), moves, expected)


def test_without_labels_it_plays_the_game_of_cyclegan():
  batch = batch_of()
  joint = made(segmentation=0.0, identity=0.5)
  alone = cyclegan(
    small_generator(), PATCH, lambda image, target: jnp.abs(image - target.labels).mean(), TX, TX
  )
  state = state_of(joint, batch)
  own = state.learners
  learners = {"network": own["generator"], **{k: own[k] for k in ("reverse", "critic")}}
  learners["source_critic"] = own["source_critic"]
  # of these alone, so that no gradient is compiled
  names = ("loss", "source_cycle_loss", "identity_loss", "adversarial_loss")

  def told(scheme):
    return jax.jit(lambda *step: {name: scheme.train_step(*step)[1][name] for name in names})

  metrics = after_one(told(joint), state, batch)
  of_game = after_one(told(alone), state.replace(learners=learners), batch)
  for name in names:
    assert_close(metrics[name], of_game[name], err_msg=name)


def test_it_predicts_by_the_segmenter_of_images_as_they_are():
  scheme, batch = method("synseg"), batch_of()
  state = state_of(scheme, batch)
  own = state.learners["network"]
  logits = forward(small_unet(), own.params, own.stats, batch["image"])[0]["logits"]
  assert_close(scheme.apply(state, {"image": batch["image"]})["logits"], logits)


def test_a_generator_is_no_segmenter():
  scheme = synseg(small_generator(), small_generator(), PATCH, loss_of(False), TX, TX, TX)
  with pytest.raises(ValueError, match=r"config\.network: ResnetGenerator gives .*, and no logits"):
    jax.eval_shape(scheme.init, jax.random.key(0), batch_of())
  scheme = synseg(small_unet(), small_unet(), PATCH, loss_of(False), TX, TX, TX)
  with pytest.raises(ValueError, match=r"config\.networks\.generator: UNet gives .*no image"):
    jax.eval_shape(scheme.init, jax.random.key(0), batch_of())
