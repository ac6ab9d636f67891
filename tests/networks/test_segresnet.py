"""SegResNet: its residual blocks, its two ways up, bad options in words."""

import jax
import numpy as np
import pytest
from abstract import shapes
from closeness import assert_close
from option_checks import assert_same_parameters_and_shapes

from jaxseg.networks import SegResNet
from jaxseg.networks.segresnet import PreActivationBlock

TINY = {"widths": (2, 4), "depth": 1, "norm_groups": 2}


def test_a_block_whose_last_convolution_is_zero_is_the_identity():
  block = PreActivationBlock(norm_groups=2)
  x = np.random.default_rng(0).normal(size=(1, 3, 4, 2)).astype(np.float32)
  params = jax.eval_shape(lambda x: block.init(jax.random.key(0), x), x)["params"]
  params = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), params)
  params["conv2"]["kernel"] *= 0
  assert_close(block.apply({"params": params}, x), x, atol=1e-6)


def test_transposed_convolutions_add_their_parameters():
  # after the 1x1 convolution to 2 channels: 2x2 taps of 2 to 2 channels, and a bias
  counts = [
    sum(leaf.size for leaf in jax.tree.leaves(shapes(SegResNet(**TINY, up=up), 1, 4, 4, 1)[1]))
    for up in ("linear", "transpose")
  ]
  assert counts[1] - counts[0] == 4 * 2 * 2 + 2


def test_resolution_halves_between_stages():
  outputs, _ = shapes(SegResNet(widths=(8, 8, 8, 8)), 1, 9, 16, 1)
  assert outputs["bottleneck"].shape == (1, 2, 2, 8)
  assert outputs["decoder"].shape == (1, 9, 16, 8)
  assert "aux" not in outputs


def test_options_keep_parameters_and_shapes():
  options = {"dtype": "bfloat16", "dropout": 0.2}
  assert_same_parameters_and_shapes(SegResNet(**TINY), SegResNet(**TINY, **options))


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"up": "deconv"}, "up='deconv' is unknown; choices: linear, transpose"),
    ({"depth": (1, 2, 2)}, r"depth=\(1, 2, 2\) has 3 entries but 2 are needed"),
    ({"widths": (8,)}, "two stages"),
    ({"norm": "layer"}, "norm='layer' is unknown"),
  ],
)
def test_bad_options_are_refused_in_words(options, words):
  with pytest.raises(ValueError, match=words):
    SegResNet(**{**TINY, **options})
