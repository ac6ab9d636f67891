"""ConvLSTM: the published count, the worked scalar run, directions, absent steps, program size."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.networks.blocks import BiConvLSTM, ConvLSTM, ConvLSTMSkip


def shapes(module, *shapes):
  inputs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
  return jax.eval_shape(module.init, jax.random.key(0), *inputs)["params"]


def draw(tree, seed=0):
  rng = np.random.default_rng(seed)
  return jax.tree.map(lambda a: 0.5 * rng.normal(size=a.shape).astype(np.float32), tree)


@functools.partial(jax.jit, static_argnums=0)
def run(module, params, *inputs):
  return module.apply({"params": params}, *inputs)


def sequence(*shape):
  return np.random.default_rng(7).normal(size=shape).astype(np.float32)


def test_the_published_count():
  params = shapes(ConvLSTM(128), (1, 2, 8, 8, 256))
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 1_769_984


def test_the_forget_gate_starts_open():
  variables = jax.jit(ConvLSTM(2).init)(jax.random.key(0), jnp.zeros((1, 1, 4, 4, 1)))
  np.testing.assert_array_equal(variables["params"]["cell"]["bias"], [0, 0, 1, 1, 0, 0, 0, 0])


# gates in the order i, f, g, o; only the centre taps of a 3x3 kernel
KERNEL = np.zeros((3, 3, 2, 4), np.float32)
KERNEL[1, 1] = [[0.5, 0.4, 0.3, 0.2], [0.1, 0.2, 0.3, 0.4]]
SCALAR = {"cell": {"gates": {"kernel": KERNEL}, "bias": np.float32([0, 1, 0, 0])}}


@pytest.mark.parametrize("reverse", [False, True])
def test_worked_scalar_run(reverse):
  x = np.float32([1, 2, -1]).reshape(1, 3, 1, 1, 1)
  if reverse:
    x = x[:, ::-1]
  out = run(ConvLSTM(1, reverse=reverse), SCALAR, x).ravel()
  assert_close(out[0] if reverse else out[-1], 0.137624, atol=1e-6)


def test_worked_cell_state():
  # h = s(o) tanh(c) with the last o = 0.2 (-1) + 0.4 h_2 tells c; h_2 is the run of two steps
  before = run(ConvLSTM(1), SCALAR, np.float32([1, 2]).reshape(1, 2, 1, 1, 1))[0, 1].item()
  gate = 1 / (1 + np.exp(-(-0.2 + 0.4 * before)))
  assert_close(np.arctanh(0.137624 / gate), 0.294257, atol=1e-5)


def test_both_directions_are_joined_step_by_step():
  x = sequence(1, 4, 3, 3, 2)
  both = BiConvLSTM(2)
  params = draw(shapes(both, x.shape))
  forward = run(ConvLSTM(2), params["forward"], x)
  backward = run(ConvLSTM(2), params["backward"], x[:, ::-1])[:, ::-1]
  assert_close(run(both, params, x), forward + backward, atol=1e-6)
  joined = run(BiConvLSTM(2, fusion="concat"), params, x)
  assert_close(joined, np.concatenate([forward, backward], -1), atol=1e-6)


def test_absent_steps_leave_no_trace():
  x = sequence(2, 5, 3, 3, 1)
  present = np.array([[True] * 5, [False, True, True, True, False]])
  net = BiConvLSTM(2)
  params = draw(shapes(net, x.shape))
  out = run(net, params, x, present)
  assert_close(out[:1], run(net, params, x[:1]), atol=1e-6)
  assert_close(out[1:, 1:4], run(net, params, x[1:, 1:4]), atol=1e-6)


def test_the_program_does_not_grow_with_the_sequence():
  net = ConvLSTM(2)

  def program(steps):
    x = jnp.zeros((1, steps, 4, 4, 1))
    params = jax.tree.map(lambda a: jnp.zeros(a.shape), shapes(net, x.shape))
    return str(jax.make_jaxpr(lambda p: net.apply({"params": p}, x))(params)).count("\n")

  assert program(3) == program(50)


def test_the_one_directional_skip_reads_the_decoder_first():
  skip, up = sequence(2, 1, 4, 4, 6).swapaxes(0, 1)[0][:, None]
  net = ConvLSTMSkip(6, bidirectional=False)
  params = draw(shapes(net, skip.shape, up.shape))
  joint, attended = run(net, params, skip, up)
  assert attended is None
  last = run(ConvLSTM(3), params["backward"], np.stack([up, skip], 1))[:, 1]
  assert_close(joint, last, atol=1e-6)


def test_the_bidirectional_skip_depends_on_both_directions():
  skip, up = sequence(1, 4, 4, 6), sequence(1, 4, 4, 6) + 1
  net = ConvLSTMSkip(6)
  params = draw(shapes(net, skip.shape, up.shape))
  forward = run(ConvLSTM(3), params["forward"], np.stack([skip, up], 1))[:, 1]
  backward = run(ConvLSTM(3), params["backward"], np.stack([up, skip], 1))[:, 1]
  weights = params["fusion"]["kernel"][0, 0]
  expected = np.concatenate([forward, backward], -1) @ weights + params["fusion"]["bias"][None]
  assert_close(run(net, params, skip, up)[0][0], np.tanh(expected)[0], atol=1e-5)


def test_bad_options_are_refused_in_words():
  with pytest.raises(ValueError, match="fusion='mean' is unknown; choices: sum, concat"):
    shapes(BiConvLSTM(2, fusion="mean"), (1, 2, 4, 4, 1))
  with pytest.raises(ValueError, match="needs equal shapes"):
    shapes(ConvLSTMSkip(4), (1, 4, 4, 4), (1, 4, 4, 8))
