"""Pseudo-3D: neighbouring slices as channels, volumes in and out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from abstract import shapes
from flax import linen as nn

from jaxseg import networks
from jaxseg.networks import Pseudo3D

SMALL = {"name": "unet", "widths": (4, 4, 4), "depth": 1}


class Echo(nn.Module):
  """A network that gives its input back."""

  classes: int = 3

  def total_stride(self, rank):
    return (1,) * rank

  def __call__(self, x, *, train=False):
    return {"logits": x}


@pytest.fixture
def echo(monkeypatch):
  monkeypatch.setitem(networks.NETWORKS, "echo", Echo)


def test_five_slices_add_four_channels_to_the_surveys_baseline():
  _, variables = shapes(Pseudo3D(), 1, 3, 16, 16, 1, train=True)
  assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 22_722_944


@pytest.mark.parametrize(
  ("edges", "seen"),
  [
    ("replicate", [[0, 0, 0, 1, 2], [0, 0, 1, 2, 3], [0, 1, 2, 3, 3], [1, 2, 3, 3, 3]]),
    ("reflect", [[2, 1, 0, 1, 2], [1, 0, 1, 2, 3], [0, 1, 2, 3, 2], [1, 2, 3, 2, 1]]),
  ],
)
def test_each_slice_sees_its_neighbours_as_channels(echo, edges, seen):
  volume = np.random.default_rng(0).normal(size=(2, 4, 3, 2, 2)).astype(np.float32)
  outputs = Pseudo3D(inner="echo", edges=edges).apply({}, volume)
  for z, neighbours in enumerate(seen):
    expected = np.concatenate([volume[:, n] for n in neighbours], -1)
    np.testing.assert_array_equal(outputs["logits"][:, z], expected)


def test_a_single_slice_is_its_own_neighbour(echo):
  volume = np.ones((1, 1, 2, 2, 1), np.float32)
  for edges in ("replicate", "reflect"):
    outputs = Pseudo3D(inner="echo", edges=edges).apply({}, volume)
    np.testing.assert_array_equal(outputs["logits"], np.ones((1, 1, 2, 2, 5)))


def test_every_output_of_the_inner_network_becomes_a_volume():
  net = Pseudo3D(slices=3, inner={**SMALL, "deep_supervision": 1})
  outputs, _ = shapes(net, 2, 5, 13, 10, 2, train=True)
  assert outputs["logits"].shape == (2, 5, 13, 10, 3)
  assert [a.shape for a in outputs["aux"]] == [(2, 5, 7, 5, 3)]
  assert outputs["bottleneck"].shape == (2, 5, 4, 3, 4)


def test_stride_and_margin_are_the_inner_networks_in_the_plane():
  assert Pseudo3D().total_stride(3) == (1, 16, 16)
  valid = Pseudo3D(inner={"name": "unet2015", "widths": (2, 2)})
  assert valid.margin(3) == (0, 8, 8)
  assert shapes(valid, 1, 3, 18, 20, 1, train=True)[0]["logits"].shape == (1, 3, 2, 4, 3)


def test_classes_and_dtype_reach_the_inner_network():
  net = Pseudo3D(classes=2, inner=SMALL, dtype="bfloat16")
  outputs, _ = shapes(net, 1, 3, 8, 8, 1, train=True)
  assert outputs["logits"].shape[-1] == 2
  assert outputs["bottleneck"].dtype == jnp.bfloat16


@pytest.mark.parametrize(
  ("options", "words"),
  [
    ({"slices": 4}, "slices=4; expected an odd number"),
    ({"edges": "wrap"}, "edges='wrap' is unknown; choices: replicate, reflect"),
    ({"inner": "unett"}, "network.inner.name: 'unett' is unknown.*did you mean 'unet'"),
    ({"inner": {"name": "unet", "width": 3}}, "'unet' has no such option.*widths"),
  ],
)
def test_bad_options_are_refused_in_words(options, words):
  with pytest.raises(ValueError, match=words):
    Pseudo3D(**options)


def test_images_and_inner_networks_for_volumes_are_refused_in_words():
  with pytest.raises(ValueError, match="pseudo3d: an input with 2 spatial axes; expected volumes"):
    shapes(Pseudo3D(), 1, 16, 16, 1, train=True)
  words = r"network\.inner: pseudo3d gives slices .* \(lw_hcn: .* expected volumes .*\); choose"
  with pytest.raises(ValueError, match=words):
    Pseudo3D(inner="lw_hcn")
