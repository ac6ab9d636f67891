"""LW-HCN: 2D at the shallow encoder levels, DSTS convolutions elsewhere."""

import jax
import pytest
from abstract import shapes

from jaxseg.networks import LWHCN, UNet


def count(variables):
  return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def test_shallow_levels_are_2d_and_keep_z():
  net = LWHCN()
  outputs, variables = shapes(net, 1, 16, 64, 64, 1, train=True)
  assert net.total_stride(3) == (4, 16, 16)
  assert outputs["bottleneck"].shape == (1, 4, 4, 4, 512)
  params = variables["params"]
  for i, width in ((1, 32), (2, 64)):
    layer = params[f"encoder{i}"]["layer2"]["conv"]
    assert layer["kernel"].shape == (1, 3, 3, width, width)
  for name, width in (("encoder3", 128), ("decoder2", 64), ("decoder1", 32)):
    layer = params[name]["layer2"]["conv"]
    assert layer["spatial"]["kernel"].shape == (1, 3, 3, 1, width)
    assert layer["temporal"]["kernel"].shape == (3, 1, 1, 1, width)
    assert layer["pointwise"]["kernel"].shape == (1, 1, 1, width, width)


def test_parameters_by_hand():
  def flat(a, b):
    return 9 * a * b + 2 * b

  def dsts(a, b):
    return 9 * a + 3 * a + a * b + 2 * b

  encoder = flat(1, 4) + flat(4, 4) + dsts(4, 6) + dsts(6, 6) + dsts(6, 8) + dsts(8, 8)
  decoder = dsts(8, 6) + dsts(12, 6) + dsts(6, 6) + dsts(6, 4) + dsts(8, 4) + dsts(4, 4)
  net = LWHCN(classes=2, widths=(4, 6, 8), flat_levels=1)
  assert count(shapes(net, 1, 4, 8, 8, 1, train=True)[1]) == encoder + decoder + 4 * 2


def test_without_flat_levels_and_dsts_it_is_unet():
  small = {"widths": (4, 6, 8)}
  net = LWHCN(**small, flat_levels=0, conv="plain")
  assert shapes(net, 1, 5, 8, 7, 1, train=True) == shapes(UNet(**small), 1, 5, 8, 7, 1, train=True)


def test_dense_convolutions_are_an_option():
  small = {"widths": (4, 6, 8), "flat_levels": 2, "conv": "plain"}
  params = shapes(LWHCN(**small), 1, 4, 8, 8, 1, train=True)[1]["params"]
  assert params["encoder2"]["layer1"]["conv"]["kernel"].shape == (1, 3, 3, 4, 6)
  assert params["decoder2"]["layer1"]["conv"]["kernel"].shape == (3, 3, 3, 12, 6)


def test_images_and_too_many_flat_levels_are_refused_in_words():
  with pytest.raises(ValueError, match="lw_hcn: an input with 2 spatial axes; expected volumes"):
    shapes(LWHCN(), 1, 16, 16, 1, train=True)
  with pytest.raises(ValueError, match="lw_hcn: an input with 2 spatial axes"):
    LWHCN().total_stride(2)
  with pytest.raises(ValueError, match="flat_levels=6; expected 0 to 5"):
    LWHCN(flat_levels=6)
