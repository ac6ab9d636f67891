"""Tri-planar: three orthogonal 2D networks, fused."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from abstract import shapes
from closeness import assert_close
from flax import linen as nn

from jaxseg import networks
from jaxseg.networks import Triplanar
from jaxseg.networks.blocks.votes import vote

SMALL = {"name": "unet", "widths": (3, 4), "depth": 1, "norm": "none"}


def count(variables):
  return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


class Cropped(nn.Module):
  """Gives its input back, but for one row and two columns per side."""

  classes: int = 2

  def total_stride(self, rank):
    return (4, 6)

  def margin(self, rank):
    return (1, 2)

  def __call__(self, x, *, train=False):
    return {"logits": x[:, 1:-1, 2:-2]}


@pytest.fixture
def cropped(monkeypatch):
  monkeypatch.setitem(networks.NETWORKS, "cropped", Cropped)


def test_three_networks_one_shared_and_the_learned_fusion_by_count():
  # convolutions 3x3: 1 to 3, 3 to 4, up 4 to 3, joined 6 to 3, 3 to 3; head 3 to 3
  inner = 9 * (1 * 3 + 3 * 4 + 4 * 3 + 6 * 3 + 3 * 3) + 3 * 3
  shape = (1, 4, 4, 4, 1)
  assert count(shapes(Triplanar(inner=SMALL), *shape, train=True)[1]) == 3 * inner
  assert count(shapes(Triplanar(inner=SMALL, shared=True), *shape, train=True)[1]) == inner
  # a 1x1x1 convolution of three times three logits to three, with bias
  learned = Triplanar(inner=SMALL, fusion="learned")
  assert count(shapes(learned, *shape, train=True)[1]) == 3 * inner + 9 * 3 + 3


@pytest.mark.parametrize("fusion", ["mean", "learned"])
def test_planes_meet_on_the_same_voxels(cropped, fusion):
  volume = np.random.default_rng(0).normal(size=(2, 7, 9, 8, 2)).astype(np.float32)
  net = Triplanar(classes=2, inner="cropped", fusion=fusion)
  # z is a row of two planes, x a column; y is both
  assert net.margin(3) == (1, 2, 2)
  assert net.total_stride(3) == (4, 12, 6)
  outputs = jax.jit(lambda x: net.init_with_output(jax.random.key(0), x)[0])(volume)
  centre = volume[:, 1:-1, 2:-2, 2:-2]
  for name in ("plane_z", "plane_y", "plane_x"):
    np.testing.assert_array_equal(outputs[name], centre)
  # the learned fusion starts as the mean
  assert_close(outputs["logits"], centre, atol=1e-6)


def test_planes_are_identical_up_to_their_axis():
  """One network for all planes, itself blind to the order of its axes: no axis is special."""
  net = Triplanar(inner=SMALL, shared=True)
  rng = np.random.default_rng(1)

  def symmetric(leaf):
    values = rng.normal(size=leaf.shape).astype(np.float32)
    return values + values.swapaxes(0, 1) if values.ndim == 4 else values

  params = jax.tree.map(symmetric, shapes(net, 1, 6, 6, 6, 1, train=True)[1]["params"])
  apply = jax.jit(lambda x: net.apply({"params": params}, x))
  volume = rng.normal(size=(1, 6, 6, 6, 1)).astype(np.float32)
  straight = apply(volume)
  for order in itertools.permutations((1, 2, 3)):
    turned = apply(volume.transpose(0, *order, 4))
    np.testing.assert_allclose(
      turned["logits"],
      np.asarray(straight["logits"]).transpose(0, *order, 4),
      rtol=1e-4,
      atol=1e-4,
    )
  turned = apply(volume.transpose(0, 2, 1, 3, 4))  # z and y exchanged
  np.testing.assert_allclose(
    turned["plane_y"], np.asarray(straight["plane_z"]).swapaxes(1, 2), rtol=1e-4, atol=1e-4
  )
  mean = sum(straight[name] for name in ("plane_z", "plane_y", "plane_x")) / 3
  assert_close(straight["logits"], mean, atol=1e-5)


def test_two_votes_outdo_one_loud_one():
  planes = [jnp.array(p) for p in ([0.1, 0.0], [0.1, 0.0], [0.0, 50.0])]
  votes = jax.jit(vote)(planes)
  mild = 1 / (1 + np.exp(-0.1))
  assert_close(votes, [2 + 2 * mild / 3, 1 + (2 * (1 - mild) + 1) / 3])


def test_a_tie_of_votes_goes_to_the_mean_probability():
  planes = [jnp.array(p) for p in ([2.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0])]
  votes = jax.jit(vote)(planes)
  assert np.argmax(votes) == 0
  np.testing.assert_array_equal(np.floor(votes), [1, 1, 1])


def test_votes_are_trained_through_the_mean():
  planes = jnp.array([[2.0, 0], [0, 1.0], [0, 3.0]])
  weights = np.array([1.0, -2.0], np.float32)
  gradient = jax.jit(jax.grad(lambda p: jnp.sum(vote(list(p)) * weights)))(planes)
  assert_close(gradient, np.tile([1 / 3, -2 / 3], (3, 1)))


def test_odd_sizes_and_no_auxiliary_heads():
  inner = {"name": "unet", "widths": (4, 4, 4), "depth": 1, "deep_supervision": 1}
  outputs, variables = shapes(Triplanar(inner=inner, fusion="vote"), 2, 5, 10, 7, 2, train=True)
  assert outputs["logits"].shape == outputs["plane_x"].shape == (2, 5, 10, 7, 3)
  assert "aux" not in outputs
  assert not any(name.startswith("aux") for name in variables["params"]["plane_z"])


def test_bad_options_and_images_are_refused_in_words():
  with pytest.raises(ValueError, match="fusion='max' is unknown; choices: mean, learned"):
    Triplanar(fusion="max")
  with pytest.raises(ValueError, match="'nope' is unknown"):
    Triplanar(inner="nope")
  with pytest.raises(ValueError, match="triplanar: an input with 2 spatial axes; expected volumes"):
    shapes(Triplanar(), 1, 16, 16, 1, train=True)


@pytest.mark.parametrize("name", ["lw_hcn", "dense_unet3d", "bdclstm", "pseudo3d", "h_denseunet"])
def test_an_inner_network_for_volumes_is_named(name):
  words = rf"network\.inner: triplanar gives slices .* \({name}: .*volumes .*\); choose another"
  with pytest.raises(ValueError, match=words):
    Triplanar(inner=dict(name=name))
