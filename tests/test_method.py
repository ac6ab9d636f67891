"""The contract: what a method is, and that the loop needs no change for a new one."""

import functools
import itertools

import fixed_batch
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from closeness import assert_close
from flax import linen as nn

from jaxseg import loop, sharding
from jaxseg.batch import Target, target
from jaxseg.losses import LOSSES
from jaxseg.method import Method, State, descend, forward, learner
from jaxseg.methods import averaged, supervised
from jaxseg.networks import NETWORKS
from jaxseg.runs import checkpoint


class Critic(nn.Module):
  """One score per image: how real a segmentation looks."""

  @nn.compact
  def __call__(self, x, *, train=False):
    for width in (4, 8):
      x = nn.leaky_relu(nn.Conv(width, (3,) * (x.ndim - 2), strides=2)(x))
    return {"logits": nn.Dense(1)(x.mean(tuple(range(1, x.ndim - 1))))}


def adversarial(network, critic, loss, optimiser, critic_optimiser) -> Method:
  """Two learners, two optimisers: a throw-away scheme that exists only here."""

  def init(key, batch):
    a, b = jax.random.split(key)
    space = batch["label"].shape
    return State(
      jnp.zeros((), jnp.int32),
      {
        "network": learner(network, optimiser, a, batch["image"]),
        "critic": learner(critic, critic_optimiser, b, jnp.zeros((*space, 3))),
      },
    )

  def judged(params, stats, maps):
    return forward(critic, params, stats, maps)[0]["logits"]

  def train_step(state, batch, key):
    net, judge = state.learners["network"], state.learners["critic"]
    real = jax.nn.one_hot(batch["label"], 3)

    def generate(params):
      out, stats = forward(network, params, net.stats, batch["image"], key=key, update_stats=True)
      fooled = judged(judge.params, judge.stats, jax.nn.softmax(out["logits"]))
      fool = -jax.nn.log_sigmoid(fooled).mean()
      return loss(out["logits"], target(batch)) + 0.1 * fool, (stats, {"fool": fool})

    net, metrics = descend(optimiser, net, generate)
    # the critic meets what the updated network makes
    out, _ = forward(network, net.params, net.stats, batch["image"])
    fake = jax.lax.stop_gradient(jax.nn.softmax(out["logits"]))

    def discriminate(params):
      right = jax.nn.log_sigmoid(judged(params, judge.stats, real)).mean()
      wrong = jax.nn.log_sigmoid(-judged(params, judge.stats, fake)).mean()
      return -right - wrong, (judge.stats, {})

    judge, told = descend(critic_optimiser, judge, discriminate)
    metrics["critic_loss"] = told["loss"]
    return state.replace(step=state.step + 1, learners={"network": net, "critic": judge}), metrics

  def apply(state, batch):
    net = state.learners["network"]
    return forward(network, net.params, net.stats, batch["image"])[0]

  return Method(init, train_step, apply)


def small_unet(**options):
  return NETWORKS["unet"](classes=3, widths=(4, 8), depth=1, decoder_depth=1, **options)


def batch_of(rank=2, seed=0):
  random = np.random.default_rng(seed)
  label = random.integers(0, 3, (4, *(8,) * rank)).astype(np.int32)
  image = label[..., None] + 0.1 * random.standard_normal((*label.shape, 1))
  return {"image": jnp.asarray(image, jnp.float32), "label": jnp.asarray(label)}


def dice_and_ce(logits, target):
  return LOSSES["cross_entropy"](logits, target) + LOSSES["dice"](logits, target)


@pytest.fixture(params=["supervised", "deep", "averaged", "adversarial"])
def method(request):
  net = small_unet()
  if request.param == "adversarial":
    return adversarial(net, Critic(), dice_and_ce, optax.sgd(0.05), optax.adam(1e-3))
  if request.param == "deep":
    net = NETWORKS["unet"](classes=3, widths=(4, 6, 8), depth=1, deep_supervision=1)
  scheme = supervised.supervised(net, dice_and_ce, optax.sgd(0.05))
  return averaged.averaged(scheme, decay=0.9) if request.param == "averaged" else scheme


def test_loss_falls_on_a_fixed_batch_without_recompilation(method):
  fixed_batch.train(method, batch_of())


@pytest.mark.bits
def test_one_and_two_devices_agree(method):
  batch = batch_of()
  step = jax.jit(method.train_step)
  start = jax.jit(method.init)(jax.random.key(0), batch)
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


def test_a_second_method_trains_resumes_and_predicts_under_the_same_loop(tmp_path):
  """Two learners, two optimisers: the loop needs no change."""
  scheme = adversarial(small_unet(), Critic(), dice_and_ce, optax.sgd(0.05), optax.adam(1e-3))
  whole, parts = tmp_path / "whole", tmp_path / "parts"
  report = loop.train(tiny.experiment(scheme=scheme, steps=4), whole)
  assert np.isfinite(report["validation"]["mean"]["dice"])
  loop.train(tiny.experiment(scheme=scheme, steps=2), parts)
  loop.train(tiny.experiment(scheme=scheme, steps=4), parts)
  tables = []
  for folder in (whole, parts):
    kept = checkpoint.Checkpoints(folder)
    tables.append(kept.arrays(kept.steps[0]))
  assert any(name.startswith("learners/critic/opt_state") for name in tables[0])
  assert tables[0].keys() == tables[1].keys()
  for name in tables[0]:
    np.testing.assert_array_equal(tables[0][name], tables[1][name], err_msg=name)


def test_averages_follow_the_weights_as_the_formula_says():
  scheme = supervised.supervised(small_unet(), dice_and_ce, optax.sgd(0.1))
  wrapped = averaged.averaged(scheme, decay=0.9)
  batch = batch_of()
  state, step = jax.jit(wrapped.init)(jax.random.key(0), batch), jax.jit(wrapped.train_step)
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
    dropout=0.5,
    drop_block=2,
    drop_block_ramp=9,
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
  state = jax.jit(scheme.init)(jax.random.key(0), batch)
  after, metrics = jax.jit(scheme.train_step)(state, batch, key)
  own = state.learners["network"]
  out, _ = net.apply(
    {"params": own.params, **own.stats},
    batch["image"],
    train=True,
    mutable=[] if frozen else ["batch_stats"],
  )
  coarse = batch["label"][:, 1::2, 1::2]
  parts = [
    dice_and_ce(out["logits"], Target(batch["label"])),
    dice_and_ce(out["aux"][0], Target(coarse)),
  ]
  assert_close(metrics["loss"], 0.25 * parts[0] + 0.75 * parts[1])
  same = jax.tree.map(np.array_equal, after.learners["network"].stats, own.stats)
  assert all(jax.tree.leaves(same)) is frozen
