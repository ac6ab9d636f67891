"""CE-Net's blocks: published counts, fields of view, values worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from abstract import count, traced
from closeness import assert_close

from jaxseg.networks import UNet
from jaxseg.networks.blocks.dac import DAC
from jaxseg.networks.blocks.rmp import RMP, ContextExtractor


def unit(block, x):
  """All kernels one, all biases zero."""

  def draw(path, leaf):
    return jnp.ones(leaf.shape) if path[-1].key == "kernel" else jnp.zeros(leaf.shape)

  return {"params": jax.tree_util.tree_map_with_path(draw, traced(block, *x.shape)[0])}


def test_published_counts():
  assert count(traced(DAC(), 1, 14, 14, 512)[0]) == 7_342_080
  assert count(traced(RMP(), 1, 14, 14, 512)[0]) == 513
  assert count(traced(ContextExtractor(), 1, 14, 14, 512)[0]) == 7_342_080 + 513
  assert traced(RMP(), 1, 14, 14, 512)[1].shape == (1, 14, 14, 516)
  # unshared: seven 3x3 and three 1x1 convolutions; four convolutions to one channel
  assert count(traced(DAC(shared=False), 1, 14, 14, 512)[0]) == 7 * 2_359_808 + 3 * 262_656
  assert count(traced(RMP(shared=False), 1, 14, 14, 512)[0]) == 4 * 513


@pytest.mark.parametrize("shared", [True, False])
def test_dac_adds_cascades_with_fields_of_view_of_3_7_9_and_19(shared):
  block, x = DAC(shared=shared), jnp.zeros((1, 25, 1)).at[0, 12].set(1.0)

  def kernel(rate):
    taps = np.zeros(2 * rate + 1)
    taps[[0, rate, 2 * rate]] = 1
    return taps

  d1, d3, d5 = kernel(1), kernel(3), kernel(5)
  d31 = np.convolve(d3, d1)
  branches = [d1, d3, d31, np.convolve(d5, d31)]
  assert [len(b) for b in branches] == [3, 7, 9, 19]
  want = np.asarray(x[0, :, 0])
  for b in branches:
    want = want + np.pad(b, (25 - len(b)) // 2)
  assert_close(block.apply(unit(block, x), x).ravel(), want)


@pytest.mark.parametrize("shared", [True, False])
def test_rmp_puts_pooled_maps_before_the_input(shared):
  block, x = RMP(pools=(2, 3), shared=shared), jnp.arange(1.0, 7.0).reshape(1, 6, 1)
  out = block.apply(unit(block, x), x)[0]
  # maxima 2, 4, 6 and 3, 6, interpolated without aligned corners
  assert_close(out[:, 0], [2, 2.5, 3.5, 4.5, 5.5, 6])
  assert_close(out[:, 1], [3, 3, 4, 5, 6, 6])
  np.testing.assert_array_equal(out[:, 2], x[0, :, 0])


def test_voxels_that_fill_no_window_are_dropped():
  block, x = RMP(pools=(3,)), jnp.asarray([1.0, 2.0, 3.0, 9.0]).reshape(1, 4, 1)
  assert_close(block.apply(unit(block, x), x)[0, :, 0], 3.0)


def test_bad_options_and_sizes_are_told_in_words():
  with pytest.raises(ValueError, match=r"size \(5, 8\) .* has 6 voxels or more"):
    traced(RMP(), 1, 5, 8, 4)
  with pytest.raises(ValueError, match=r"rates=\(1, 3\); expected three dilations"):
    DAC(rates=(1, 3))


@pytest.mark.parametrize(("name", "channels"), [("dac", 6), ("rmp", 8), ("dac_rmp", 8)])
def test_unet_takes_them_by_name(name, channels):
  pools = {} if name == "dac" else {"pools": (2, 3)}
  net = UNet(widths=(4, 6), depth=1, bottleneck=dict(name=name, **pools))
  for space in ((7, 6), (7, 6, 5)):
    _, out = traced(net, 1, *space, 1)
    assert out["bottleneck"].shape == (1, *(-(-n // 2) for n in space), channels)
