"""The contract: what a method is, and that the loop needs no change for a new one."""

import functools
import itertools

import fixed_batch
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from closeness import assert_close
from drawn_states import state_of
from two_networks import adversarial

from jaxseg import sharding
from jaxseg.batch import Target
from jaxseg.losses import LOSSES
from jaxseg.method import forward, learner
from jaxseg.methods import averaged, supervised
from jaxseg.networks import CRITICS, NETWORKS


def small_unet(**options):
  return NETWORKS["unet"](classes=3, widths=(4, 8), depth=1, decoder_depth=1, **options)


def small_critic():
  return CRITICS["patch_critic"](widths=(4, 8))


def batch_of(rank=2, seed=0):
  random = np.random.default_rng(seed)
  label = random.integers(0, 3, (4, *(8,) * rank)).astype(np.int32)
  image = label[..., None] + 0.1 * random.standard_normal((*label.shape, 1))
  image = jnp.asarray(image, jnp.float32)
  # the reversed images stand for a stream without labels
  return {"image": image, "label": jnp.asarray(label), "unlabelled": {"image": image[:, ::-1]}}


def dice_and_ce(logits, target):
  return LOSSES["cross_entropy"](logits, target) + LOSSES["dice"](logits, target)


@pytest.fixture(params=["supervised", "deep", "averaged", "adversarial"])
def method(request):
  net = small_unet()
  if request.param == "adversarial":
    return adversarial(net, small_critic(), dice_and_ce, optax.sgd(0.05), optax.sgd(1e-3))
  if request.param == "deep":
    net = NETWORKS["unet"](classes=3, widths=(4, 6, 8), depth=1, deep_supervision=1)
  scheme = supervised.supervised(net, dice_and_ce, optax.sgd(0.05))
  return averaged.averaged(scheme, decay=0.9) if request.param == "averaged" else scheme


def test_loss_falls_on_a_fixed_batch_without_recompilation(method):
  fixed_batch.train(method, batch_of())


def test_one_and_two_devices_agree(method):
  batch = batch_of()
  step = jax.jit(method.train_step)
  start = state_of(method, batch)
  states = []
  for devices in (jax.devices()[:1], jax.devices()[:2]):
    layout = sharding.layout(batches={}, devices=devices)
    state = jax.device_put(start, layout.replicated)
    split = sharding.place(batch, layout.split)
    key = jax.device_put(jax.random.key(1), layout.replicated)
    for _ in range(2):
      state, _ = step(state, split, key)
    states.append(state.learners["network"].params)
  for a, b in zip(*(jax.tree.leaves(s) for s in states), strict=True):
    assert_close(a, b, atol=2e-6)


def test_averages_follow_the_weights_as_the_formula_says():
  scheme = supervised.supervised(small_unet(), dice_and_ce, optax.sgd(0.1))
  wrapped = averaged.averaged(scheme, decay=0.9)
  batch = batch_of()
  state, step = state_of(wrapped, batch), jax.jit(wrapped.train_step)
  mean = np.asarray(jax.tree.leaves(state.learners["network"].params)[0])
  for t in range(3):
    state, _ = step(state, batch, jax.random.key(t))
    d = min(0.9, (1 + t) / (10 + t))
    mean = d * mean + (1 - d) * np.asarray(jax.tree.leaves(state.learners["network"].params)[0])
  got = jax.tree.leaves(state.learners["network_average"].params)[0]
  assert_close(got, mean)
  with pytest.raises(ValueError, match="decay must lie between 0 and 1"):
    averaged.averaged(scheme, decay=1.5)


def test_frozen_statistics_and_dropout_are_settings_of_forward():
  net = small_unet(dropout=0.5)
  x = batch_of()["image"]
  own = jax.jit(lambda key, x: learner(net, None, key, x))(jax.random.key(0), x)
  assert own.opt_state == ()

  @functools.partial(jax.jit, static_argnames="update_stats")
  def run(**options):
    return forward(net, own.params, own.stats, x, **options)

  plain_out, same = run()
  assert all(
    np.array_equal(a, b)
    for a, b in zip(jax.tree.leaves(same), jax.tree.leaves(own.stats), strict=True)
  )
  dropped, kept = run(key=jax.random.key(1))
  assert not np.allclose(dropped["logits"], plain_out["logits"])
  assert all(
    np.array_equal(a, b)
    for a, b in zip(jax.tree.leaves(kept), jax.tree.leaves(own.stats), strict=True)
  )
  _, moved = run(update_stats=True)
  assert not all(
    np.array_equal(a, b)
    for a, b in zip(jax.tree.leaves(moved), jax.tree.leaves(own.stats), strict=True)
  )


def test_noise_statistics_and_training_outputs_are_three_settings():
  net = NETWORKS["unet"](
    classes=3,
    widths=(4, 6, 8),
    depth=1,
    deep_supervision=1,
    dropout=dict(rate=0.5, kind="block", size=2, ramp=9),
  )
  x = batch_of()["image"]
  own = jax.jit(lambda key: learner(net, None, key, x))(jax.random.key(0))

  @functools.partial(jax.jit, static_argnames=("update_stats", "train"))
  def run(**options):
    return forward(net, own.params, own.stats, x, **options)

  for key, update_stats, train in itertools.product(
    (None, jax.random.key(1)), (False, True), (None, False, True)
  ):
    out, stats = run(key=key, update_stats=update_stats, train=train)
    trains = update_stats if train is None else train
    assert ("aux" in out) == trains
    moved = {
      name: not all(map(np.array_equal, *map(jax.tree.leaves, (stats[name], own.stats[name]))))
      for name in stats
    }
    noisy = key is not None
    assert moved == {"batch_stats": update_stats, "counts": noisy and (trains or update_stats)}


@pytest.mark.parametrize("frozen", [False, True])
def test_frozen_statistics_leave_deep_supervision_on(frozen):
  net = NETWORKS["unet"](classes=3, widths=(4, 6, 8), depth=1, deep_supervision=1)
  batch, key = batch_of(), jax.random.key(1)
  scheme = supervised.supervised(
    net, dice_and_ce, optax.sgd(0.05), head_weights=(0.25, 0.75), freeze_statistics=frozen
  )
  state = state_of(scheme, batch)
  after, metrics = jax.jit(scheme.train_step)(state, batch, key)
  own = state.learners["network"]

  @jax.jit
  def parts(params, stats):
    mutable = [] if frozen else ["batch_stats"]
    variables = {"params": params, **stats}
    out, _ = net.apply(variables, batch["image"], train=True, mutable=mutable)
    coarse = batch["label"][:, 1::2, 1::2]
    pairs = (out["logits"], batch["label"]), (out["aux"][0], coarse)
    return [dice_and_ce(logits, Target(label)) for logits, label in pairs]

  fine, coarse = parts(own.params, own.stats)
  assert_close(metrics["loss"], 0.25 * fine + 0.75 * coarse)
  same = jax.tree.map(np.array_equal, after.learners["network"].stats, own.stats)
  assert all(jax.tree.leaves(same)) is frozen
