"""MedNeXt: its sizes, its up block, UpKern."""

import jax
import numpy as np
import pytest
from abstract import shapes
from closeness import assert_close
from option_checks import assert_same_parameters_and_shapes

from jaxseg.networks import MedNeXt
from jaxseg.networks.blocks import conv
from jaxseg.networks.mednext import MedNeXtBlock, TransposedDepthwise, upkern

TINY = {"widths": (2, 3, 4), "blocks": 1, "expansion": 2}


@pytest.fixture
def native(monkeypatch):
  """XLA's own convolutions, quicker to trace than what CPU gets; parameters are the same."""
  monkeypatch.setattr(conv, "convolve_on_cpu", conv._native)


@pytest.mark.parametrize(
  ("size", "kernel", "parameters"),
  [
    ("S", 5, 5_980_579),
    ("B", 3, 10_526_339),
    ("B", 5, 10_955_971),
    ("M", 3, 17_548_995),
    ("M", 5, 18_260_867),
    ("L", 3, 61_779_299),
    ("L", 5, 62_992_931),
  ],
)
def test_the_published_sizes(native, size, kernel, parameters):
  # MIC-DKFZ/MedNeXt: 10.5, 17.6 and 61.8 million in the paper, whose heads add a few thousand
  _, variables = shapes(MedNeXt(size=size, kernel=kernel), 1, 16, 16, 16, 1, train=True)
  assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == parameters + 2_892


def test_every_stage_but_the_finest_has_an_auxiliary_head_the_bottleneck_too():
  outputs, variables = shapes(MedNeXt(**TINY), 1, 9, 6, 1, train=True)
  assert [a.shape for a in outputs["aux"]] == [(1, 5, 3, 3), (1, 3, 2, 3)]
  assert variables["params"]["aux2"]["kernel"].shape == (1, 1, 4, 3)


def test_ratios_belong_to_the_stage_that_a_block_leads_to():
  _, variables = shapes(
    MedNeXt(widths=(2, 3, 4), blocks=1, expansion=(2, 3, 4, 5, 6)), 1, 4, 4, 1, train=True
  )
  hidden = {
    name: block["expand"]["kernel"].shape[-1] // block["expand"]["kernel"].shape[-2]
    for name, block in variables["params"].items()
    if "expand" in block
  }
  assert hidden == {
    "encoder1_block1": 2,
    "down2": 3,
    "encoder2_block1": 3,
    "down3": 4,
    "encoder3_block1": 4,
    "up2": 5,
    "decoder2_block1": 5,
    "up1": 6,
    "decoder1_block1": 6,
  }


def test_a_transposed_convolution_adds_the_kernel_at_every_second_voxel():
  # voxels 1 and 2, kernel (a, b, c) = (3, 5, 7): b, c + 2 a, 2 b at places 0, 1, 2
  layer = TransposedDepthwise(3, (2,))
  params = {"kernel": np.array([3.0, 5, 7]).reshape(3, 1, 1), "bias": np.array([0.5])}
  out = layer.apply({"params": params}, np.array([1, 2], np.float32).reshape(1, 2, 1))
  assert_close(out.reshape(-1), [5.5, 13.5, 10.5])


def test_an_up_block_doubles_the_size_its_first_voxels_zero():
  block = MedNeXtBlock(3, 2, up=(2, 1))
  x = np.random.default_rng(0).normal(size=(1, 3, 4, 2)).astype(np.float32)
  out = jax.jit(lambda x: block.init_with_output(jax.random.key(0), x)[0])(x)
  assert out.shape == (1, 6, 4, 3)
  assert not out[:, 0].any()
  assert out[:, 1:].all()


def test_a_block_whose_compression_is_zero_is_the_identity():
  block = MedNeXtBlock(2, 2)
  x = np.random.default_rng(0).normal(size=(1, 3, 4, 2)).astype(np.float32)
  params = jax.eval_shape(lambda x: block.init(jax.random.key(0), x), x)["params"]
  params = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), params)
  params["compress"] = jax.tree.map(np.zeros_like, params["compress"])
  assert_close(block.apply({"params": params}, x), x, atol=1e-6)


def test_upkern_interpolates_the_depthwise_kernels_only():
  small, large = (
    shapes(MedNeXt(**TINY, kernel=k), 1, 4, 4, 4, 1, train=True)[1]["params"] for k in (3, 5)
  )
  rng = np.random.default_rng(0)
  small = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), small)
  grown = upkern(small, 5)
  assert jax.tree.map(np.shape, grown) == jax.tree.map(lambda leaf: leaf.shape, large)
  np.testing.assert_array_equal(grown["stem"]["kernel"], small["stem"]["kernel"])
  # PyTorch's interpolate of 3 taps to 5: places -0.2, 0.4, 1, 1.6, 2.2, the outer ones clipped
  weights = np.array([[1, 0, 0], [0.6, 0.4, 0], [0, 1, 0], [0, 0.4, 0.6], [0, 0, 1]])
  kernel = small["up1"]["depthwise"]["kernel"]
  expected = np.einsum("iz,jy,kx,zyxac->ijkac", weights, weights, weights, kernel)
  assert_close(grown["up1"]["depthwise"]["kernel"], expected, atol=1e-5)


def test_half_precision_keeps_parameters_and_shapes():
  assert_same_parameters_and_shapes(MedNeXt(**TINY), MedNeXt(**TINY, dtype="bfloat16"))


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"size": "XL"}, "size='XL' is unknown; choices: S, B, M, L"),
    ({"kernel": 4}, "kernel=4; expected odd numbers"),
    ({"widths": (8, 16)}, "has 2 stages, size='S' has 5; give 'blocks' too, one number or 3"),
    ({"blocks": (1, 1)}, r"blocks=\(1, 1\) has 2 entries but 9 are needed"),
    ({"deep_supervision": 5}, "room for 0 to 4"),
    ({"classes": 0}, "classes=0"),
  ],
)
def test_bad_options_are_refused_in_words(options, words):
  with pytest.raises(ValueError, match=words):
    MedNeXt(**options)
