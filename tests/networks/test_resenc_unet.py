"""nnU-Net's residual encoder: its stem, its blocks per stage, counts of real plans."""

import jax
import pytest
from abstract import shapes

from jaxseg.networks import ResEncUNet
from jaxseg.networks.blocks import conv

ABDOMEN_MR = {
  "kernels": ((1, 3, 3), (1, 3, 3), 3, 3, 3, 3),
  "strides": ((1, 2, 2), (1, 2, 2), 2, 2, (1, 2, 2)),
}


@pytest.fixture
def native(monkeypatch):
  """XLA's own convolutions, quicker to trace than what CPU gets; parameters are the same."""
  monkeypatch.setattr(conv, "convolve_on_cpu", conv._native)


@pytest.mark.parametrize(
  ("parameters", "options", "shape"),
  [
    (101_274_361, ABDOMEN_MR, (4, 32, 32)),
    (105_921_342, {"widths": (32, 64, 128, 256, 512, 512, 512)}, (64, 64)),
  ],
)
def test_nnunets_m_plans_of_abdominal_mr(native, parameters, options, shape):
  # dynamic_network_architectures' ResidualEncoderUNet, all of its heads
  _, variables = shapes(ResEncUNet(classes=5, **options), 1, *shape, 1, train=True)
  assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == parameters


def test_a_stem_then_one_three_four_six_blocks(native):
  net = ResEncUNet(widths=(2, 4, 4, 4, 4))
  assert net.depth == (1, 3, 4, 6, 6)
  _, variables = shapes(net, 1, 16, 16, 1, train=True)
  params = variables["params"]
  assert params["stem"]["conv"]["kernel"].shape == (3, 3, 1, 2)
  assert [len(params[f"encoder{i}"]) for i in range(1, 6)] == [1, 3, 4, 6, 6]
  assert list(params["decoder1"]) == ["layer1"]
  # a 1x1 shortcut where the width changes only; averaging has no parameters
  assert "shortcut" in params["encoder2"]["block1"]
  assert "shortcut" not in params["encoder3"]["block1"]
  assert "aux3" in params


def test_the_encoders_block_is_an_option():
  net = ResEncUNet(
    widths=(4, 8, 8), depth=1, block=dict(encoder=dict(name="residual", kind="bottleneck"))
  )
  _, variables = shapes(net, 1, 8, 8, 1, train=True)
  assert variables["params"]["encoder2"]["block1"]["layer2"]["conv"]["kernel"].shape == (3, 3, 2, 2)
  # the decoder has no coarsest stage, so that its block may be one that 18 channels cannot have
  block = dict(name="residual", kind="bottleneck")
  net = ResEncUNet(widths=(8, 16, 18), depth=1, block=dict(decoder=block))
  _, variables = shapes(net, 1, 8, 8, 1, train=True)
  assert "block1" in variables["params"]["decoder2"]


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"block": {"encoder": "residuals"}}, r"'residuals' is unknown \(did you mean 'residual'\?\)"),
    ({"depth": (1, 2)}, r"depth=\(1, 2\) has 2 entries but 3 are needed"),
  ],
)
def test_bad_options_are_refused_in_words(options, words):
  with pytest.raises(ValueError, match=words):
    ResEncUNet(widths=(2, 4, 4), **options)
