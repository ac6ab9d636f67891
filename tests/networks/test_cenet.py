"""CE-Net: PyTorch's values, the published size, the smallest input."""

import jax
import numpy as np
import pytest
import waves
from abstract import count, traced
from closeness import assert_close

from jaxseg.networks import CENet

TINY = dict(name="resnet18", blocks=(1, 1), width=4)
VGG = dict(name="vgg16", depths=(1, 1), width=2)


def test_logits_are_those_of_the_same_network_in_pytorch():
  # computed by PyTorch 2.13, wired as Guzaiwang/CE-Net
  net, x = CENet(2, encoder=TINY, pools=(2, 3), width=3), waves.inputs(1, 24, 32, 3)
  logits = jax.jit(net.apply)(waves.variables(net, *x.shape), x)["logits"]
  assert_close(logits[0, 0, 0], [-0.070722, -0.167671], atol=2e-6)
  assert_close(logits[0, -1, -1], [0.046439, 0.235689], atol=2e-6)
  assert_close(np.sum(logits), 154.75885)


def test_the_published_network_on_its_published_size():
  params, out = traced(CENet(1), 1, 448, 448, 3)
  assert count(params) == 29_003_093
  assert count(params["context"]["dac"]) == 7_342_080
  assert count(params["context"]["rmp"]) == 513
  assert out["bottleneck"].shape == (1, 14, 14, 516)
  assert out["logits"].shape == (1, 448, 448, 1)


def test_too_small_an_input_is_told_the_smallest():
  with pytest.raises(ValueError, match=r"size \(448, 160\) .* at least \(161, 161\) voxels"):
    traced(CENet(1), 1, 448, 160, 3)
  net = CENet(1, encoder=TINY, pools=(2, 3))
  with pytest.raises(ValueError, match=r"size \(16, 17\) .* at least \(17, 17\) voxels"):
    traced(net, 1, 16, 17, 3)
  assert traced(net, 1, 17, 17, 3)[1]["logits"].shape == (1, 17, 17, 1)


@pytest.mark.parametrize(
  ("encoder", "space"),
  [
    (TINY, (17, 18, 19)),
    (dict(name="densenet121", blocks=(1, 1), growth=2), (21, 18)),
    (dict(TINY, blocks=(1, 1, 1), output_stride=8), (21, 18)),
  ],
  ids=["volume", "densenet", "dilated"],
)
def test_other_encoders_and_volumes(encoder, space):
  net = CENet(2, encoder=encoder, pools=(2, 3), width=3, shared=False)
  assert traced(net, 1, *space, 1)[1]["logits"].shape == (1, *space, 2)


@pytest.mark.parametrize("space", [(9, 6), (5, 8, 7)], ids=["image", "volume"])
def test_vgg_has_its_finest_features_at_the_images_resolution(space):
  net = CENet(2, encoder=VGG, pools=(1, 2), width=3)
  params, out = traced(net, 1, *space, 1)
  assert net.total_stride(len(space)) == (4,) * len(space)
  assert out["logits"].shape == (1, *space, 2)
  assert out["decoder"].shape == (1, *space, 3)
  rank = len(space)
  assert params["tail1"]["kernel"].shape == (*(3,) * rank, 2, 3)
  # no skip, but the width of the features at stride 1
  assert params["decoder1"]["conv3"]["kernel"].shape == (*(1,) * rank, 1, 2)


def test_the_whole_vgg16_on_the_published_size():
  net = CENet(1, encoder=dict(name="vgg16", width=4))
  params, out = traced(net, 1, 448, 448, 3)
  assert out["bottleneck"].shape == (1, 14, 14, 36)
  assert out["logits"].shape == (1, 448, 448, 1)
  assert {f"decoder{i}" for i in range(1, 6)} < set(params)


def test_every_parameter_learns_with_vgg():
  # no norm, which would silence the biases before it; an activation that never dies
  alive = dict(norm="none", activation="leaky_relu")
  net = CENet(2, encoder=dict(VGG, activation="leaky_relu"), pools=(1, 2), width=3, **alive)
  x = waves.inputs(1, 8, 8, 1)
  variables = waves.variables(net, *x.shape)
  gradient = jax.jit(jax.grad(lambda v: jax.numpy.sum(net.apply(v, x)["logits"] ** 2)))(variables)
  for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
    where = jax.tree_util.keystr(path)
    assert np.isfinite(leaf).all(), where
    assert np.abs(leaf).max() > 0, where


def test_an_unknown_encoder_is_told_before_tracing():
  with pytest.raises(ValueError, match=r"network.encoder.name: 'vgg15' is unknown"):
    CENet(encoder="vgg15")
