"""pix2pix's U-Net: its published counts, its sizes, and that dropout is its noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from abstract import shapes

from jaxseg.networks.generators import UNetGenerator

UNET_128 = (64, 128, 256, 512, 512, 512, 512)
UNET_256 = (*UNET_128, 512)


def parameters(net, *shape) -> int:
  return sum(x.size for x in jax.tree.leaves(shapes(net, *shape)[1]["params"]))


@pytest.mark.parametrize(
  ("widths", "inputs", "channels", "norm", "published"),
  [
    # counted with PyTorch 2.13: UnetGenerator of its release, as num_downs=8 and 7
    (UNET_256, 3, 3, "batch", 54_413_955),
    (UNET_256, 1, 1, "batch", 54_407_809),
    (UNET_256, 3, 3, "instance", 54_409_603),
    (UNET_128, 3, 3, "batch", 41_828_995),
    (UNET_128, 2, 3, "batch", 41_827_971),
    (UNET_128, 3, 3, "instance", 41_825_667),
  ],
)
def test_counts_are_those_of_the_pytorch_release(widths, inputs, channels, norm, published):
  net = UNetGenerator(channels=channels, widths=widths, norm=norm)
  side = 2 ** len(widths)
  assert parameters(net, 1, side, side, inputs) == published


@pytest.mark.parametrize("space", [(16, 24), (13, 17), (8, 9, 10)])
def test_any_size_comes_back_between_minus_one_and_one(space):
  net = UNetGenerator(channels=2, widths=(4, 6, 6), norm="instance")
  x = jax.random.normal(jax.random.key(0), (2, *space, 3))
  outputs, _ = jax.jit(net.init_with_output)(jax.random.key(1), x)
  assert outputs["image"].shape == (2, *space, 2)
  assert outputs["image"].dtype == jnp.float32
  assert float(jnp.abs(outputs["image"]).max()) <= 1


def test_dropout_is_noise_where_a_key_is_given_and_sits_in_stages_as_wide_as_the_finer_one():
  x = jax.random.normal(jax.random.key(0), (1, 16, 16, 2))

  def images(widths):
    net = UNetGenerator(channels=1, widths=widths, norm="instance")
    variables, run = jax.jit(net.init)(jax.random.key(1), x), jax.jit(net.apply)
    return [
      np.asarray(run(variables, x, rngs=rngs)["image"])
      for rngs in ({}, {}, {"dropout": jax.random.key(2)}, {"dropout": jax.random.key(3)})
    ]

  same, again, first, second = images((4, 6, 6, 6))
  np.testing.assert_array_equal(same, again)
  assert not np.array_equal(first, second)
  # no stage is as wide as the finer one: there is nothing random
  same, _, first, second = images((4, 6, 8, 10))
  np.testing.assert_array_equal(same, first)
  np.testing.assert_array_equal(first, second)


def test_a_network_of_one_stage_is_refused():
  with pytest.raises(ValueError, match="at least two stages"):
    UNetGenerator(widths=(8,))
