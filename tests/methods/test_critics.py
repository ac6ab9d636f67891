"""What a critic is shown, and how it learns."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from closeness import assert_close
from critic_rows import SMALL
from golden_inputs import B_LABELS, B_LOGITS

from jaxseg.batch import Target
from jaxseg.losses import gan
from jaxseg.methods import critics
from jaxseg.networks import CRITICS, NETWORKS

PROBABILITIES = np.exp(B_LOGITS) / np.exp(B_LOGITS).sum(-1, keepdims=True)
ONE_HOT = np.eye(3, dtype=np.float32)[B_LABELS]


def test_voxels_without_a_weight_are_hidden_in_both_maps():
  weight = jnp.asarray([[[1.0, 0.0], [0.5, 1.0]]])
  made, truth, visible = critics.judged_maps(B_LOGITS, Target(B_LABELS, weight))
  hidden = np.asarray(weight > 0, np.float32)
  np.testing.assert_array_equal(visible, hidden)
  assert_close(made, PROBABILITIES * hidden[..., None], atol=1e-6)
  np.testing.assert_array_equal(truth, ONE_HOT * hidden[..., None])


def test_regions_are_judged_by_sigmoids():
  labels = jnp.asarray(np.random.default_rng(0).integers(0, 2, (1, 2, 2, 3)), jnp.float32)
  made, truth, _ = critics.judged_maps(B_LOGITS, Target(labels), sigmoid=True)
  assert_close(made, 1 / (1 + np.exp(-B_LOGITS)), atol=1e-6)
  np.testing.assert_array_equal(truth, labels)


def test_a_target_is_cut_to_the_grid_of_a_network_that_loses_a_margin():
  labels = np.pad(B_LABELS, ((0, 0), (1, 1), (1, 1)))
  _, truth, _ = critics.judged_maps(B_LOGITS, Target(labels))
  np.testing.assert_array_equal(truth, ONE_HOT)
  image = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
  _, seen = critics.show(CRITICS["two_input_critic"](), truth, jnp.asarray(image), inputs="basic")
  np.testing.assert_array_equal(seen[0, ..., 0], [[5, 6], [9, 10]])


def test_a_critic_is_shown_what_the_inputs_say():
  maps = jnp.asarray(PROBABILITIES)
  image = jnp.asarray(np.random.default_rng(0).normal(size=(1, 2, 2, 2)), jnp.float32)
  one, two = CRITICS["patch_critic"](), CRITICS["two_input_critic"]()
  (alone,) = critics.show(one, maps, image, inputs="maps")
  np.testing.assert_array_equal(alone, maps)
  (joined,) = critics.show(one, maps, image, inputs="basic")
  np.testing.assert_array_equal(joined, np.concatenate([maps, image], -1))
  np.testing.assert_array_equal(critics.show(two, maps, image, inputs="scaling")[1], image)
  (masked,) = critics.show(one, maps, image, inputs="product")
  for k in range(3):
    np.testing.assert_allclose(masked[..., 2 * k : 2 * k + 2], maps[..., k : k + 1] * image)
  (inner,) = critics.show(one, maps, image, inputs="product", first=1)
  np.testing.assert_array_equal(inner, masked[..., 2:])


def test_softened_labels_are_lucs():
  p = PROBABILITIES.astype(np.float64)
  expected = np.zeros_like(p)
  for i, j in np.ndindex(2, 2):
    right = B_LABELS[0, i, j]
    new = max(0.7, p[0, i, j, right])
    for k in range(3):
      share = p[0, i, j, k] * (1 - new) / (1 - p[0, i, j, right])
      expected[0, i, j, k] = new if k == right else share
  soft = critics.softened(jnp.asarray(ONE_HOT), jnp.asarray(PROBABILITIES), least=0.7)
  assert_close(soft, expected, atol=1e-6)
  assert_close(soft.sum(-1), 1.0, atol=1e-6)
  # voxels of no class stay so, and nothing teaches the network through its labels
  nothing = critics.softened(jnp.zeros_like(soft), jnp.asarray(PROBABILITIES), least=0.7)
  np.testing.assert_array_equal(nothing, 0)
  slope = jax.grad(lambda p: critics.softened(ONE_HOT, p, least=0.7)[0, 0, 0, 0])(
    jnp.asarray(PROBABILITIES)
  )
  np.testing.assert_array_equal(slope, 0)


def test_softened_regions_are_right_or_absent_by_themselves():
  truth, maps = jnp.asarray([1.0, 1.0, 0.0, 0.0]), jnp.asarray([0.95, 0.2, 0.05, 0.6])
  soft = critics.softened(truth, maps, least=0.9, sigmoid=True)
  assert_close(soft, [0.95, 0.9, 0.05, 0.1], atol=1e-6)


def test_a_straight_through_map_is_decided_and_teaches():
  maps = jnp.asarray(PROBABILITIES)
  decided = critics.straight_through(maps)
  assert_close(decided, np.eye(3)[np.argmax(PROBABILITIES, -1)], atol=1e-6)
  slope = jax.grad(lambda p: (critics.straight_through(p) * B_LOGITS).sum())(maps)
  assert_close(slope, B_LOGITS)
  by_region = critics.straight_through(jnp.asarray([0.4, 0.6]), sigmoid=True)
  assert_close(by_region, [0.0, 1.0], atol=1e-6)


def judge_of(name="patch_critic", **options):
  net = CRITICS[name](**SMALL[name], **options)
  x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 2, 16, 16, 3)), jnp.float32)
  judge, outputs = critics.critic_learner(net, optax.sgd(0.1), jax.random.key(0), lambda: (x[0],))
  return net, judge, outputs, x


def test_all_parameters_of_a_critic_are_clipped_after_each_step():
  net, judge, _, (real, fake) = judge_of()
  tell = critics.tell_apart(net, (real,), (fake,), mode="wgan")

  @functools.partial(jax.jit, static_argnames="limit")
  def learn(limit):
    return critics.learn(optax.sgd(10.0), judge, tell, jax.random.key(1), limit=limit)

  after, _ = learn(limit=0.01)
  for leaf in jax.tree.leaves(after.params):
    assert float(jnp.abs(leaf).max()) <= 0.01
  free, _ = learn(limit=None)
  assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(free.params)) > 0.01


def test_several_steps_are_single_steps_one_after_the_other():
  net, judge, _, (real, fake) = judge_of(norm="batch")
  tell, key = critics.tell_apart(net, (real,), (fake,)), jax.random.key(1)

  @functools.partial(jax.jit, static_argnames="steps")
  def learn(judge, key, steps):
    return critics.learn(optax.sgd(0.1), judge, tell, key, steps=steps)

  many, metrics = learn(judge, key, steps=3)
  for one in jax.random.split(key, 3):
    judge, last = learn(judge, one, steps=1)
  for a, b in zip(*map(jax.tree.leaves, (many, judge)), strict=True):
    assert_close(a, b, atol=1e-6)
  assert metrics.keys() == last.keys() >= {"critic_loss", "critic_accuracy"}
  assert_close(metrics["critic_loss"], last["critic_loss"], rtol=1e-5)


def test_a_critic_learns_to_tell_two_kinds_apart():
  net, judge, _, (real, fake) = judge_of(norm="none")
  tell, tx = critics.tell_apart(net, (real + 1,), (fake - 1,)), optax.adam(1e-2)
  judge = judge.replace(opt_state=tx.init(judge.params))
  judge, metrics = jax.jit(
    lambda judge: critics.learn(tx, judge, tell, jax.random.key(1), steps=30)
  )(judge)
  assert float(metrics["critic_accuracy"]) == 1
  assert float(metrics["critic_loss"]) < 0.1


def test_the_gradient_penalty_holds_the_slope_where_the_gain_ends():
  net, judge, _, (real, fake) = judge_of(norm="none")
  tx, inputs = optax.adam(1e-2), ((real + 1,), (fake - 1,))
  judge = judge.replace(opt_state=tx.init(judge.params))
  # -55 s + 10 (s - 1)^2, for the two kinds are 2 sqrt(768) = 55 apart, is least at s = 3.8
  left = {}
  for weight in (0.0, 10.0):
    tell = critics.tell_apart(net, *inputs, mode="wgan", penalty=weight)
    learn = jax.jit(
      lambda judge, tell=tell: critics.learn(tx, judge, tell, jax.random.key(1), steps=80)
    )
    after, metrics = learn(judge)
    assert ("critic_penalty" in metrics) == bool(weight)

    def scores(x, after=after):
      return net.apply({"params": after.params}, x)["score"]

    left[weight] = float(gan.gradient_penalty(scores, (inputs[0][0] + inputs[1][0]) / 2))
  assert left[10.0] < 20
  assert left[0.0] > 1000


def test_features_come_the_finest_first():
  outputs = {"stage10": 3, "stage2": 2, "score": 0, "input": 1}
  assert critics.features(outputs) == [1, 2, 3]
  assert len(critics.features(judge_of()[2])) == 2


@pytest.mark.parametrize(
  ("name", "scores", "words"),
  [
    ("multi_scale_critic", True, "MultiScaleCritic .* gives input, stage1, .*, and no score"),
    ("unet", False, "UNet .* gives no features at several scales"),
  ],
)
def test_a_critic_that_gives_something_else_is_told(name, scores, words):
  net = {**NETWORKS, **CRITICS}[name](**SMALL.get(name, {"widths": (4, 6), "depth": 1}))
  with pytest.raises(ValueError, match=words):
    critics.critic_learner(
      net, optax.sgd(0.1), jax.random.key(0), lambda: (jnp.zeros((1, 16, 16, 3)),), scores=scores
    )
