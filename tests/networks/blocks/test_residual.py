"""Residual blocks: what they start as, their shortcuts, their parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.networks.blocks.residual import ResidualBlock, ResidualBlocks, ResidualUp

NNUNET = {"norm": "instance", "activation": "leaky_relu"}


def count(module, *shapes):
  inputs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
  variables = jax.eval_shape(lambda *x: module.init(jax.random.key(0), *x), *inputs)
  return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def started(module, x):
  return jax.jit(lambda x: module.init_with_output(jax.random.key(0), x)[0])(x)


def test_a_block_starts_as_its_activated_shortcut():
  x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
  assert_close(started(ResidualBlock(3), x), np.maximum(x, 0), atol=1e-6)


def test_the_shortcut_of_resnet_d_averages_over_the_stride():
  # windows (1 + 2 + 3 + 4) / 4 and (0 + 0 - 4 - 8) / 4, the latter through leaky ReLU
  x = np.array([[1, 2, 0, 0], [3, 4, -4, -8]], np.float32).reshape(1, 2, 4, 1)
  out = started(ResidualBlock(1, stride=2, **NNUNET), x)
  assert_close(out.reshape(-1), [2.5, -0.03], atol=1e-6)


def test_odd_sizes_are_rounded_up():
  x = jax.ShapeDtypeStruct((1, 5, 3, 2), jnp.float32)
  block = ResidualBlocks(4, depth=2, stride=(2, 1), **NNUNET)
  out = jax.eval_shape(lambda x: block.init_with_output(jax.random.key(0), x)[0], x)
  assert out.shape == (1, 3, 3, 4)


def test_parameters_of_basic_blocks():
  # 3^3 convolutions with bias and norm; 1^3 shortcut without bias, and its norm
  basic = (27 * 6 * 8 + 8 + 16) + (27 * 8 * 8 + 8 + 16) + (6 * 8 + 16)
  assert count(ResidualBlock(8, use_bias=True, stride=2, **NNUNET), (1, 4, 4, 4, 6)) == basic
  assert count(ResidualBlock(8, affine=False, **NNUNET), (1, 4, 4, 4, 8)) == 2 * 27 * 8 * 8
  conv = ResidualBlock(8, stride=2, shortcut="conv")
  assert count(conv, (1, 4, 4, 8)) == 2 * (9 * 64 + 16) + 64 + 16


def test_a_projection_before_the_block_starts_both_of_its_ways():
  # 1^3 convolution with bias, then twice norm and 3^3 convolution of the new width
  block = ResidualBlock(8, shortcut="before", norm_first=True)
  assert count(block, (1, 4, 4, 4, 6)) == (6 * 8 + 8) + 2 * (16 + 27 * 8 * 8)
  assert count(block, (1, 4, 4, 4, 8)) == 2 * (16 + 27 * 8 * 8)
  # closed by its last norm's scale, the block is its shortcut, here the mean of all four voxels
  block = ResidualBlock(1, stride=2, shortcut="before", norm_first=True)
  x = np.array([1, 2, 3, 4], np.float32).reshape(1, 2, 2, 1)
  assert_close(started(block, x).reshape(-1), [2.5])


def test_torchvisions_bottleneck_has_these_parameters():
  # torchvision's resnet50().layer1: 215,808, its first block 75,008
  block = {"kind": "bottleneck", "shortcut": "conv"}
  assert count(ResidualBlock(256, **block), (1, 8, 8, 64)) == 75_008
  assert count(ResidualBlocks(256, depth=3, **block), (1, 8, 8, 64)) == 215_808


def test_an_up_stage_joins_the_up_sampled_and_the_skip():
  # MONAI's UnetrUpBlock(3, 8, 4, 3, 2, "instance", res_block=True)
  assert count(ResidualUp(4), (1, 2, 2, 2, 8), (1, 4, 4, 4, 4)) == 256 + 864 + 432 + 32


def test_bad_options_are_refused_in_words():
  with pytest.raises(ValueError, match="kind='wide' is unknown; choices: basic, bottleneck"):
    ResidualBlock(8, kind="wide")
  with pytest.raises(ValueError, match="shortcut='none' is unknown; choices: pool, conv"):
    ResidualBlock(8, shortcut="none")
  with pytest.raises(ValueError, match="features=6 of kind='bottleneck'; expected a multiple of 4"):
    ResidualBlock(6, kind="bottleneck")
