"""Forward mode, and derivatives of derivatives, of what networks are made of.

Through every network: test_contracts.py, by the gradients that they learn by.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg import networks
from jaxseg.networks.blocks import Conv, ConvLSTM, Norm
from jaxseg.networks.blocks.acceleration import cpu_gradients

BLOCKS = {
  "convolution": (Conv(6, 3), (2, 7, 6, 5)),
  "strided convolution": (Conv(7, 3, stride=2), (1, 7, 6, 5)),
  "convolution of a volume": (Conv(6, (1, 3, 2), dilation=(1, 2, 1)), (2, 4, 6, 5, 5)),
  "depthwise convolution": (Conv(5, 3, groups=5), (2, 7, 6, 5)),
  "convolution of one channel": (Conv(4, 3), (1, 5, 4, 3, 1)),
  "batch norm": (Norm("batch"), (2, 4, 3, 6)),
  "instance norm": (Norm("instance"), (2, 4, 3, 6)),
  "group norm": (Norm("group", groups=2), (2, 4, 3, 2, 6)),
  "norm without scale": (Norm("instance", affine=False), (2, 4, 3, 6)),
  "convolutional LSTM": (ConvLSTM(5), (2, 3, 4, 4, 5)),
}


def scalar(net, *shape):
  """(function of (parameters, input), a point of it): a smooth number made of all outputs."""
  draw = np.random.default_rng(0)
  x = jnp.asarray(draw.normal(size=shape), jnp.float32)
  train = {"train": True} if "train" in net.__call__.__code__.co_varnames else {}
  variables = jax.eval_shape(functools.partial(net.init, jax.random.key(0), **train), x)
  variables = jax.tree.map(
    lambda leaf: jnp.asarray(draw.normal(1.0, 0.3, size=leaf.shape), leaf.dtype), variables
  )
  others = {name: tree for name, tree in variables.items() if name != "params"}
  rngs = {"dropout": jax.random.key(1)}

  def function(params, x):
    inputs = {"params": params, **others}
    out, _ = net.apply(inputs, x, **train, rngs=rngs, mutable=list(others))
    floats = [leaf for leaf in jax.tree.leaves(out) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return sum(jnp.mean(jnp.sin(leaf)) for leaf in floats)

  return function, (variables.get("params", {}), x)


def direction(point):
  draw = np.random.default_rng(1)
  return jax.tree.map(lambda a: jnp.asarray(draw.normal(size=a.shape), a.dtype), point)


def products(function, point, along):
  """The slope along a direction and the Hessian times it, in two ways each."""
  gradient = jax.grad(function, argnums=(0, 1))

  def dot(*point):
    pairs = zip(jax.tree.leaves(gradient(*point)), jax.tree.leaves(along), strict=True)
    return sum(jnp.vdot(a, b) for a, b in pairs)

  return {
    "forward": jax.linearize(function, *point)[1](*along),
    "reverse": dot(*point),
    "forward over reverse": jax.jvp(gradient, point, along)[1],
    "reverse over reverse": jax.grad(dot, argnums=(0, 1))(*point),
  }


def close(one, other):
  for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * (1e-3 + float(jnp.max(jnp.abs(b)))))


@pytest.mark.parametrize("name", BLOCKS)
def test_derivatives_of_blocks_are_those_of_the_plain_formulas(name):
  function, point = scalar(*(lambda block, shape: (block, *shape))(*BLOCKS[name]))
  along = direction(point)
  ours = jax.jit(functools.partial(products, function))(point, along)
  with cpu_gradients(False):
    plain = jax.jit(lambda point, along: products(function, point, along))(point, along)
  for way, value in ours.items():
    close(value, plain[way])
  close(ours["forward"], ours["reverse"])
  close(ours["forward over reverse"], ours["reverse over reverse"])


def test_a_unets_slope_and_hessian_are_the_same_in_both_modes():
  net = networks.UNet(classes=2, widths=(4, 6), depth=1, decoder_depth=1, norm="instance")
  function, point = scalar(net, 1, 6, 4, 1)
  out = jax.jit(functools.partial(products, function))(point, direction(point))
  close(out["forward"], out["reverse"])
  close(out["forward over reverse"], out["reverse over reverse"])


def test_kernels_of_several_members_have_forward_mode_at_once():
  function, (params, x) = scalar(Conv(6, 3), 2, 5, 4, 5)
  along = direction((params, x))

  @jax.jit
  def slope(params):
    return jax.jvp(function, (params, x), along)[1]

  members = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), params)
  one_by_one = [slope(jax.tree.map(lambda a, i=i: a[i], members)) for i in range(2)]
  close(jax.vmap(slope)(members), jnp.stack(one_by_one))


def test_the_switch_takes_what_is_written_for_cpus_out_of_a_program():
  x, kernel = jnp.ones((1, 8, 8, 5)), {"params": {"kernel": jnp.ones((3, 3, 5, 6))}}

  def program():
    return str(jax.make_jaxpr(lambda x: Conv(6, use_bias=False).apply(kernel, x))(x))

  with cpu_gradients(False):
    assert "platform_index" not in program()
    assert "custom_jvp" not in program()
  with cpu_gradients(True):
    assert "platform_index" not in program()
    assert "custom_jvp" in program()
  assert "platform_index" in program()
