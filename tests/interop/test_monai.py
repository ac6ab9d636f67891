"""MONAI's names: the logits of our networks are those of the original."""

import json
import pathlib

import jax
import numpy as np
import pytest
import state_dicts
from closeness import assert_close

from jaxseg import paths
from jaxseg.interop import FORMATS
from jaxseg.networks import NETWORKS

# names and shapes of MONAI 1.6.1's tensors, in 2D
SHAPES = json.loads(pathlib.Path(__file__).with_name("monai_shapes.json").read_text())


def state_dict(name: str) -> dict[str, np.ndarray]:
  return state_dicts.numbers(SHAPES[name])


def read(tmp_path, form: str, arrays):
  np.savez(tmp_path / "x.npz", **arrays)
  return FORMATS[form].read(tmp_path / "x.npz")


# first and last voxel's logits and the sum of all sizes, by MONAI 1.6.1 from the same numbers
@pytest.mark.parametrize(
  ("form", "name", "options", "size", "first", "last", "total"),
  [
    (
      "monai_segresnet",
      "segresnet",
      dict(widths=(8, 16, 32), depth=(1, 2, 1), up="transpose"),
      (8, 12),
      [-1.369522, -0.297004, -0.02128],
      [-1.102515, -0.785222, -0.353803],
      205.318604,
    ),
    (
      "monai_unetr",
      "unetr",
      dict(image_size=64, features=4, hidden=12, mlp=24, heads=3, taps=(4, 7, 10)),
      (64, 64),
      [1.815044, -2.163365, -0.907024],
      [2.166554, -1.328543, -1.252613],
      10800.113281,
    ),
    (
      "monai_swin_unetr_mergingv2",
      "swin_unetr",
      dict(features=12, heads=(1, 2, 4, 8), window=2),
      (64, 32),
      [1.086578, 2.650638, 0.067559],
      [0.094889, 0.473546, -0.391883],
      6771.381836,
    ),
    (
      "monai_mednext",
      "mednext",
      dict(widths=(4, 8, 16), blocks=(1, 2, 1, 1, 1), expansion=2),
      (16, 12),
      [0.448109, 0.242373, 4.700914],
      [9.568983, 31.683693, 22.597251],
      4765.111328,
    ),
  ],
)
def test_logits_are_those_of_monai(tmp_path, form, name, options, size, first, last, total):
  weights = read(tmp_path, form, state_dict(name))
  net, x = NETWORKS[name](**options), state_dicts.image(1, *size, 1)
  shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), x, train=True))["params"]
  own = {path: of.shape for path, of in paths.flatten(shapes).items()}
  assert {path: of.shape for path, of in weights.items()} == own
  variables = {"params": paths.unflatten(weights)}
  logits = jax.jit(lambda x: net.apply(variables, x)["logits"])(x)
  assert_close(logits[0, 0, 0], first, atol=1e-4)
  assert_close(logits[0, -1, -1], last, atol=1e-4)
  assert_close(np.abs(logits).sum(), total)


def test_positions_that_are_no_square_are_refused(tmp_path):
  arrays = state_dict("unetr")
  arrays["vit.patch_embedding.position_embeddings"] = np.zeros((1, 6, 12), np.float32)
  with pytest.raises(ValueError, match=r"x\.npz: its 6 positions are no square, .* same on all"):
    read(tmp_path, "monai_unetr", arrays)


@pytest.mark.parametrize(
  ("form", "name", "strange"),
  [
    ("monai_segresnet", "segresnet", "vae_fc1.weight"),
    ("monai_unetr", "unetr", "vit.cls_token"),
    ("monai_swin_unetr_mergingv2", "swin_unetr", "swinViT.layers1c.0.layer.conv1.conv.weight"),
    ("monai_mednext", "mednext", "enc_stages.0.0.grn_beta"),
  ],
)
def test_tensors_of_another_variant_are_refused_by_name(tmp_path, form, name, strange):
  arrays = {**state_dict(name), strange: np.ones((1, 1), np.float32)}
  with pytest.raises(ValueError, match=rf"x\.npz: '{strange}' of its .* are no part of MONAI's"):
    read(tmp_path, form, arrays)


def test_a_dummy_without_a_use_is_left(tmp_path):
  arrays = {**state_dict("mednext"), "dummy_tensor": np.ones(1, np.float32)}
  assert len(read(tmp_path, "monai_mednext", arrays)) == len(arrays) - 1
