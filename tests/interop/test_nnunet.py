"""nnU-Net's checkpoints: the logits of our networks are those of the original."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch_files
from closeness import assert_close

from jaxseg import paths
from jaxseg.interop import FORMATS
from jaxseg.networks import NETWORKS

read = FORMATS["nnunet"].read


@pytest.mark.parametrize("model", ["plain2d", "plain3d", "resenc3d"])
def test_logits_are_those_of_nnunet(model, real_data):
  folder = real_data / "nnunet_models" / model
  plans = json.loads((folder / "plans.json").read_text())["configurations"]
  told = plans["2d" if model == "plain2d" else "3d_fullres"]["architecture"]["arch_kwargs"]
  reference = np.load(folder / "reference.npz")
  x, expected = (np.moveaxis(reference[name], 1, -1) for name in ("patch", "patch_logits"))
  options = {
    "classes": expected.shape[-1],
    "widths": told["features_per_stage"],
    "kernels": told["kernel_sizes"],
    "strides": told["strides"][1:],
    "depth": told.get("n_blocks_per_stage") or told["n_conv_per_stage"],
    "decoder_depth": told["n_conv_per_stage_decoder"],
  }
  net = NETWORKS["resenc_unet" if model == "resenc3d" else "plain_conv_unet"](**options)
  weights = read(folder / "fold_0" / "checkpoint_final.pth")
  check_fit(net, weights, x)
  logits = net.apply({"params": paths.unflatten(weights)}, x)["logits"]
  assert_close(logits, expected, rtol=1e-5)


def check_fit(net, weights, x):
  own = jax.eval_shape(lambda: net.init(jax.random.key(0), x, train=True))["params"]
  shapes = {path: of.shape for path, of in paths.flatten(own).items()}
  assert {path: of.shape for path, of in weights.items()} == shapes


def state_dict(random) -> dict[str, np.ndarray]:
  """The parameters of a PlainConvUNet of two stages, 2 and 3 wide, 1 channel, 2 classes."""

  def of(*shape):
    return random.standard_normal(shape).astype(np.float32)

  def layer(place, i, o):
    return {
      f"{place}.conv.weight": of(o, i, 3, 3),
      f"{place}.conv.bias": of(o),
      f"{place}.norm.weight": of(o),
      f"{place}.norm.bias": of(o),
    }

  return {
    **layer("encoder.stages.0.0.convs.0", 1, 2),
    **layer("encoder.stages.1.0.convs.0", 2, 3),
    **layer("decoder.stages.0.convs.0", 4, 2),
    "decoder.transpconvs.0.weight": of(3, 2, 2, 2),
    "decoder.transpconvs.0.bias": of(2),
    "decoder.seg_layers.0.weight": of(2, 2, 1, 1),
    "decoder.seg_layers.0.bias": of(2),
  }


def logits_of(weights, x):
  """PyTorch's forward pass of that network, channels first."""

  def conv(place, x, stride=1):
    kernel, bias = weights[f"{place}.weight"], weights[f"{place}.bias"]
    edge = kernel.shape[-1] // 2
    return (
      jax.lax.conv_general_dilated(x, kernel, (stride,) * 2, [(edge, edge)] * 2)
      + bias[None, :, None, None]
    )

  def layer(place, x, stride=1):
    x = conv(f"{place}.conv", x, stride)
    x = (x - x.mean((2, 3), keepdims=True)) / jnp.sqrt(x.var((2, 3), keepdims=True) + 1e-5)
    x = x * weights[f"{place}.norm.weight"][None, :, None, None]
    x += weights[f"{place}.norm.bias"][None, :, None, None]
    return jnp.where(x > 0, x, 0.01 * x)

  skip = layer("encoder.stages.0.0.convs.0", x)
  low = layer("encoder.stages.1.0.convs.0", skip, 2)
  up = jnp.einsum("nchw,coij->nohiwj", low, weights["decoder.transpconvs.0.weight"])
  up = up.reshape(skip.shape) + weights["decoder.transpconvs.0.bias"][None, :, None, None]
  return conv(
    "decoder.seg_layers.0", layer("decoder.stages.0.convs.0", jnp.concatenate([up, skip], 1))
  )


def test_a_file_written_here_gives_the_logits_of_pytorchs_rules(tmp_path):
  random = np.random.default_rng(0)
  weights = state_dict(random)
  repeated = {
    f"decoder.{name}": of for name, of in weights.items() if name.startswith("encoder.")
  } | {"encoder.stages.0.0.convs.0.all_modules.0.weight": weights["decoder.seg_layers.0.bias"]}
  checkpoint = {"network_weights": {**weights, **repeated}, "current_epoch": 3}
  torch_files.write(tmp_path / "checkpoint_final.pth", checkpoint)
  net = NETWORKS["plain_conv_unet"](classes=2, widths=(2, 3), depth=1, decoder_depth=1)
  x = random.standard_normal((2, 8, 6, 1)).astype(np.float32)
  own = read(tmp_path / "checkpoint_final.pth")
  check_fit(net, own, x)
  logits = net.apply({"params": paths.unflatten(own)}, x)["logits"]
  assert_close(logits, jnp.moveaxis(logits_of(weights, np.moveaxis(x, -1, 1)), 1, -1), rtol=1e-4)


def test_heads_and_stages_are_counted_from_the_finest(tmp_path):
  zeros = np.zeros((2, 2, 1, 1), np.float32)
  heads = {f"_orig_mod.decoder.seg_layers.{i}.weight": zeros + i for i in range(3)}
  torch_files.write(tmp_path / "x.pth", {"network_weights": heads})
  own = read(tmp_path / "x.pth")
  assert {path: of.max() for path, of in own.items()} == {
    "aux2/kernel": 0,
    "aux1/kernel": 1,
    "head/kernel": 2,
  }


@pytest.mark.parametrize(
  ("content", "words"),
  [
    ({"state_dict": {}}, r"is no checkpoint of nnU-Net v2 \(it holds no network_weights\)"),
    ({"network_weights": {"a": 1}}, r"is no checkpoint of nnU-Net v2"),
    ((1, 2), r"is no checkpoint of nnU-Net v2"),
    (
      {"network_weights": {"backbone.conv.weight": np.ones((1, 1, 1), np.float32)}},
      r"holds 'backbone\.conv\.weight', which is no part of nnU-Net's PlainConvUNet",
    ),
  ],
)
def test_other_checkpoints_are_refused(tmp_path, content, words):
  torch_files.write(tmp_path / "x.pth", content)
  with pytest.raises(ValueError, match=rf"x\.pth: {words}"):
    read(tmp_path / "x.pth")
