"""deepbrain's and deepbet's names: every tensor finds its place, in the layout that ours have."""

import jax
import numpy as np
import pytest
import state_dicts
import torch_files
from brain_graphs import deepbrain_graph
from closeness import assert_close
from torch_files import Module

from jaxseg import paths
from jaxseg.interop import FORMATS, packages
from jaxseg.networks import NETWORKS


def fits(name: str, weights, rank: int = 3, **options):
  """The network whose arrays are those of the weights."""
  net = NETWORKS[name](**options)
  x = np.zeros((1, *(32,) * rank, 1), np.float32)
  shapes = paths.flatten(jax.eval_shape(lambda: net.init(jax.random.key(0), x))["params"])
  assert {p: of.shape for p, of in weights.items()} == {p: of.shape for p, of in shapes.items()}
  return lambda x: jax.jit(net.apply)({"params": paths.unflatten(weights)}, x)["logits"]


def test_the_layers_of_deepbrains_graph_find_their_places(tmp_path):
  arrays = deepbrain_graph()
  np.savez(tmp_path / "x.npz", **arrays)
  weights = FORMATS["deepbrain"].read(tmp_path / "x.npz")
  fits("deepbrain", weights, classes=1)
  assert sum(of.size for of in weights.values()) == 171_465
  np.testing.assert_array_equal(weights["encoder3_layer2/conv/kernel"], arrays["conv3d_5/kernel"])
  np.testing.assert_array_equal(weights["decoder3/conv/bias"], arrays["conv3d_6/bias"])
  up = arrays["conv3d_transpose_1/kernel"]
  np.testing.assert_array_equal(weights["up2/kernel"], up.swapaxes(-1, -2))
  np.savez(tmp_path / "y.npz", **{"conv3d_10/bias": np.ones(2)})
  with pytest.raises(ValueError, match=r"y\.npz: 'conv3d_10\.bias' of its 1 tensors are no part"):
    FORMATS["deepbrain"].read(tmp_path / "y.npz")


def deepbet_shapes():
  def block(place, before, width):
    out = {f"{place}.double_conv.0.weight": (width, before, 3, 3, 3)}
    out[f"{place}.double_conv.3.weight"] = (width, width, 3, 3, 3)
    more = {f"{place}.downsample.0.weight": (width, before, 1, 1, 1)}
    return out | (more if before != width else {})

  out, before = {"init.0.weight": (16, 1, 7, 7, 7)}, 16
  for i, width in enumerate((16, 32, 64, 128)):
    out |= {**block(f"down{i}.block1", before, width), **block(f"down{i}.block2", width, width)}
    before = width
  for i, width in enumerate((64, 32, 16, 16)):
    narrow = before // 4
    out |= {f"up{i}.conv1.0.weight": (narrow, before, 1, 1, 1)}
    out |= {f"up{i}.tp_conv.0.weight": (narrow, narrow, 3, 3, 3)}
    out |= {f"up{i}.conv2.0.weight": (width, narrow, 1, 1, 1)}
    before = width
  out |= {"tp_conv1.0.weight": (16, 8, 3, 3, 3), "tp_conv1.0.bias": (8,)}
  out |= {"conv.0.weight": (8, 8, 3, 3, 3), "conv.0.bias": (8,)}
  return out | {"tp_conv2.weight": (8, 2, 2, 2, 2), "tp_conv2.bias": (2,)}


def module(arrays) -> Module:
  """A TorchScript archive's tree of modules."""
  tree: dict = {"training": False}
  for name, of in arrays.items():
    *above, last = name.split(".")
    node = tree
    for part in above:
      node = node.setdefault(part, {})
    node[last] = of

  def made(name, node):
    return Module(name, {k: made(k, v) if isinstance(v, dict) else v for k, v in node.items()})

  return made("Net", tree)


def test_the_modules_of_deepbets_archives_find_their_places(tmp_path):
  arrays = state_dicts.numbers(deepbet_shapes())
  torch_files.write(tmp_path / "x.pt", module(arrays))
  weights = FORMATS["deepbet"].read(tmp_path / "x.pt")
  logits = fits("linknet", weights, classes=2)(0.2 * state_dicts.image(1, 64, 32, 32, 1))
  difference = logits[0, ..., 1] - logits[0, ..., 0]
  # deepbet's program with the same numbers, by PyTorch 2.13 in float64; its softmax tells no more
  assert_close([difference[0, 0, 0], difference[-1, -1, -1]], [0.74519, -0.255901], atol=1e-3)
  assert_close(np.abs(difference).mean(), 0.753908, rtol=1e-4)


@pytest.mark.parametrize("name", ["deepbrain", "deepbet", "deepbet_box"])
def test_the_packages_weights_are_read(name):
  try:
    file = packages.file_of(name)
  except FileNotFoundError as error:
    pytest.skip(str(error))
  form = packages.PACKAGES[name].format
  weights = FORMATS[form].read(file)
  fits("deepbrain" if form == "deepbrain" else "linknet", weights, classes=1 + (form == "deepbet"))
