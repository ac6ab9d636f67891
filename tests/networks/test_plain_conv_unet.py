"""nnU-Net's plain U-Net: a head at every level, plans with coarse axes."""

import jax
import pytest
from abstract import shapes

from jaxseg.networks import PlainConvUNet

TINY = {"widths": (2, 3, 4, 5), "depth": 1, "decoder_depth": 1}


def test_every_decoder_stage_has_a_head():
  outputs, variables = shapes(PlainConvUNet(**TINY), 1, 24, 16, 1, train=True)
  assert [a.shape for a in outputs["aux"]] == [(1, 12, 8, 3), (1, 6, 4, 3)]
  assert {"head", "aux1", "aux2"} < variables["params"].keys()
  assert "aux3" not in variables["params"]
  assert "aux" not in shapes(PlainConvUNet(**TINY, deep_supervision=0), 1, 24, 16, 1, train=True)[0]


def test_a_coarse_axis_is_left_alone():
  net = PlainConvUNet(**TINY, kernels=((1, 3, 3), 3, 3, 3), strides=((1, 2, 2), 2, 2))
  assert net.total_stride(3) == (4, 8, 8)
  outputs, variables = shapes(net, 1, 4, 8, 8, 1, train=True)
  assert outputs["aux"][0].shape == (1, 4, 4, 4, 3)
  assert variables["params"]["up1"]["kernel"].shape == (1, 2, 2, 3, 2)


def test_the_two_dimensional_plan_of_drive():
  # dynamic_network_architectures' PlainConvUNet(3, 8, ..., num_classes=2)
  net = PlainConvUNet(classes=2, widths=(32, 64, 128, 256, 512, 512, 512, 512))
  _, variables = shapes(net, 1, 128, 128, 3, train=True)
  assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 46_325_134


def test_too_many_heads_are_refused_in_words():
  with pytest.raises(ValueError, match="room for 0 to 2"):
    PlainConvUNet(**TINY, deep_supervision=3)
  with pytest.raises(ValueError, match="two stages"):
    PlainConvUNet(widths=(8,))
