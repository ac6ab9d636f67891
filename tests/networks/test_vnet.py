"""V-Net: topology and counts of the paper, residual paths, tiling along the channels."""

import functools

import jax
import numpy as np
import pytest
from abstract import shapes
from closeness import assert_close

from jaxseg.networks import VNet
from jaxseg.networks.describe import describe
from jaxseg.networks.vnet import ResidualStage


def test_the_papers_stages():
  outputs, variables = shapes(VNet(classes=2), 1, 128, 128, 64, 1, train=True)
  params = variables["params"]
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 65_175_314
  assert outputs["bottleneck"].shape == (1, 8, 8, 4, 256)
  assert outputs["decoder"].shape == (1, 128, 128, 64, 32)
  assert outputs["logits"].shape == (1, 128, 128, 64, 2)

  def kernels(side):
    return [
      [
        layer["conv"]["kernel"].shape
        for key, layer in params[f"{side}{i}"].items()
        if key.startswith("layer")
      ]
      for i in range(1, 6)
      if f"{side}{i}" in params
    ]

  def stage(first, width, depth):
    return [(5, 5, 5, first, width)] + [(5, 5, 5, width, width)] * (depth - 1)

  down = [(1, 16, 1), (32, 32, 2), (64, 64, 3), (128, 128, 3), (256, 256, 3)]
  up = [(32, 32, 1), (64, 64, 2), (128, 128, 3), (256, 256, 3)]
  assert kernels("encoder") == [stage(*s) for s in down]
  assert kernels("decoder") == [stage(*s) for s in up]
  assert params["down5"]["conv"]["kernel"].shape == (2, 2, 2, 128, 256)
  assert [params[f"up{i}"]["kernel"].shape[-2:] for i in (4, 3, 2, 1)] == [
    (256, 128),
    (256, 64),
    (128, 32),
    (64, 16),
  ]


def test_every_convolution_but_the_head_has_a_slope_per_channel():
  params = shapes(VNet(), 1, 16, 16, 16, 1, train=True)[1]["params"]
  slopes = sum(
    leaf.size for path, leaf in jax.tree_util.tree_leaves_with_path(params) if "slope" in str(path)
  )
  down = 16 * 1 + 32 * (1 + 2) + 64 * (1 + 3) + 128 * (1 + 3) + 256 * (1 + 3)
  up = (128 + 256 * 3) + (64 + 128 * 3) + (32 + 64 * 2) + (16 + 32 * 1)
  assert slopes == down + up


@functools.partial(jax.jit, static_argnums=0)
def zeroed(stage, x):
  """The stage with all convolutions 0, and its freshly made parameters."""
  params = stage.init(jax.random.key(0), x)["params"]
  cleared = jax.tree_util.tree_map_with_path(
    lambda path, leaf: 0 * leaf if "conv" in str(path) else leaf, params
  )
  return stage.apply({"params": cleared}, x), params


def test_without_its_convolutions_a_stage_is_the_identity_up_to_its_prelu():
  x = np.random.default_rng(0).normal(size=(2, 4, 3, 6)).astype(np.float32)
  out, params = zeroed(ResidualStage(6, depth=2, kernel=3), x)
  np.testing.assert_array_equal(params["activation"]["slope"], np.full(6, 0.25))
  assert_close(out, np.where(x > 0, x, 0.25 * x))


def test_an_image_is_tiled_along_the_channels_and_never_along_the_batch():
  image = np.random.default_rng(1).uniform(1, 2, (3, 4, 4, 1)).astype(np.float32)
  out, _ = zeroed(ResidualStage(5, depth=1, kernel=3), image)
  np.testing.assert_array_equal(out, np.repeat(image, 5, -1))


def test_channels_are_tiled_cyclically():
  image = np.random.default_rng(2).uniform(1, 2, (2, 3, 4, 2)).astype(np.float32)
  out, _ = zeroed(ResidualStage(5, depth=1, kernel=3), image)
  np.testing.assert_array_equal(out, image[..., [0, 1, 0, 1, 0]])


@pytest.mark.parametrize("activate_branch", [False, True])
def test_a_stage_of_1x1_convolutions_is_this_arithmetic_of_every_voxel(activate_branch):
  stage = ResidualStage(3, depth=2, kernel=1, activate_branch=activate_branch)
  rng = np.random.default_rng(3)
  x = rng.normal(size=(2, 4, 3, 1)).astype(np.float32)
  layers = [
    (rng.normal(size=(n, 3)), rng.normal(size=3), np.array([0.1, 0.2, 0.3])) for n in (1, 3)
  ]
  params = {"activation": {"slope": np.array([0.5, 0.6, 0.7])}}
  y = x
  for i, (matrix, bias, slope) in enumerate(layers, start=1):
    params[f"layer{i}"] = {"conv": {"kernel": matrix[None, None], "bias": bias}}
    y = y @ matrix + bias
    if i == 1 or activate_branch:
      params[f"layer{i}"]["activation"] = {"slope": slope}
      y = np.where(y > 0, y, slope * y)
  y = y + x  # one channel, seen by all three
  expected = np.where(y > 0, y, [0.5, 0.6, 0.7] * y)
  out = stage.apply({"params": jax.tree.map(np.float32, params)}, x)
  assert_close(out, expected, atol=1e-6)


def test_the_ports_activate_the_branches_of_all_stages_but_the_first():
  net = VNet(widths=(4, 6, 8), depth=1, decoder_depth=1, kernel=3, activate_branch=True)
  params = shapes(net, 1, 8, 8, 1)[1]["params"]
  stages = [name for name in params if name.startswith(("encoder", "decoder"))]
  activated = {name for name in stages if "activation" in params[name]["layer1"]}
  assert activated == {"encoder2", "encoder3", "decoder1", "decoder2"}


@pytest.mark.parametrize(("space", "channels"), [((97, 130), 3), ((31, 45, 22), 1), ((3, 5, 1), 9)])
def test_any_size_and_number_of_channels(space, channels):
  net = VNet(widths=(4, 6, 8), depth=1, decoder_depth=1)
  outputs, _ = shapes(net, 2, *space, channels, train=True)
  assert outputs["logits"].shape == (2, *space, 3)


def test_anisotropic_strides_and_kernels():
  net = VNet(strides=((1, 2, 2), 2, 2, 2), kernel=(3, 5, 5))
  outputs, variables = shapes(net, 1, 16, 32, 32, 1, train=True)
  assert net.total_stride(3) == (8, 16, 16)
  assert net.margin(3) == (0, 0, 0)
  assert outputs["bottleneck"].shape == (1, 2, 2, 2, 256)
  assert variables["params"]["down2"]["conv"]["kernel"].shape == (1, 2, 2, 16, 32)


def test_dropout_is_on_the_skips():
  layers = describe(VNet(skip_dropout=0.5), (1, 16, 1)).layers
  drops = [layer.path[0] for layer in layers if layer.kind == "Dropout" and len(layer.path) == 1]
  assert drops == ["skip4_dropout", "skip3_dropout", "skip2_dropout", "skip1_dropout"]


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"widths": (8, 16)}, r"depth=\(1, 2, 3, 3, 3\) has 5 entries but 2 are needed"),
    ({"decoder_depth": 0}, "decoder_depth=0; expected at least 1"),
    ({"classes": 0}, "classes=0"),
    ({"activation": "swish"}, "activation='swish' is unknown"),
    ({"norm": "layer"}, "norm='layer' is unknown"),
    ({"strides": (2, 2)}, "has 2 entries but 4 are needed"),
  ],
)
def test_bad_options_are_refused_in_words(options, words):
  with pytest.raises(ValueError, match=f"vnet.*{words}"):
    VNet(**options)
