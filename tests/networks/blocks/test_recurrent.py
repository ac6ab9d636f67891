"""The recurrent residual block: one set of weights for all steps, values worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.networks.blocks import RecurrentBlock


def shapes(block, *shape):
  x = jax.ShapeDtypeStruct(shape, jnp.float32)
  return jax.eval_shape(lambda key, x: block.init(key, x), jax.random.key(0), x)


def sizes(tree):
  return {
    jax.tree_util.keystr(path): leaf.shape
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def test_a_recurrent_layer_of_64_has_the_published_count():
  layer = shapes(RecurrentBlock(64), 1, 8, 8, 3)["params"]["recurrent1"]
  assert sum(leaf.size for leaf in jax.tree.leaves(layer)) == 37_056


@pytest.mark.parametrize("t", [0, 1, 3])
def test_steps_add_no_parameters(t):
  blocks = RecurrentBlock(4, t=t), RecurrentBlock(4)
  there, usual = (sizes(shapes(block, 1, 8, 8, 3)["params"]) for block in blocks)
  assert there == usual


@pytest.mark.parametrize(("t", "expected"), [(0, 2.0), (1, 3.0), (2, 3.5)])
def test_recurrence_of_one_number(t, expected):
  # o_0 = relu(x / 2 + 1), o_k = relu((x + o_(k-1)) / 2 + 1), with x = 2 after the 1x1 convolution
  options = {"t": t, "depth": 1, "kernel": 1, "norm": "none"}
  one = jnp.ones((1, 1, 1, 1))
  params = {
    "width": {"kernel": 2 * one, "bias": jnp.zeros(1)},
    "recurrent1": {"conv": {"kernel": 0.5 * one, "bias": jnp.ones(1)}},
  }
  for residual in (False, True):
    block = RecurrentBlock(1, residual=residual, **options)
    out = block.apply({"params": params}, one)
    assert out.item() == expected + 2 * residual


def test_every_application_has_its_own_running_statistics():
  # a constant image keeps variance 0 through 1x1 kernels: an update multiplies the running
  # variance, 1 at first, by the momentum 0.9
  block = RecurrentBlock(2, t=2, depth=1, kernel=1)
  x = jnp.ones((2, 4, 4, 1))

  @jax.jit
  def update(key):
    variables = block.init(key, x)
    return block.apply(variables, x, mutable=["batch_stats"])[1]

  stats = update(jax.random.key(0))["batch_stats"]["recurrent1"]["norm"]
  for name in ("var", "var_1", "var_2"):
    assert_close(stats[name], 0.9)


def test_converged_statistics_predict_what_training_saw():
  block = RecurrentBlock(3, t=2, kernel=1)
  x = np.random.default_rng(0).normal(size=(2, 5, 4, 2)).astype(np.float32)

  @jax.jit
  def run(key):
    variables = block.init(key, x)

    def train(_, stats):
      return block.apply({**variables, **stats}, x, mutable=["batch_stats"])[1]

    stats = jax.lax.fori_loop(0, 200, train, {"batch_stats": variables["batch_stats"]})
    variables = {**variables, **stats}
    seen, _ = block.apply(variables, x, mutable=["batch_stats"])
    return seen, block.apply(variables, x)

  seen, predicted = run(jax.random.key(1))
  np.testing.assert_allclose(predicted, seen, atol=1e-4)


def test_the_stride_is_taken_once_in_two_and_three_dimensions():
  for space, coarse in (((5, 8), (3, 4)), ((5, 8, 3), (3, 4, 2))):
    block = RecurrentBlock(4, stride=2, norm="none")
    x = jax.ShapeDtypeStruct((1, *space, 2), jnp.float32)
    out = jax.eval_shape(lambda x, block=block: block.init_with_output(jax.random.key(0), x)[0], x)
    assert out.shape == (1, *coarse, 4)


def test_a_negative_number_of_steps_is_refused():
  with pytest.raises(ValueError, match="t=-1 recurrent steps; expected 0 or more"):
    shapes(RecurrentBlock(4, t=-1), 1, 8, 8, 3)
