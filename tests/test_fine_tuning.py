"""Layers by depth, unfreezing and L2-SP, against their formulas in NumPy."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from closeness import assert_close

from jaxseg import fine_tuning, paths
from jaxseg.optimisers import OPTIMISERS, frozen_until, learning_rate, optimiser

PARAMS = {
  "encoder": {"conv1": {"kernel": jnp.array([2.0, -1.0])}, "layer1": {"kernel": jnp.array([4.0])}},
  "head": {"kernel": jnp.array([0.5])},
}
LAYERS = ("encoder/conv1", "encoder/layer1")


def train(tx, steps: int, params=PARAMS):
  """Trees of all steps of the loss sum w^2 / 2, the first one first, and the last state."""
  state, trees, update = tx.init(params), [params], jax.jit(tx.update)
  for _ in range(steps):
    updates, state = update(trees[-1], state, trees[-1])
    trees.append(optax.apply_updates(trees[-1], updates))
  return trees, state


def at(tree, *path):
  for name in path:
    tree = tree[name]
  return np.asarray(tree["kernel"])


def adam(w, rates, b1=0.9, b2=0.999):
  """Kingma and Ba's Adam on the loss w^2 / 2; the weights after each step."""
  m, v, trace = np.zeros_like(w), np.zeros_like(w), []
  for t, rate in enumerate(rates, start=1):
    m, v = b1 * m + (1 - b1) * w, b2 * v + (1 - b2) * w**2
    w = w - rate * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + 1e-8)
    trace.append(w)
  return trace


@pytest.mark.parametrize("name", sorted(OPTIMISERS))
def test_rates_fall_from_layer_to_layer_down(name):
  options = dict(name=name, learning_rate=1e-2, steps=9, weight_decay=0.1)
  plain, deep = (
    tx.update(PARAMS, tx.init(PARAMS), PARAMS)[0]
    for tx in (optimiser(**options), optimiser(**options, layers=LAYERS, layer_decay=0.5))
  )
  plain["encoder"]["conv1"]["kernel"] *= 0.25
  plain["encoder"]["layer1"]["kernel"] *= 0.5
  chex.assert_trees_all_close(deep, plain, rtol=1e-6)


def test_a_layers_rate_is_times_the_factor_of_its_path():
  options = dict(name="sgd", learning_rate=0.1, steps=4, layers=LAYERS, layer_decay=0.5)
  trees, _ = train(optimiser(**options, scale={"*conv1": 0.1, "head": 2.0}), 1)
  assert_close(at(trees[1], "encoder", "conv1"), at(PARAMS, "encoder", "conv1") * (1 - 0.0025))
  assert_close(at(trees[1], "head"), at(PARAMS, "head") * 0.8)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("name", sorted(OPTIMISERS))
def test_layers_keep_their_bits_until_they_are_unfrozen_from_the_top_down(name, accumulate):
  options = dict(name=name, learning_rate=1e-2, steps=12, accumulate=accumulate, clip=1.0)
  options |= dict(weight_decay=0.1, l2=0.1, layers=LAYERS, unfreeze=(4, 0.5))
  trees, _ = train(optimiser(**options), 8)
  first = {
    layer: next(i for i, tree in enumerate(trees) if (at(tree, *layer) != at(PARAMS, *layer)).any())
    for layer in (("head",), ("encoder", "layer1"), ("encoder", "conv1"))
  }
  # the first update after so many steps: all of its batches are later ones
  assert list(first.values()) == [accumulate, 4 + accumulate, 6 + accumulate]


def test_moments_are_steps_of_the_run_however_often_one_uses_the_optimiser():
  options = dict(name="sgd", learning_rate=0.1, steps=10, uses=3, layers=LAYERS, accumulate=2)
  until = frozen_until(steps=10, uses=3, layers=LAYERS, accumulate=2, unfreeze=(3, 5))
  for moments in ((3, 5), (0.3, 0.5)):
    trees, _ = train(optimiser(**options, unfreeze=moments), 20)
    for path, first in ((("encoder", "layer1"), 10), (("encoder", "conv1"), 16)):
      # the first update of two gradients both of which are of the ninth, or fifteenth, use or later
      still, moved = (at(trees[use], *path) for use in (first + 1, first + 2))
      np.testing.assert_array_equal(still, at(PARAMS, *path))
      assert (moved != still).any()
      assert until("/".join((*path, "kernel"))) == math.ceil(first / 3)
  with pytest.raises(ValueError, match="unfreeze: 10 is no moment of a training of 10 steps"):
    optimiser(**options, unfreeze=(3, 10))


def test_an_unfrozen_layer_begins_as_a_new_adam_at_the_rate_of_its_step():
  options = dict(name="adam", learning_rate=0.1, steps=10, schedule=dict(name="linear"))
  trees, state = train(optimiser(**options, layers=LAYERS, unfreeze=(3, 5)), 8)
  rates = [0.1 * (1 - step / 10) for step in range(8)]
  for path, begin in ((("head",), 0), (("encoder", "layer1"), 3), (("encoder", "conv1"), 5)):
    expected = adam(at(PARAMS, *path).astype(np.float64), rates[begin:])
    assert_close(np.stack([at(tree, *path) for tree in trees[begin + 1 :]]), np.stack(expected))
  assert learning_rate(state) == pytest.approx(rates[7])


def test_frozen_layers_do_not_count_for_the_norm_of_the_gradient():
  options = dict(name="sgd", learning_rate=1.0, steps=4, clip=0.25, layers=LAYERS, unfreeze=(1, 2))
  trees, _ = train(optimiser(**options), 2)
  # of the head alone, then of head and upper layer
  assert_close(at(trees[1], "head"), [0.25])
  norm = np.hypot(0.25, 4.0)
  assert_close(at(trees[2], "head"), [0.25 - 0.25 * 0.25 / norm])
  assert_close(at(trees[2], "encoder", "layer1"), [4 - 0.25 * 4 / norm])


def test_one_layer_may_be_several_patterns_and_the_lowest_one_frozen_for_good():
  layers, scale = ("encoder/layer1",), {"encoder/conv1": 0}
  options = dict(name="adam", learning_rate=0.1, steps=4, scale=scale)
  trees, state = train(optimiser(**options, layers=layers, unfreeze=(0.5,)), 4)
  chex.assert_trees_all_equal(trees[4]["encoder"]["conv1"], PARAMS["encoder"]["conv1"])
  chex.assert_trees_all_equal(trees[2]["encoder"], PARAMS["encoder"])
  assert at(trees[3], "encoder", "layer1") != 4.0
  names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(state)]
  assert not any("conv1" in name for name in names)
  both = optimiser(**{**options, "scale": {}}, layers=(LAYERS,), unfreeze=(2,))
  trees, _ = train(both, 3)
  chex.assert_trees_all_equal(trees[2]["encoder"], PARAMS["encoder"])
  assert all((at(trees[3], *p.split("/")) != at(PARAMS, *p.split("/"))).all() for p in LAYERS)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_l2_sp_draws_to_the_initial_weights_and_new_ones_to_zero(accumulate):
  tx = optimiser(
    name="sgd", learning_rate=0.1, steps=8, l2_sp=0.5, l2_new=0.2, accumulate=accumulate
  )
  start = jax.tree.map(np.asarray, PARAMS)
  flat = paths.flatten(start)
  taken = {"encoder/conv1/kernel", "encoder/layer1/kernel"}
  state = fine_tuning.anchored(tx.init(PARAMS), lambda path, leaf: jnp.asarray(flat[path]), taken)
  params = PARAMS
  for _ in range(3 * accumulate):
    # a loss of slope 1 everywhere
    updates, state = tx.update(jax.tree.map(jnp.ones_like, params), state, params)
    params = optax.apply_updates(params, updates)
  for path, w0 in flat.items():
    w = w0.astype(np.float64)
    for _ in range(3):
      w = w - 0.1 * (1 + (0.5 * (w - w0) if path in taken else 0.2 * w))
    assert_close(paths.flatten(params)[path], w)


def test_l2_sp_leaves_what_is_frozen_and_knows_nothing_before_it_is_told():
  options = dict(name="adam", learning_rate=0.1, steps=8, l2_sp=0.5)
  tx = optimiser(**options, layers=LAYERS, unfreeze=(2, 3), scale={"*conv1": 0.5})
  state = tx.init(PARAMS)
  assert fine_tuning.has_anchors(state)
  assert not fine_tuning.has_anchors(optimiser(**{**options, "l2_sp": 0.0}).init(PARAMS))
  trees, _ = train(tx, 2)
  chex.assert_trees_all_equal(trees[2]["encoder"], PARAMS["encoder"])
  frozen = optimiser(**options, scale={"encoder*": 0}).init(PARAMS)
  names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(frozen)]
  # no copy of what never moves
  assert not any("encoder" in name for name in names)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    (dict(layer_decay=0.5), r"layer_decay: goes by layers, but there are none"),
    (dict(unfreeze=(0.5,)), r"unfreeze: goes by layers, but there are none"),
    (dict(layers=LAYERS), r"layers: change nothing by themselves; expected layer_decay"),
    (dict(layers=LAYERS, layer_decay=1.5), r"layer_decay: 1\.5; expected a number above 0, up to"),
    (dict(layers=LAYERS, layer_decay=0.0), r"layer_decay: 0\.0; expected a number above 0, up to"),
    (dict(layers=LAYERS, unfreeze=(2,)), r"unfreeze: 1 moment\(s\) for 2 layer\(s\); expected one"),
    (dict(layers=LAYERS, unfreeze=(5, 5)), r"unfreeze: \(5, 5\) are the steps \(5, 5\), .* rise"),
    (
      dict(layers=LAYERS, unfreeze=(0.6, 5)),
      r"unfreeze: \(0\.6, 5\) are the steps \(6, 5\), .*rise",
    ),
    (dict(layers=LAYERS, unfreeze=(0.2, 10)), r"unfreeze: 10 is no moment of a training of 10"),
    (dict(layers=LAYERS, unfreeze=(0, 5)), r"unfreeze: 0 is no moment"),
    (dict(layers=LAYERS, unfreeze=(0.5, 1.0)), r"unfreeze: 1\.0 is no moment"),
    (
      dict(layers=LAYERS, unfreeze=(1, 9), accumulate=4),
      r"unfreeze: \(1, 9\) of 10 steps, but the",
    ),
    (dict(layers=((),), layer_decay=0.5), r"layers: \(\(\),\); expected patterns of paths"),
    (dict(layers=("head", "head"), layer_decay=0.5), r"layers: 'head' is named twice"),
    (dict(layers=("encodr/conv1",), layer_decay=0.5), r"layers: the pattern 'encodr/conv1' names"),
    (
      dict(layers=("enc*", "*der"), layer_decay=0.5),
      r"layers: the patterns '.*' and '.*' both nam",
    ),
    (dict(layers=("*",), unfreeze=(5,)), r"unfreeze: the layers name every parameter that learns"),
    (
      dict(layers=("encoder",), unfreeze=(5,), scale={"head": 0}),
      r"unfreeze: the layers name every parameter that learns",
    ),
    (
      dict(layers=("encoder",), unfreeze=(5,), scale={"enc*": 0}),
      r"unfreeze: all that 'encoder' names has the factor 0",
    ),
    (dict(l2_sp=0.1, l2=0.1), r"l2: 0\.1 draws all weights to 0, which l2_sp=0\.1 draws to those"),
    (dict(l2_sp=0.1, weight_decay=0.1), r"weight_decay: 0\.1 draws all weights to 0"),
    (dict(l2_sp=-0.1), r"l2_sp: -0\.1; expected a number from 0"),
    (dict(l2_new=0.1), r"l2_new: 0\.1 belongs to l2_sp, which is 0"),
    (dict(frozen_norms="kept"), r"frozen_norms: 'kept', but nothing is frozen; expected unfreeze"),
    (dict(frozen_norms="keep"), r"frozen_norms: 'keep' is unknown \(did you mean 'kept'\?\)"),
  ],
)
@pytest.mark.parametrize("where", ["optimiser", "optimisers.critic"])
def test_what_cannot_be_is_told_in_words(options, message, where):
  with pytest.raises(ValueError, match=rf"config\.{where}\.{message}"):
    optimiser(name="sgd", learning_rate=0.1, steps=10, where=where, **options).init(PARAMS)
