"""Critics in training: who learns from what, every mode and input, what is refused and where."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from closeness import assert_close
from critic_rows import SMALL
from drawn_states import state_of
from flax import linen as nn

from jaxseg import data, defaults
from jaxseg.build import plain
from jaxseg.compose import optimisers_by_role
from jaxseg.experiment import experiment
from jaxseg.losses import LOSSES
from jaxseg.method import forward
from jaxseg.methods import METHODS
from jaxseg.networks import CRITICS

CROSS = LOSSES["cross_entropy"]
NORMED = ("patch_critic", "multi_scale_critic", "residual_critic")


class Mixer(nn.Module):
  """A 1x1 convolution of the image."""

  classes: int = 3

  @nn.compact
  def __call__(self, x, *, train=False):
    return {"logits": nn.Dense(self.classes)(x)}


def judge(name, **options):
  norm = {"norm": "instance"} if name in NORMED else {}
  return CRITICS[name](**{**SMALL[name], **norm, **options})


def batch_of(seed=0, side=8, weight=None):
  random = np.random.default_rng(seed)
  label = random.integers(0, 3, (2, side, side)).astype(np.int32)
  image = label[..., None] + 0.3 * random.standard_normal((*label.shape, 2))
  batch = {"image": jnp.asarray(image, jnp.float32), "label": jnp.asarray(label)}
  batch["unlabelled"] = {"image": batch["image"][:, ::-1] + 0.5}
  return batch if weight is None else {**batch, "weight": jnp.asarray(weight, jnp.float32)}


OF = {
  "adversarial": "patch_critic",
  "hung": "fully_convolutional_critic",
  "dan": "two_input_critic",
}


def scheme(name, critic=None, *, rates=(0.1, 0.1), spec=(), **options):
  net, critic = Mixer(), judge(critic or OF[name], **dict(spec))
  return METHODS[name](net, critic, CROSS, *map(optax.sgd, rates), **options)


def one_step(method, batch):
  before = state_of(method, batch)
  return before, *jax.jit(method.train_step)(before, batch, jax.random.key(1))


def same(before, after, name):
  pairs = (before.learners[name].params, after.learners[name].params)
  return all(jax.tree.leaves(jax.tree.map(np.array_equal, *pairs)))


@functools.cache
def program(name):
  """The method and its step, whose rates lie in the state: one program serves several tests."""
  rates = [optax.inject_hyperparams(optax.sgd)(learning_rate=0.0)] * 2
  method = METHODS[name](Mixer(), judge(OF[name]), CROSS, *rates)
  return method, jax.jit(method.train_step)


@pytest.mark.parametrize("name", OF)
@pytest.mark.parametrize("still", ["network", "critic"])
def test_with_one_frozen_only_the_other_changes(name, still):
  method, step = program(name)
  batch = batch_of()
  before = state_of(method, batch)
  moving = "critic" if still == "network" else "network"
  of = before.learners[moving]
  faster = of.opt_state._replace(hyperparams={"learning_rate": jnp.float32(0.1)})
  learners = {**before.learners, moving: of.replace(opt_state=faster)}
  before = before.replace(learners=learners)
  after, _ = step(before, batch, jax.random.key(1))
  for learner in ("network", "critic"):
    assert same(before, after, learner) is (learner == still), learner


def test_an_adversarial_term_of_no_weight_is_supervised_training():
  batch = batch_of()
  plain_step = METHODS["supervised"](Mixer(), CROSS, optax.sgd(0.1))
  method = scheme("adversarial", fool=0.0)
  state = state_of(method, batch)
  alone = state.replace(learners={"network": state.learners["network"]})
  ours, metrics = jax.jit(method.train_step)(state, batch, jax.random.key(1))
  theirs, expected = jax.jit(plain_step.train_step)(alone, batch, jax.random.key(1))
  pair = ours.learners["network"], theirs.learners["network"]
  for a, b in zip(*map(jax.tree.leaves, pair), strict=True):
    assert_close(a, b, atol=1e-6)
  assert_close(metrics["loss"], expected["loss"], rtol=1e-5)


@pytest.mark.parametrize(
  ("critic", "options", "metric"),
  [
    ("patch_critic", {"mode": "lsgan", "inputs": "product", "straight_through": True}, "accuracy"),
    ("two_input_critic", {"mode": "hinge", "inputs": "scaling", "critic_steps": 2}, "accuracy"),
    ("residual_critic", {"inputs": "maps", "spec": [("spectral", True)]}, "accuracy"),
    ("patch_critic", {"mode": "wgan", "gradient_penalty": 10.0}, "penalty"),
    ("fully_convolutional_critic", {"mode": "wgan", "clip_weights": 0.01}, "accuracy"),
    (
      "multi_scale_critic",
      {
        "mode": "multi_scale_l1",
        "inputs": "product",
        "include_background": False,
        "clip_weights": 0.05,
        "feature_weights": (1.0, 1.0, 2.0, 4.0),
      },
      "distance",
    ),
  ],
)
def test_every_mode_and_input_trains_both(critic, options, metric):
  before, after, metrics = one_step(scheme("adversarial", critic, **options), batch_of())
  assert not same(before, after, "network")
  assert not same(before, after, "critic")
  assert f"critic_{metric}" in metrics
  assert all(np.isfinite(value) for value in metrics.values())
  total = metrics["supervised_loss"] + 0.1 * metrics["adversarial_loss"]
  assert_close(metrics["loss"], total, rtol=1e-5)
  if limit := options.get("clip_weights"):
    largest = [float(jnp.abs(w).max()) for w in jax.tree.leaves(after.learners["critic"].params)]
    assert max(largest) <= np.float32(limit)


@pytest.mark.parametrize("name", ["adversarial", "hung"])
def test_what_has_no_weight_says_nothing_to_the_critic(name):
  weight = np.zeros((2, 8, 8))
  weight[:, :4] = 1
  batch = batch_of(weight=weight)
  other = {**batch, "label": batch["label"].at[:, 4:].set(0)}
  options = {"inputs": "maps"} if name == "adversarial" else {}
  method = scheme(name, "fully_convolutional_critic", **options)
  states = [one_step(method, of)[1] for of in (batch, other)]
  for a, b in zip(*map(jax.tree.leaves, states), strict=True):
    np.testing.assert_array_equal(a, b)


def test_the_critic_is_not_asked_where_the_network_is_applied():
  batch = batch_of()
  for name in OF:
    method = scheme(name)
    state = jax.eval_shape(method.init, jax.random.key(0), batch)
    alone = state.replace(learners={"network": state.learners["network"]})
    outputs = jax.eval_shape(method.apply, alone, {"image": batch["image"]})
    assert outputs["logits"].shape == (2, 8, 8, 3)


def test_hungs_own_labels_are_those_that_content_the_critic():
  batch = batch_of()
  state, _, metrics = one_step(scheme("hung", threshold=0.5, semi=1.0, fool=0.0), batch)
  net, critic = state.learners["network"], state.learners["critic"]
  rows = batch["unlabelled"]["image"]
  logits = np.asarray(forward(Mixer(), net.params, {}, rows)[0]["logits"], np.float64)
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  score = forward(judge(OF["hung"]), critic.params, {}, jnp.asarray(p, jnp.float32))[0]["score"]
  sure = np.asarray(score)[..., 0] >= 0
  assert_close(metrics["kept"], sure.mean(), atol=1e-6)
  own = -np.log(p.max(-1))
  expected = (own * sure).sum() / max(sure.sum(), 1)
  assert_close(metrics["semi_loss"], expected, rtol=1e-4)


def test_dans_critic_calls_the_labelled_ones_real():
  batch = batch_of()
  state, _, metrics = one_step(scheme("dan", spec=[("dropout", 0.0)]), batch)
  net, critic = state.learners["network"], state.learners["critic"]
  scores = []
  for image in (batch["image"], batch["unlabelled"]["image"]):
    maps = jax.nn.softmax(forward(Mixer(), net.params, {}, image)[0]["logits"])
    outputs, _ = forward(judge(OF["dan"], dropout=0.0), critic.params, {}, maps, image)
    scores.append(np.asarray(outputs["score"], np.float64))
  real, fake = scores
  told = (np.log1p(np.exp(-real)).mean() + np.log1p(np.exp(fake)).mean()) / 2
  assert_close(metrics["critic_loss"], told, rtol=1e-4)
  assert_close(metrics["adversarial_loss"], np.log1p(np.exp(-fake)).mean(), rtol=1e-4)


@pytest.mark.parametrize(
  ("name", "critic", "options", "words"),
  [
    ("adversarial", "two_input_critic", {"inputs": "maps"}, "inputs='maps' is one input, but"),
    ("adversarial", "two_input_critic", {"inputs": "product"}, "expected inputs='basic'"),
    ("adversarial", "patch_critic", {"mode": "wgan"}, "lets the critic grow without end"),
    ("adversarial", "multi_scale_critic", {"mode": "multi_scale_l1"}, "expected clip_weights"),
    ("adversarial", "patch_critic", {"feature_weights": (1.0,)}, "feature_weights are of mode="),
    ("adversarial", "patch_critic", {"mode": "gan"}, "mode='gan' is unknown; choices: bce"),
    ("adversarial", "patch_critic", {"inputs": "image"}, "inputs='image' is unknown"),
    (
      "adversarial",
      "multi_scale_critic",
      {"mode": "multi_scale_l1", "clip_weights": 0.05, "gradient_penalty": 1.0},
      "gradient_penalty=1.0 is of scores",
    ),
    ("adversarial", "multi_scale_critic", {}, "gives input, stage1, .* and no score"),
    (
      "adversarial",
      "multi_scale_critic",
      {"mode": "multi_scale_l1", "clip_weights": 0.05, "feature_weights": (1.0, 2.0)},
      "feature_weights has 2 numbers, and the critic MultiScaleCritic gives 4 scales",
    ),
    (
      "adversarial",
      "patch_critic",
      {"gradient_penalty": 10.0, "spec": [("norm", "batch")]},
      "batch norm mixes them",
    ),
    ("hung", "two_input_critic", {}, "its critic sees the map of classes alone"),
    ("hung", "patch_critic", {}, r"scores every voxel, and PatchCritic .* gives scores of shape"),
    ("dan", "multi_scale_critic", {}, "and no score"),
  ],
)
def test_a_critic_or_an_option_that_does_not_fit_is_told(name, critic, options, words):
  with pytest.raises(ValueError, match=words):
    jax.eval_shape(scheme(name, critic, **options).init, jax.random.key(0), batch_of())


def config_of(**critic):
  config = defaults.config()
  config.method = dict(name="adversarial", inputs="maps")
  config.networks = dict(critic=critic)
  config.network = dict(name="unet", widths=(4, 8), depth=1, decoder_depth=1)
  config.data.source = dict(name="phantom", cases=8, size=(32, 32))
  config.data.patch = (16, 16)
  return config


@pytest.mark.parametrize(
  ("critic", "words"),
  [
    (dict(name="two_input_critic"), r"config\.method: adversarial: inputs='maps' is one input"),
    (dict(name="fully_convolutional_critic"), r"an input of \(16, 16\) is too small for 4 stages"),
    (dict(name="multi_scale_critic", kernels=4), r"multi_scale_critic: an input of \(16, 16\) is"),
    (dict(name="patch_critic", widths=(4,), spectral=1), r"config\.networks\.critic\.spectral: 1"),
  ],
)
def test_a_critic_that_does_not_fit_is_told_before_data_are_prepared(monkeypatch, critic, words):
  monkeypatch.setattr(data, "prepare", lambda *_, **__: pytest.fail("prepared"))
  with pytest.raises(ValueError, match=words):
    experiment(plain(config_of(**critic)))


def test_a_critics_schedule_lasts_as_long_as_training_however_often_it_learns():
  config = plain(config_of(name="patch_critic"))
  config["steps"], config["method"] = 10, {"name": "adversarial", "critic_steps": 3}
  config["optimisers"] = {
    "critic": {"name": "sgd", "learning_rate": 1.0, "schedule": {"name": "linear"}}
  }
  tx = optimisers_by_role(config)["critic_optimiser"]
  state, rates = tx.init({"w": jnp.zeros(())}), []
  for _ in range(30):
    update, state = tx.update({"w": jnp.ones(())}, state)
    rates.append(-float(update["w"]))
  assert_close(rates, 1 - np.arange(30) / 30, atol=1e-6)
