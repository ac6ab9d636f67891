"""DSTS convolution: its 4,864 weights, its reach, its place in networks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from abstract import shapes
from closeness import assert_close

from jaxseg.networks import UNet
from jaxseg.networks.blocks import Conv
from jaxseg.networks.blocks.dsts import DSTS


def count(variables):
  return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def test_64_to_64_channels_have_4864_weights_instead_of_110592():
  shape = (1, 4, 4, 4, 64)
  light = count(shapes(DSTS(64, use_bias=False), *shape)[1])
  dense = count(shapes(Conv(64, use_bias=False), *shape)[1])
  assert (light, dense) == (4_864, 110_592)
  assert light / dense == pytest.approx(0.04398, abs=5e-6)
  assert count(shapes(DSTS(64), *shape)[1]) == 4_864 + 64


def test_an_impulse_reaches_the_whole_3x3x3_window():
  x = np.zeros((1, 5, 5, 5, 2), np.float32)
  x[0, 2, 2, 2] = (1, 10)
  params = {
    # of channel 0 and 1: 1 and 2 in the plane, 3 and 1 across it
    "spatial": {"kernel": np.ones((1, 3, 3, 1, 2), np.float32) * [1, 2]},
    "temporal": {"kernel": np.ones((3, 1, 1, 1, 2), np.float32) * [3, 1]},
    "pointwise": {"kernel": np.ones((1, 1, 1, 2, 1), np.float32), "bias": np.ones(1, np.float32)},
  }
  out = jax.jit(DSTS(1).apply)({"params": jax.tree.map(np.float32, params)}, x)
  expected = np.ones((1, 5, 5, 5, 1))
  expected[0, 1:4, 1:4, 1:4] += 1 * 1 * 3 + 10 * 2 * 1
  assert_close(out, expected)


@pytest.mark.parametrize(
  "options",
  [
    {"stride": (1, 2, 2)},
    {"stride": 2, "kernel": 5},
    {"dilation": 2, "padding": "valid"},
    {"dilation": (1, 2, 2), "padding": "valid", "stride": (2, 1, 1)},
  ],
)
def test_strides_dilations_and_padding_are_the_dense_convolutions(options):
  shape = (2, 9, 10, 11, 3)
  light, dense = (shapes(conv(5, **options), *shape)[0] for conv in (DSTS, Conv))
  assert light.shape == dense.shape


def test_a_flat_kernel_needs_no_convolution_across_slices():
  params = shapes(DSTS(5, (1, 3, 3)), 1, 4, 4, 4, 3)[1]["params"]
  assert set(params) == {"spatial", "pointwise"}
  strided = shapes(DSTS(5, (1, 3, 3), (2, 1, 1)), 1, 4, 4, 4, 3)
  assert strided[0].shape == (1, 2, 4, 4, 5)


def test_only_the_last_factor_is_initialised_for_an_activation():
  # He's variance 2 / fan-in, as a ReLU needs it; the depthwise factors keep a variance: 1 / fan-in
  keys = jax.random.key(0), jnp.ones((1, 2, 2, 2, 400))
  params = jax.jit(DSTS(100).init)(*keys)["params"]
  variances = {name: float(np.var(leaf["kernel"])) for name, leaf in params.items()}
  expected = {"spatial": 1 / 9, "temporal": 1 / 3, "pointwise": 2 / 400}
  assert variances == pytest.approx(expected, rel=0.1)


def test_it_drops_into_unet_and_refuses_images_in_words():
  net = UNet(widths=(4, 6), depth=1, conv="dsts")
  run = functools.partial(net.init_with_output, jax.random.key(0))
  outputs, _ = jax.eval_shape(run, jnp.ones((1, 5, 6, 7, 1)))
  assert outputs["logits"].shape == (1, 5, 6, 7, 3)
  with pytest.raises(ValueError, match="conv 'dsts': an input with 2 spatial axes; expected vol"):
    jax.eval_shape(run, jnp.ones((1, 6, 7, 1)))
