"""GLCA: worked rollout and cross-attention, what is chosen, what stays, gradients in a U-Net."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from abstract import trained_shapes
from closeness import assert_close
from test_contracts import drawn

from jaxseg.networks import UNet
from jaxseg.networks.blocks import GLCA
from jaxseg.networks.blocks.glca import (
  TransformerLayer,
  cross_attention,
  high_responses,
  rollout,
  with_neighbour,
)

FIRST = np.float32([[0.6, 0.2, 0.2], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]])
SECOND = np.float32([[0.2, 0.5, 0.3], [0.25, 0.25, 0.5], [0.1, 0.1, 0.8]])
LAYERS = [FIRST[None, None], SECOND[None, None]]
ROLLOUT = [[0.515, 0.3075, 0.1775], [0.16875, 0.6125, 0.21875], [0.1775, 0.185, 0.6375]]


def test_worked_rollout_has_the_later_layer_on_the_left():
  assert_close(rollout(LAYERS)[0], ROLLOUT, atol=1e-6)


def test_a_rollout_from_given_rows_is_their_product_with_the_full_one():
  start = np.float32([[[0.2, 0.3, 0.5], [0, 1, 0]]])
  assert_close(rollout(LAYERS, start)[0], start[0] @ ROLLOUT, atol=1e-6)


@pytest.mark.parametrize("fusion", ["mean", "max", "min"])
def test_heads_are_fused_and_rows_sum_to_one(fusion):
  heads = np.stack([FIRST, SECOND])[None]
  fused = {"mean": np.mean, "max": np.max, "min": np.min}[fusion](heads[0], axis=0)
  fused /= fused.sum(-1, keepdims=True)
  out = rollout([heads], fusion=fusion)[0]
  assert_close(out, (fused + np.eye(3)) / 2, atol=1e-6)
  assert_close(out.sum(-1), 1, atol=1e-6)


def test_worked_cross_attention():
  query, key = jnp.float32([[1, 0], [0, 2]]), jnp.float32([[1, 0], [0, 1], [1, 1]])
  value = jnp.float32([[1, 2], [3, 4], [5, 6]])
  out, weights = cross_attention(query, key, value)
  assert_close(out, [[3, 4], [3.67485, 4.67485]], atol=1e-5)
  assert_close(weights.sum(-1), 1, atol=1e-6)


@pytest.mark.parametrize(
  ("share", "expected"), [(0.01, [1]), (0.34, [1]), (0.67, [1, 2]), (1.0, [1, 2, 0])]
)
def test_the_highest_columns_of_the_rollout_are_chosen_at_least_one(share, expected):
  # column means: 0.2871, 0.3683, 0.3446
  np.testing.assert_array_equal(high_responses(LAYERS, share)[0], expected)


def test_shares_that_are_whole_numbers_of_tokens_are_kept_whole():
  uniform = [jax.ShapeDtypeStruct((1, 1, 100, 100), jnp.float32)]
  choose = functools.partial(high_responses, share=0.29)
  assert jax.eval_shape(choose, uniform).shape == (1, 29)


def test_only_chosen_tokens_change_and_each_as_if_all_had_asked():
  rng = np.random.default_rng(0)
  tokens = rng.normal(size=(2, 6, 8)).astype(np.float32)
  chosen = np.array([[4, 0], [1, 5]])
  layer = TransformerLayer(heads=2)
  params = drawn(jax.eval_shape(layer.init, jax.random.key(0), tokens))
  run = jax.jit(layer.apply)
  everyone, _ = run(params, tokens)
  some, weights = run(params, tokens, chosen)
  assert weights.shape == (2, 2, 2, 6)
  for sample in range(2):
    others = np.setdiff1d(np.arange(6), chosen[sample])
    np.testing.assert_array_equal(some[sample, others], tokens[sample, others])
    here = chosen[sample]
    assert_close(some[sample, here], everyone[sample, here], atol=1e-5)


def test_worked_pair_wise_attention_of_two_samples():
  # one token each: query and key of the first are 0, so that both keys weigh alike; those of the
  # second are 1: weights e and 1 (its own first), values 2 (the first's) and 5
  tokens = jnp.float32([[[[0]]], [[[1]]]])
  values = jnp.float32([[[[2]]], [[[5]]]])
  out, weights = cross_attention(tokens, with_neighbour(tokens), with_neighbour(values))
  share = np.e / (np.e + 1)
  assert_close(weights[:, 0, 0], [[0.5, 0.5], [share, 1 - share]])
  assert_close(out[:, 0, 0, 0], [3.5, 5 * share + 2 * (1 - share)])


def test_a_sample_is_paired_with_the_one_before_it():
  x = jnp.arange(12.0).reshape(3, 1, 2, 2)
  paired = np.asarray(with_neighbour(x))
  np.testing.assert_array_equal(paired[:, :, :2], x)
  np.testing.assert_array_equal(paired[:, :, 2:], x[np.array([2, 0, 1])])


def with_pwca(pwca, training, x):
  """A block with or without PWCA, with or without a key: (variables' shapes, jitted function)."""
  net = GLCA(layers=1, heads=2, share=0.3, pwca=pwca)
  rngs = {"dropout": jax.random.key(1)} if training else None

  def run(variables, x):
    return net.apply(variables, x, rngs=rngs)

  return jax.eval_shape(net.init, jax.random.key(0), x), jax.jit(run)


def test_pwca_has_no_parameters_and_leaves_inference_as_it_is():
  x = jax.ShapeDtypeStruct((3, 2, 3, 8), jnp.float32)
  plain, run = with_pwca(False, False, x)
  program = run.lower(plain, x).as_text()
  for pwca, training in ((True, False), (False, True), (True, True)):
    variables, other = with_pwca(pwca, training, x)
    assert variables == plain
    assert (other.lower(plain, x).as_text() == program) == (not (pwca and training))


def test_with_pwca_training_mixes_each_sample_with_its_neighbour_alone():
  x = np.random.default_rng(0).normal(size=(3, 2, 3, 8)).astype(np.float32)
  shapes, mixed = with_pwca(True, True, x)
  variables, changed = drawn(shapes), x.copy()
  changed[0] *= -1
  moved = np.abs(mixed(variables, changed) - mixed(variables, x)).max((1, 2, 3))
  assert moved[0] > 1e-3
  assert moved[1] > 1e-3  # sample 1 sees sample 0
  assert moved[2] == 0


@pytest.mark.parametrize("samples", [1, 2])
def test_a_sample_alone_attends_as_without_pwca_and_the_rollout_sees_its_own_tokens(samples):
  x = np.random.default_rng(0).normal(size=(samples, 5, 8)).astype(np.float32)
  plain, mixed = TransformerLayer(heads=2), TransformerLayer(heads=2, pwca=True)
  variables = drawn(jax.eval_shape(plain.init, jax.random.key(0), x))
  rngs = {"dropout": jax.random.key(0)}
  run = jax.jit(lambda x: (plain.apply(variables, x), mixed.apply(variables, x, rngs=rngs)))
  (clean, expected), (out, weights) = run(x)
  assert_close(weights, expected, atol=1e-6)
  # alone, the same keys twice: half the weights, twice the sum
  assert (np.abs(out - clean).max() < 1e-5) == (samples == 1)


@pytest.mark.parametrize("space", [(5, 7), (3, 2, 5), (1, 1)])
def test_any_size_keeps_its_shape(space):
  x = jax.ShapeDtypeStruct((2, *space, 8), jnp.float32)
  out = jax.eval_shape(lambda x: GLCA().init_with_output(jax.random.key(0), x)[0], x)
  assert out.shape == x.shape


def test_positions_matter_unless_they_are_left_out():
  x = np.random.default_rng(0).normal(size=(1, 3, 4, 8)).astype(np.float32)
  moved = x[:, ::-1, ::-1]
  for position in ("conv", "none"):
    net = GLCA(layers=1, heads=2, share=0.5, position=position)
    params = drawn(jax.eval_shape(net.init, jax.random.key(0), x))
    run = jax.jit(net.apply)
    change = np.abs(run(params, moved)[:, ::-1, ::-1] - run(params, x)).max()
    assert change > 1e-2 if position == "conv" else change < 1e-4


def test_every_parameter_learns():
  rng = np.random.default_rng(0)
  x, wanted = rng.normal(size=(2, 1, 3, 4, 8)).astype(np.float32)
  net = GLCA(layers=2, share=0.3)
  variables = drawn(jax.eval_shape(net.init, jax.random.key(0), x))
  loss = jax.jit(jax.grad(lambda v: jnp.sum((net.apply(v, x) - wanted) ** 2)))
  for path, leaf in jax.tree_util.tree_leaves_with_path(loss(variables)):
    assert np.isfinite(leaf).all(), path
    assert np.abs(leaf).max() > 0, path


def test_a_unet_takes_it_at_the_bottleneck():
  net = UNet(widths=(4, 8), depth=1, bottleneck={"name": "glca", "share": 0.3, "blocks": 2})
  variables, outputs = trained_shapes(net, 2, 5, 7, 6, 1)
  parts = {"position", "self_attention1", "self_attention2"}
  assert set(variables["params"]["bottleneck"]) == parts | {"cross_attention1", "cross_attention2"}
  assert outputs["logits"].shape == (2, 5, 7, 6, 3)


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"heads": 3}, "3 heads do not divide 8 channels"),
    ({"layers": 0}, "at least one self-attention layer"),
    ({"share": 0.0}, "share=0.0; expected"),
    ({"head_fusion": "sum"}, "head_fusion='sum' is unknown; choices: mean, max, min"),
    ({"position": "learned"}, "position='learned' is unknown; choices: conv, none"),
  ],
)
def test_bad_options_are_refused_in_words(options, words):
  with pytest.raises(ValueError, match=words):
    jax.eval_shape(GLCA(**options).init, jax.random.key(0), jnp.zeros((1, 4, 4, 8)))
