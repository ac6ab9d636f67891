"""torchvision's names: the logits of our encoders are those of the original."""

import jax
import numpy as np
import pytest
import state_dicts
from closeness import assert_close

from jaxseg import paths
from jaxseg.interop import FORMATS
from jaxseg.networks.encoders import VGG, Classifier, DenseNet, ResNet

read = FORMATS["torchvision"].read


def outputs(net, weights, x):
  """What a network makes of weights in its own paths, all of which it must use."""
  shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), x))
  own = {kind: paths.flatten(tree) for kind, tree in shapes.items()}
  variables = {
    kind: {path: weights[path.removeprefix("encoder/")] for path in tree}
    for kind, tree in own.items()
  }
  for kind, tree in own.items():
    assert {p: of.shape for p, of in variables[kind].items()} == {
      p: a.shape for p, a in tree.items()
    }
  assert sum(len(tree) for tree in own.values()) == len(weights)
  unflat = {kind: paths.unflatten(tree) for kind, tree in variables.items()}
  return jax.jit(net.apply)(unflat, x)


def write(path, shapes):
  np.savez(path, **state_dicts.numbers(shapes))
  return path


# computed by PyTorch 2.13 and torchvision 0.28 from the same numbers
@pytest.mark.parametrize(
  ("net", "shapes", "size", "logits"),
  [
    (
      ResNet((1, 2, 1, 1)),
      state_dicts.resnet((1, 2, 1, 1), 5),
      (40, 33),
      [0.330273, 7.525792, -22.708282, 15.42386, -3.62663],
    ),
    (
      DenseNet((2, 1, 1, 2), growth=4, width=8),
      state_dicts.densenet((2, 1, 1, 2), 4, 8, 5),
      (64, 96),
      [-10.913685, 6.524024, -11.690989, 7.123467, 14.943226],
    ),
  ],
  ids=["resnet", "densenet"],
)
def test_logits_are_those_of_torchvision(tmp_path, net, shapes, size, logits):
  weights = read(write(tmp_path / "x.npz", shapes))
  out = outputs(Classifier(net, classes=5), weights, state_dicts.image(1, *size, 3))
  assert_close(out[0], logits)


@pytest.mark.parametrize(
  ("batch_norm", "last"),
  [
    (False, [0.0, 0.0, 0.190419, 0.913577, 1.123143, 1.945742]),
    (True, [6.69308, 5.79276, 0.0, 5.240278, 0.520818, 1.550842]),
  ],
)
def test_vggs_features_are_those_of_torchvision(tmp_path, batch_norm, last):
  layers = (4, "M", 8, 8, "M", 16, "M", 32, "M", 32, 32, "M")
  weights = read(write(tmp_path / "x.npz", state_dicts.vgg(layers, batch_norm)))
  net = VGG((1, 2, 1, 1, 2), width=4, norm="batch" if batch_norm else "none")
  out = outputs(net, weights, state_dicts.image(1, 32, 64, 3))[-1]
  assert out.shape == (1, 1, 2, 32)
  assert_close(out[0, -1, -1, :6], last)


def test_names_of_before_torchvision_0_3_are_read(tmp_path):
  numbers = state_dicts.numbers(state_dicts.densenet((1, 1), 4, 8, 5))
  new = read(_saved(tmp_path / "new.npz", numbers))
  renamed = {
    name.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): of
    for name, of in numbers.items()
  }
  old = read(_saved(tmp_path / "old.npz", renamed))
  assert old.keys() == new.keys()


def _saved(path, numbers):
  np.savez(path, **numbers)
  return path


def test_a_file_of_another_network_is_refused_with_its_tensors(tmp_path):
  shapes = {**state_dicts.norm("bn1", 4), **{f"patch_embed.{i}.weight": (2,) for i in range(12)}}
  with pytest.raises(
    ValueError,
    match=r"x\.npz: 'patch_embed\.0\.weight', .*'patch_embed\.9\.weight' and 2 more of its 17 "
    r"tensors are no part of torchvision's ResNet, VGG and DenseNet; expected",
  ):
    read(write(tmp_path / "x.npz", shapes))
