"""3D U-Net: channels, sizes and 19,069,955 parameters as in the paper."""

import jax
import jax.numpy as jnp
import pytest
from abstract import shapes

from jaxseg.networks import UNet3D


def test_the_papers_volume_network_and_counting():
  outputs, variables = shapes(UNet3D(classes=3), 1, 132, 132, 116, 3, train=True)
  assert outputs["logits"].shape == (1, 44, 44, 28, 3)
  assert UNet3D().margin(3) == (44, 44, 44)
  params = variables["params"]
  convolutions = {
    name: [params[name][layer]["conv"]["kernel"].shape[-2:] for layer in ("layer1", "layer2")]
    for name in params
    if name.startswith(("encoder", "decoder"))
  }
  assert convolutions == {
    "encoder1": [(3, 32), (32, 64)],
    "encoder2": [(64, 64), (64, 128)],
    "encoder3": [(128, 128), (128, 256)],
    "encoder4": [(256, 256), (256, 512)],
    "decoder3": [(512 + 256, 256), (256, 256)],
    "decoder2": [(256 + 128, 128), (128, 128)],
    "decoder1": [(128 + 64, 64), (64, 64)],
  }
  ups = {i: jax.tree.map(jnp.shape, params[f"up{i}"]) for i in (3, 2, 1)}
  assert ups == {i: {"kernel": (2, 2, 2, n, n)} for i, n in ((3, 512), (2, 256), (1, 128))}
  # the paper's number leaves out what batch norm learns
  leaves = jax.tree_util.tree_leaves_with_path(params)
  assert sum(leaf.size for path, leaf in leaves if "norm" not in str(path)) == 19_069_955
  assert sum(leaf.size for path, leaf in leaves if "norm" in str(path)) == 2 * 2_336


def test_valid_sizes_are_8_apart():
  with pytest.raises(ValueError, match=r"unet3d.*axis 2.*use 92 or 100,"):
    shapes(UNet3D(), 1, 132, 132, 96, 1, train=True)
  with pytest.raises(ValueError, match="use at least 92"):
    shapes(UNet3D(), 1, 64, 132, 132, 1, train=True)


@pytest.mark.parametrize("space", [(31, 45, 22), (97, 130), (5, 1, 3)])
def test_same_padding_keeps_any_size(space):
  outputs, _ = shapes(UNet3D(padding="same", widths=(4, 6, 8)), 2, *space, 2, train=True)
  assert outputs["logits"].shape == (2, *space, 3)


def test_anisotropic_pooling_keeps_z():
  net = UNet3D(padding="same", strides=((1, 2, 2), 2, 2))
  outputs, variables = shapes(net, 1, 8, 32, 32, 1, train=True)
  assert net.total_stride(3) == (4, 8, 8)
  assert outputs["bottleneck"].shape == (1, 2, 4, 4, 512)
  assert variables["params"]["up1"]["kernel"].shape == (1, 2, 2, 128, 128)


def test_norm_first_normalises_what_a_convolution_takes():
  net = UNet3D(padding="same", norm="group", norm_first=True, up="nearest", conv_bias=False)
  params = shapes(net, 1, 16, 16, 16, 1, train=True)[1]["params"]
  # one channel makes one group; the joined features are normalised as one
  assert params["encoder1"]["norm1"]["scale"].shape == (1,)
  assert params["encoder1"]["norm2"]["scale"].shape == (32,)
  assert params["decoder3"]["norm1"]["scale"].shape == (512 + 256,)
  assert not any(name.startswith("up") for name in params)
