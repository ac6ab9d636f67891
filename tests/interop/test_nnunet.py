"""nnU-Net's checkpoints: the logits of our networks are those of the original."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch_files
from closeness import assert_close
from nnunet_models import logits_of, state_dict

from jaxseg import paths
from jaxseg.interop import FORMATS, nnunet, torch_file
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


def test_what_is_written_is_all_that_nnunet_loads_and_comes_back(tmp_path):
  random = np.random.default_rng(1)
  weights = state_dict(random, rank=3, inputs=2)
  torch_files.write(tmp_path / "theirs.pth", {"network_weights": weights})
  own = read(tmp_path / "theirs.pth")
  FORMATS["nnunet"].write(tmp_path / "ours.pth", own)
  written = torch_file.load(tmp_path / "ours.pth")["network_weights"]
  for name, of in weights.items():
    np.testing.assert_array_equal(written[name], of)
  first = "encoder.stages.0.0.convs.0"
  second = {
    f"decoder.{first}.conv.weight": weights[f"{first}.conv.weight"],
    f"{first}.all_modules.0.bias": weights[f"{first}.conv.bias"],
    f"decoder.{first}.all_modules.1.weight": weights[f"{first}.norm.weight"],
    "decoder.stages.0.convs.0.all_modules.1.bias": weights["decoder.stages.0.convs.0.norm.bias"],
  }
  for name, of in second.items():
    np.testing.assert_array_equal(written[name], of)
  # four of each of three layers, again in the list of modules, the encoder's again in the decoder
  assert len(written) == 3 * 8 + 2 * 8 + 4


def test_weights_of_other_networks_are_not_written():
  strange = {f"mixer{i}/kernel": np.ones((1, 1)) for i in range(12)}
  with pytest.raises(ValueError, match=r"'mixer0/kernel', .* and 2 more: nnU-Net's PlainConvUNet"):
    nnunet.to_state_dict(strange)


def test_at_most_ten_strange_tensors_are_listed(tmp_path):
  strange = {f"backbone.{i}.weight": np.ones((1, 1), np.float32) for i in range(13)}
  torch_files.write(tmp_path / "x.pth", {"network_weights": strange})
  with pytest.raises(
    ValueError, match=r"'backbone\.9\.weight' and 3 more, which are no parts of"
  ) as refused:
    read(tmp_path / "x.pth")
  assert "backbone.10" not in str(refused.value)


@pytest.mark.parametrize("model", ["plain2d", "plain3d", "resenc3d"])
def test_real_weights_come_back_under_all_of_nnunets_names_in_its_order(model, real_data, tmp_path):
  path = real_data / "nnunet_models" / model / "fold_0" / "checkpoint_final.pth"
  expected = torch_file.load(path)["network_weights"]
  written = nnunet.to_state_dict(read(path))
  assert list(written) == list(expected)
  for name, of in expected.items():
    assert written[name].dtype == of.dtype
    np.testing.assert_array_equal(written[name], of)
