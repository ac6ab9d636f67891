"""Attention gates: the scalar example, published counts, where the maps live."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.networks import UNet
from jaxseg.networks.blocks.attention_gate import (
  AttentionGate,
  GridAttention,
  GridAttentionGate,
  coefficients,
)


def shapes(block, *inputs):
  """Of the output and the variables."""
  inputs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in inputs]
  return jax.eval_shape(block.init_with_output, jax.random.key(0), *inputs)


def count(variables):
  return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def test_published_counts():
  gate = AttentionGate(inter=256)
  _, variables = shapes(gate, (1, 4, 4, 512), (1, 4, 4, 512), (1, 2, 2, 1024))
  assert count(variables) == 263_939
  _, variables = shapes(AttentionGate(), (1, 4, 4, 512), (1, 4, 4, 512), (1, 2, 2, 1024))
  assert count(variables) == 263_939  # half of the skip's channels, by default
  _, variables = shapes(GridAttention(), (1, 4, 4, 4, 64), (1, 2, 2, 2, 128))
  assert count(variables) == 45_377


def scalar(value):
  return jnp.full((1, 1, 1, 1), value)


def conv(weight, bias=None):
  return {"kernel": scalar(weight)} | ({} if bias is None else {"bias": jnp.array([bias])})


def test_scalar_example_of_the_additive_gate():
  params = {"w_g": {"conv": conv(0.4, 0.0)}, "w_x": {"conv": conv(0.8, 0.1)}, "psi": conv(2.0, -1)}
  gate = AttentionGate(inter=1, norm="none")
  joint, alpha = gate.apply({"params": params}, scalar(1.5), scalar(-0.5), None)
  assert_close(alpha, scalar(0.768525), atol=1e-6)
  assert_close(joint.ravel(), (1.152787, -0.5), atol=1e-6)


def test_scalar_example_of_the_grid_gate():
  params = {"theta": conv(0.8), "phi": conv(0.4, 0.1), "psi": conv(2.0, -1.0)}
  params["w"] = {"conv": conv(1.0, 0.0)}
  gated, alpha = GridAttention(norm="none").apply({"params": params}, scalar(1.5), scalar(-0.5))
  assert_close(alpha, scalar(0.768525), atol=1e-6)
  assert_close(gated, scalar(1.152787), atol=1e-6)


def test_grid_gate_works_on_the_grid_of_the_gating_signal():
  (joint, maps), variables = shapes(
    GridAttentionGate(gates=2), (2, 4, 6, 8, 5), (2, 4, 6, 8, 3), (2, 4, 3, 2, 7)
  )
  assert joint.shape == (2, 4, 6, 8, 8)
  assert maps.shape == (2, 4, 6, 8, 2)
  assert variables["params"]["gate1"]["theta"]["kernel"].shape == (1, 2, 4, 5, 5)
  assert variables["params"]["combine"]["conv"]["kernel"].shape == (1, 1, 1, 10, 5)
  # any other factor; without combination the gated features are joined as they are
  _, variables = shapes(
    GridAttentionGate(sub_sample=2, inter=3), (2, 5, 6, 4), (2, 5, 6, 3), (2, 3, 3, 7)
  )
  assert variables["params"]["gate1"]["theta"]["kernel"].shape == (2, 2, 4, 3)
  assert "combine" not in variables["params"]


@pytest.mark.parametrize("norm", ["none", "batch", "group"])
def test_gate_opens_by_the_bias_of_psi(norm):
  rng = np.random.default_rng(0)
  x = 1e-3 * rng.normal(size=(1, 8, 8, 6)).astype(np.float32)
  gate = AttentionGate(psi_bias=5.0, norm=norm)
  if norm != "none":  # what the norm scales, around its own bias
    gate = AttentionGate(psi_bias=9.0, norm=norm)
  (_, alpha), _ = jax.jit(gate.init_with_output)(jax.random.key(0), x, x)
  assert alpha.min() > 0.98


def test_softmax_coefficients_have_mean_one():
  q = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 1)).astype(np.float32)
  alpha = coefficients(q, "softmax")
  assert_close(alpha.mean((1, 2, 3)), 1.0)
  assert_close(coefficients(0 * q, "softmax"), 1.0)
  assert_close(coefficients(q, "sigmoid"), 1 / (1 + np.exp(-q)))


@pytest.mark.parametrize("norm", ["batch", dict(name="group", groups=4)])
def test_each_skip_of_a_unet_may_have_its_own_gate(norm):
  skip = ("concat", dict(name="grid_gate", inter=2), "attention_gate")
  net = UNet(widths=(8, 8, 8, 8), depth=1, skip=skip, norm=norm)
  out, variables = shapes(net, (1, 13, 22, 1))
  assert "attention1" not in out
  assert out["attention2"].shape == (1, 7, 11, 1)
  assert out["attention3"].shape == (1, 4, 6, 1)
  assert variables["params"]["skip2"]["gate1"]["phi"]["kernel"].shape == (1, 1, 8, 2)


def test_bad_options_are_refused_in_words():
  small, coarse = (1, 2, 2, 4), (1, 1, 1, 4)
  with pytest.raises(ValueError, match=r"size \(2, 2\) is smaller than sub_sample=\(4, 4\)"):
    shapes(GridAttentionGate(sub_sample=4), small, small, coarse)
  with pytest.raises(ValueError, match="gates=0; expected at least one"):
    shapes(GridAttentionGate(gates=0), small, small, coarse)
  with pytest.raises(ValueError, match="choices: sigmoid, softmax"):
    shapes(AttentionGate(normalise="tanh"), small, small, coarse)
  with pytest.raises(ValueError, match=r"skip=\('concat',\) has 1 entries but 2 are needed"):
    UNet(widths=(4, 8, 8), skip=("concat",))
  with pytest.raises(ValueError, match=r"choices: .*attention_gate"):
    UNet(widths=(4, 8), skip="atention")
