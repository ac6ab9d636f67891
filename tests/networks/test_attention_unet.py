"""Attention U-Nets: topology of the published ones, maps on each skip's grid."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import waves
from abstract import count, shapes
from closeness import assert_close
from published_options import ATTENTION_UNET_AGN, ATTENTION_UNET_MONAI

from jaxseg.networks import AttentionUNet, AttentionUNetDSV
from jaxseg.networks.blocks.attention_gate import GridAttention


def test_attention_unet_equals_the_public_one_gate_by_gate():
  out, variables = shapes(AttentionUNet(classes=1), 2, 64, 96, 3)
  params = variables["params"]
  assert count(params) == 34_878_573
  assert count(params["skip4"]) == 263_939
  # two 1x1 convolutions with bias and batch norm, then psi: 2 (64 32 + 32 + 64) + 33 + 2
  assert count(params["skip1"]) == 4_323
  assert out["logits"].shape == (2, 64, 96, 1)


def test_logits_are_those_of_monai():
  # computed by MONAI 1.6.1's AttentionUnet in double precision; its decoder's instance norm divides
  # by deviations of 32 voxels and fewer, so that single precision loses a digit
  net = AttentionUNet(2, **{**ATTENTION_UNET_MONAI, "widths": (4, 6, 8, 10)})
  x = waves.inputs(1, 16, 24, 1)
  logits = jax.jit(net.apply)(waves.variables(net, *x.shape), x)["logits"]
  assert_close(logits[0, 0, 0], [1.19005619, -0.38329359], atol=2e-5)
  assert_close(logits[0, -1, -1], [0.18541666, -0.74710191], atol=2e-5)
  np.testing.assert_allclose(np.sum(logits), 150.741845, rtol=1e-4)


@pytest.mark.parametrize("size", [(13, 22), (13, 22, 5)])
def test_attention_unet_gives_a_map_per_skip(size):
  out, _ = shapes(AttentionUNet(widths=(4, 4, 4)), 1, *size, 1)
  assert out["attention1"].shape == (1, *size, 1)
  assert out["attention2"].shape == (1, *(-(-n // 2) for n in size), 1)
  assert out["attention1"].dtype == jnp.float32


def test_first_skip_can_be_left_ungated():
  skip = ("concat", "grid_gate", "grid_gate")
  out, variables = shapes(AttentionUNet(widths=(4, 4, 4, 4), skip=skip), 1, 16, 16, 1)
  assert {"attention2", "attention3"} <= out.keys()
  assert "attention1" not in out
  assert "skip1" not in variables["params"]


def test_one_gating_signal_from_the_centre_serves_all_gates():
  out, variables = shapes(AttentionUNet(4, **ATTENTION_UNET_AGN), 1, 4, 16, 32, 1)
  params = variables["params"]
  # by AGN's layers: theta 8 c^2, phi 128 c + c, psi c + 1, W c^2 + c and its batch norm 2 c
  for i, c in ((2, 32), (3, 64), (4, 128)):
    assert count(params[f"skip{i}"]) == 9 * c**2 + 133 * c + 1
    assert out[f"attention{i}"].shape == (1, 4, 16 // 2 ** (i - 1), 32 // 2 ** (i - 1), 1)
  assert count(params["gating"]) == 256 * 128 + 128 + 2 * 128
  # the same network with a gating signal of its own for each gate has none of the centre
  own = {**ATTENTION_UNET_AGN, "gating": "decoder"}
  assert "gating" not in shapes(AttentionUNet(4, **own), 1, 4, 16, 32, 1)[1]["params"]


def test_the_centres_gating_reaches_every_gate_as_it_is():
  skip = ("concat", "grid_gate", "grid_gate")
  net = AttentionUNet(3, widths=(4, 4, 6, 8), depth=1, skip=skip, gating="centre")
  x = waves.inputs(1, 16, 24, 1)
  variables = waves.variables(net, *x.shape)
  run = functools.partial(
    net.apply, variables, x, capture_intermediates=True, mutable=["intermediates"]
  )
  out, state = jax.jit(run)()
  seen = {k: v["__call__"][0] for k, v in state["intermediates"].items() if "__call__" in v}
  for i, encoder in ((2, "encoder2"), (3, "encoder3")):
    own = {name: tree.get(f"skip{i}", {}).get("gate1", {}) for name, tree in variables.items()}
    alpha = GridAttention().apply(own, seen[encoder], seen["gating"])[1]
    assert_close(out[f"attention{i}"], alpha)


def test_a_gating_signal_that_no_skip_takes_is_refused():
  with pytest.raises(ValueError, match="gating='centre' is for skips that gate by coarse features"):
    AttentionUNet(gating="centre")
  with pytest.raises(ValueError, match="gating='center' is unknown; choices: decoder, centre"):
    AttentionUNet(skip="grid_gate", gating="center")


def test_dsv_network_gates_all_skips_but_the_first():
  out, variables = shapes(AttentionUNetDSV(classes=4), 1, 32, 32, 32, 1)
  params = variables["params"]
  assert count(params) == 6_214_151
  # the grid gate of 64 channels, and the 1x1 convolution and batch norm that follow
  assert count(params["skip3"]) == 45_377 + 64 * 64 + 64 + 128
  assert count(params["head"]) == 4 * 4 * 4 + 4
  assert "skip1" not in params
  assert "gating" in params
  assert [f"attention{i}" in out for i in (1, 2, 3, 4)] == [False, True, True, True]
  out, variables = shapes(AttentionUNetDSV(gates="none"), 1, 32, 32, 1)
  assert not [name for name in out if name.startswith("attention")]
  assert "gating" not in variables["params"]


@pytest.mark.parametrize("size", [(13, 22), (13, 22, 5)])
def test_dsv_network_gives_a_map_per_gate_on_each_skips_grid(size):
  out, _ = shapes(AttentionUNetDSV(widths=(4, 4, 4, 4), gates="multi"), 1, *size, 1)
  assert out["logits"].shape == (1, *size, 3)
  assert out["attention2"].shape == (1, *(-(-n // 2) for n in size), 2)
  assert out["attention3"].shape == (1, *(-(-n // 4) for n in size), 2)


def test_bad_options_are_refused_in_words():
  with pytest.raises(ValueError, match="choices: none, single, multi"):
    AttentionUNetDSV(gates="double")
  with pytest.raises(ValueError, match="three stages"):
    AttentionUNetDSV(widths=(4, 8))
  with pytest.raises(ValueError, match=r"choices: .*grid_gate"):
    AttentionUNet(skip="gate")
