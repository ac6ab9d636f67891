"""Atrous pyramids: published counts, values worked by hand, what a batch of one gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import waves
from abstract import count, traced
from closeness import assert_close

from jaxseg.networks import UNet
from jaxseg.networks.blocks.aspp import ASPP
from jaxseg.networks.blocks.gce import GCE


def test_published_counts():
  assert count(traced(ASPP(), 1, 8, 8, 2048)[0]) == 15_535_104
  assert count(traced(ASPP(), 1, 8, 8, 512)[0]) == 4_131_840
  # a branch less: its convolution and norm, and its part of the join
  branch = 512 * 256 + 2 * 256 + 256 * 256
  assert count(traced(ASPP(image_pooling=False), 1, 8, 8, 512)[0]) == 4_131_840 - branch
  separable = 3 * (9 * 512 + 512 * 256 - 9 * 512 * 256)
  assert count(traced(ASPP(conv="separable"), 1, 8, 8, 512)[0]) == 4_131_840 + separable
  # segmentation_models.pytorch 0.6.0: DeepLabV3("resnet34") with and without separable branches
  assert separable == 22_875_201 - 26_007_105
  assert count(traced(GCE(), 1, 8, 8, 512)[0]) == 4_263_552


def ones(block, *shape):
  return {"params": jax.tree.map(lambda leaf: jnp.ones(leaf.shape), traced(block, *shape)[0])}


def test_branches_add_up_to_the_value_worked_by_hand():
  block, x = ASPP(1, rates=(2,), norm="none"), jnp.arange(1.0, 5.0).reshape(1, 4, 1)
  # all weights and biases 1: x + 1; neighbours two apart; the mean; their sum and 1
  point, rate, mean = np.array([2, 3, 4, 5]), np.array([5, 7, 5, 7]), 3.5
  got = block.apply(ones(block, *x.shape), x)
  assert_close(got.ravel(), point + rate + mean + 1)


def test_a_rate_as_large_as_the_image_leaves_the_kernels_centre():
  block, x = ASPP(2, rates=(5,), norm="none"), waves.inputs(1, 5, 3)
  variables = waves.variables(block, *x.shape)
  kernel = variables["params"]["rate1"]["conv"]["kernel"]
  kernel[[0, 2]] *= 100
  again = waves.variables(block, *x.shape)
  assert_close(block.apply(variables, x), block.apply(again, x))


@pytest.mark.parametrize("norm", ["batch", "instance", "group"])
def test_a_batch_of_one_trains_with_finite_gradients(norm):
  block, x = ASPP(4, rates=(1, 2), norm=norm, norm_groups=2), waves.inputs(1, 6, 3)
  variables = waves.variables(block, *x.shape)

  @jax.jit
  def gradient(variables):
    def loss(params):
      out, _ = block.apply({**variables, "params": params}, x, mutable=["batch_stats"])
      return jnp.sum(out**2)

    return jax.grad(loss)(variables["params"])

  for path, leaf in jax.tree_util.tree_leaves_with_path(gradient(variables)):
    assert np.all(np.isfinite(leaf)), path
  if norm == "instance":  # a single voxel has no statistics of its own
    assert "norm" not in variables["params"]["image"]


def test_gce_starts_as_aspp_alone():
  options, x = dict(features=4, rates=(1, 2)), waves.inputs(1, 6, 3)
  variables = waves.variables(GCE(**options), *x.shape)
  variables["params"]["nonlocal"]["out"] = jax.tree.map(
    np.zeros_like, variables["params"]["nonlocal"]["out"]
  )
  aspp = {name: tree["aspp"] for name, tree in variables.items()}
  with_nonlocal = jax.jit(GCE(**options).apply)(variables, x)
  alone = jax.jit(ASPP(**options).apply)(aspp, x)
  np.testing.assert_array_equal(with_nonlocal, alone)
  # that is how it is initialised
  fresh = jax.jit(GCE(**options).init)(jax.random.key(0), x)["params"]["nonlocal"]["out"]
  assert not np.any(fresh["kernel"])
  assert not np.any(fresh["bias"])


@pytest.mark.parametrize("name", ["aspp", "gce"])
def test_unet_takes_it_by_name(name):
  net = UNet(widths=(4, 6), depth=1, bottleneck=dict(name=name, rates=(1, 2)))
  for space in ((7, 6), (7, 6, 5)):
    _, out = traced(net, 1, *space, 1)
    assert out["bottleneck"].shape == (1, *(-(-n // 2) for n in space), 6)
