"""HyperDenseNet: its count and its order of features by themselves, and missing modalities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from abstract import shapes, traced
from closeness import assert_close
from gradients import drawn

from jaxseg.networks import HyperDenseNet

RNG = np.random.default_rng(4)


def counted(widths, head, modalities, classes, rank):
  """Parameters from the paper's description alone.

  A layer sees all that the layers before it gave in all paths; a path's last features are those of
  all its layers' inputs and outputs, and all paths' together go through the 1x1 convolutions.
  """
  total, seen = 0, 0
  for i, width in enumerate(widths):
    inputs = seen * modalities if i else 1
    kernel_and_bias = inputs * 3**rank * width + width
    norm = 2 * inputs if i else 0
    slope = 1
    total += modalities * (kernel_and_bias + norm + slope)
    seen += width
  inputs = seen * modalities**2
  for width in (*head, classes):
    total += inputs * width + width
    inputs = width
  return total


@pytest.mark.parametrize("modalities", [1, 2, 4])
@pytest.mark.parametrize("rank", [2, 3])
def test_the_count_is_that_of_the_description(modalities, rank):
  widths, head = (25, 25, 25, 50, 50, 50, 75, 75, 75), (400, 200, 150)
  params, _ = traced(HyperDenseNet(classes=4), 1, *(8,) * rank, modalities)
  number = sum(leaf.size for leaf in jax.tree.leaves(params))
  assert number == counted(widths, head, modalities, 4, rank)


def test_valid_convolutions_lose_a_voxel_per_side_and_layer():
  net = HyperDenseNet(padding="valid")
  assert net.margin(3) == (9, 9, 9)
  _, outputs = traced(net, 1, 27, 27, 27, 2)
  assert outputs["logits"].shape == (1, 9, 9, 9, 3)
  with pytest.raises(ValueError, match=r"input of size \(18, 30\) is too small; valid"):
    traced(net, 1, 18, 30, 2)


def convolved(x, layer):
  """3x3 convolution of (y, x, c) with zeros around, by its definition."""
  kernel, bias = (np.asarray(layer["conv"][name], np.float64) for name in ("kernel", "bias"))
  padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
  out = np.zeros((*x.shape[:2], kernel.shape[-1]))
  for i in range(x.shape[0]):
    for j in range(x.shape[1]):
      out[i, j] = np.tensordot(padded[i : i + 3, j : j + 3], kernel, 3) + bias
  return out


def test_a_path_sees_its_own_features_first_then_the_others_in_their_order():
  net = HyperDenseNet(classes=2, widths=(2, 3), head=(4,), norm="none", activation="relu")
  image = RNG.normal(size=(1, 5, 4, 3)).astype(np.float32)
  params = drawn(shapes(net, *image.shape)[1]["params"])

  def layer(x, path, i):
    return convolved(np.maximum(x, 0), params[f"path{path + 1}_layer{i}"])

  first = [layer(image[0, ..., m : m + 1].astype(np.float64), m, 1) for m in range(3)]
  orders = [(0, 1, 2), (1, 0, 2), (2, 0, 1)]
  inputs = [np.concatenate([first[m] for m in order], -1) for order in orders]
  second = [layer(inputs[m], m, 2) for m in range(3)]
  ends = [
    np.concatenate([inputs[m], *(second[k] for k in order)], -1) for m, order in enumerate(orders)
  ]
  x = np.concatenate(ends, -1)
  for name in ("head1", "head"):
    of = params[name]
    x = x @ np.asarray(of["kernel"], np.float64)[0, 0] + np.asarray(of["bias"])
  logits = jax.jit(net.apply)({"params": params}, image)["logits"]
  assert_close(logits[0], x, atol=1e-4)


def test_neither_content_nor_weights_of_a_missing_modality_have_any_influence():
  net = HyperDenseNet(classes=2, widths=(2, 3, 2), head=(4,))
  image = RNG.normal(size=(2, 6, 5, 3)).astype(np.float32)
  image[0, ..., 1] = 0
  variables = {name: drawn(tree) for name, tree in shapes(net, *image.shape)[1].items()}
  changed = {
    name: jax.tree.map(lambda x: x + 1, of) if name.startswith("path2") else of
    for name, of in variables["params"].items()
  }
  apply = jax.jit(lambda variables: net.apply(variables, image)["logits"])
  before, after = apply(variables), apply({**variables, "params": changed})
  np.testing.assert_array_equal(before[0], after[0])
  assert not np.allclose(before[1], after[1])


def test_bad_options_are_told():
  with pytest.raises(ValueError, match=r"hyper_densenet: classes=3, widths=\(\)"):
    HyperDenseNet(widths=())
  with pytest.raises(ValueError, match="hyper_densenet: padding='zero' is unknown"):
    HyperDenseNet(padding="zero")
  with pytest.raises(ValueError, match="hyper_densenet: norm='group' is unknown"):
    HyperDenseNet(norm="group")
  assert jnp.float32 == traced(HyperDenseNet(dtype="bfloat16"), 1, 8, 8, 2)[1]["logits"].dtype
