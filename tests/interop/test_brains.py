"""deepbrain's and deepbet's names: every tensor finds its place, in the layout that ours have."""

import jax
import numpy as np
import pytest
import state_dicts
import torch_files
from brain_graphs import deepbet_shapes, deepbrain_graph, module
from closeness import assert_close

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
