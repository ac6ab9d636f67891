"""BCDU-Net: the released network's blocks by count, dense blocks, both directions, any size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from abstract import count, trained_shapes
from test_contracts import drawn

from jaxseg.networks import BCDUNet
from jaxseg.networks.unet import UNet


def conv(inputs, outputs, voxels=9):
  return voxels * inputs * outputs + outputs


def test_blocks_of_the_released_network():
  params = trained_shapes(BCDUNet(1, bidirectional=False), 1, 32, 32, 1)[0]["params"]
  expected = {
    "encoder1": conv(1, 64) + conv(64, 64),
    "encoder2": conv(64, 128) + conv(128, 128),
    "encoder3": conv(128, 256) + conv(256, 256),
    "dense1": conv(256, 512) + conv(512, 512),
    "dense2": 2 * conv(512, 512),
    "dense3": conv(1024, 512) + conv(512, 512),
    "skip3": 1_769_984,
    "skip2": 9 * (128 + 64) * 256 + 256,
    "skip1": 9 * (64 + 32) * 128 + 128,
    "decoder3": conv(128, 256) + conv(256, 256),
    "decoder2": conv(64, 128) + conv(128, 128),
    "decoder1": conv(32, 64) + conv(64, 64),
    "tail": conv(64, 2),
    "head": conv(2, 1, 1),
  }
  for i, (width, coarse) in enumerate(((64, 128), (128, 256), (256, 512)), start=1):
    expected[f"up{i}"] = conv(coarse, width, 4)
    expected[f"up_norm{i}"] = 2 * width
  assert {name: count(block) for name, block in params.items()} == expected
  assert sum(expected.values()) == 20_658_821


def test_the_second_direction_adds_as_many_weights_and_a_fusion():
  params = trained_shapes(BCDUNet(1, widths=(8, 12)), 1, 8, 8, 1)[0]["params"]
  one = 9 * (8 + 4) * 16 + 16
  assert count(params["skip1"]) == 2 * one + conv(8, 4, 1)


def test_each_dense_block_sees_all_earlier_ones():
  params = trained_shapes(BCDUNet(2, widths=(4, 8), dense_blocks=4), 1, 8, 8, 1)[0]["params"]
  first = [params[f"dense{i}"]["layer1"]["conv"]["kernel"] for i in (1, 2, 3, 4)]
  assert [kernel.shape[2] for kernel in first] == [4, 8, 16, 24]


def test_volumes_and_anisotropic_strides():
  net = BCDUNet(3, widths=(4, 6, 8), strides=((1, 2, 2), 2))
  assert net.total_stride(3) == (2, 4, 4)
  _, outputs = trained_shapes(net, 1, 3, 9, 6, 2)
  assert outputs["logits"].shape == (1, 3, 9, 6, 3)
  assert outputs["bottleneck"].shape == (1, 2, 3, 2, 8)


def test_logits_are_no_probabilities_and_dropout_needs_a_key():
  net = BCDUNet(2, widths=(4, 8), dtype="bfloat16")
  x = np.random.default_rng(0).normal(size=(1, 8, 8, 1)).astype(np.float32)
  variables = {name: drawn(tree) for name, tree in trained_shapes(net, *x.shape)[0].items()}
  run = jax.jit(lambda key: net.apply(variables, x, rngs={"dropout": key})["logits"])
  still = jax.jit(lambda: net.apply(variables, x)["logits"])
  assert still().dtype == jnp.float32
  assert np.min(still()) < 0 or np.max(still()) > 1
  assert np.any(run(jax.random.key(0)) != run(jax.random.key(1)))


def test_the_skip_serves_a_unet_too():
  _, outputs = trained_shapes(UNet(3, widths=(4, 6), depth=1, skip="conv_lstm"), 1, 7, 9, 1)
  assert outputs["logits"].shape == (1, 7, 9, 3)


def test_bad_options_and_inputs_are_refused_in_words():
  with pytest.raises(ValueError, match="dense_blocks=0; expected at least"):
    BCDUNet(dense_blocks=0)
  with pytest.raises(ValueError, match="bcdunet: an input with 0 spatial axes"):
    trained_shapes(BCDUNet(widths=(4, 8)), 8, 8)
  with pytest.raises(ValueError, match=r"strides=\(2, 2\) has 2 entries but 1 are needed"):
    trained_shapes(BCDUNet(widths=(4, 8), strides=(2, 2)), 1, 8, 8, 1)
