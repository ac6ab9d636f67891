"""Pyramid pooling: the published count, values worked by hand, sizes that are too small."""

import jax.numpy as jnp
import numpy as np
import pytest
from abstract import count, traced
from closeness import assert_close

from jaxseg.networks import UNet
from jaxseg.networks.blocks.ppm import PPM


def test_four_branches_have_the_published_count():
  params, out = traced(PPM(), 1, 60, 60, 2048)
  assert count(params) == 4_198_400
  assert out.shape == (1, 60, 60, 4096)
  joined, out = traced(PPM(512), 1, 60, 60, 2048)
  assert count(joined) == 4_198_400 + 9 * 4096 * 512 + 2 * 512
  assert out.shape == (1, 60, 60, 512)


@pytest.mark.parametrize(
  ("pooling", "one", "two"),
  [
    ("average", 2.5, [1.5, 1.5 + 2 / 3, 1.5 + 4 / 3, 3.5]),
    ("max", 4.0, [2.0, 2 + 2 / 3, 2 + 4 / 3, 4.0]),
  ],
)
def test_regions_are_pooled_and_interpolated_with_aligned_corners(pooling, one, two):
  block = PPM(bins=(1, 2), pooling=pooling, norm="none")
  unit = {"conv": {"kernel": jnp.ones((1, 1, 1)), "bias": jnp.zeros(1)}}
  x = jnp.arange(1.0, 5.0).reshape(1, 4, 1)
  out = block.apply({"params": {"bin1": unit, "bin2": unit}}, x)
  assert_close(out[0], np.stack([[1, 2, 3, 4], [one] * 4, two], -1))


def test_where_there_is_one_bin_there_is_no_instance_norm():
  params, _ = traced(PPM(norm="instance"), 1, 6, 6, 8)
  assert "norm" not in params["bin1"]
  assert "norm" in params["bin2"]
  params, _ = traced(PPM(norm_of_one="none"), 1, 6, 6, 8)
  assert "norm" not in params["bin1"]
  assert params["bin1"]["conv"]["bias"].shape == (2,)


def test_features_smaller_than_the_bins_are_refused():
  with pytest.raises(ValueError, match=r"size \(6, 5\) .* has 6 voxels or more, or fewer bins"):
    traced(PPM(), 1, 6, 5, 8)


def test_unet_takes_it_by_name():
  net = UNet(widths=(4, 6), depth=1, bottleneck=dict(name="ppm", bins=(1, 3)))
  params, out = traced(net, 1, 7, 6, 5, 1)
  assert out["bottleneck"].shape == (1, 4, 3, 3, 6)
  assert params["bottleneck"]["bin3"]["conv"]["kernel"].shape == (1, 1, 1, 6, 3)
