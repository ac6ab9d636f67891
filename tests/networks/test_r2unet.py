"""R2U-Net: LeeJunHyun's counts are rows of the contract table; here its blocks and options."""

import jax.numpy as jnp
import pytest
from abstract import count, trained_shapes

from jaxseg.networks import R2UNet

# steps share their weights: the counts are those of t = 2, traced faster
ONCE = {"name": "recurrent", "t": 0}


def test_blocks_of_the_published_network():
  variables, outputs = trained_shapes(R2UNet(1, block=ONCE), 1, 32, 48, 3)
  params = variables["params"]
  # 1x1 convolution with bias, then two recurrent layers
  assert count(params["encoder1"]) == (3 * 64 + 64) + 2 * 37_056
  assert count(params["encoder1"]["recurrent1"]) == 37_056
  # nearest x2, 3x3 convolution with bias, batch norm
  assert count(params["up1"]) == 9 * 128 * 64 + 64 + 128
  assert outputs["bottleneck"].shape == (1, 2, 3, 1024)


def test_volumes_share_the_source():
  _, outputs = trained_shapes(R2UNet(2, widths=(4, 6, 8)), 1, 5, 9, 6, 1)
  assert outputs["logits"].shape == (1, 5, 9, 6, 2)
  assert outputs["logits"].dtype == jnp.float32


def test_attention_gates_are_an_option():
  variables, outputs = trained_shapes(R2UNet(1, block=ONCE, skip="attention_gate"), 1, 32, 32, 3)
  assert outputs["attention1"].shape == (1, 32, 32, 1)
  # R2AttU-Net: the gates of widths 64 to 512, each W_g, W_x (F to F / 2, bias, batch norm) and psi
  gates = sum(2 * (f * f // 2 + f // 2 + f) + (f // 2 + 1 + 2) for f in (64, 128, 256, 512))
  assert count(variables["params"]) == 39_091_393 + gates


def test_an_unknown_block_lists_the_choices():
  with pytest.raises(ValueError, match=r"'recurent' is unknown .*choices: .*plain, recurrent"):
    R2UNet(block="recurent")
