"""DeepLabv3: PyTorch's values, output strides and their rates."""

import jax
import numpy as np
import pytest
import waves
from abstract import traced
from closeness import assert_close

from jaxseg.networks import DeepLabV3

TINY = dict(name="resnet18", blocks=(1, 1, 1), width=4)


def test_logits_are_those_of_the_same_network_in_pytorch():
  # computed by PyTorch 2.13; 17 x 25 voxels are 1 mod 8 already
  net = DeepLabV3(2, encoder=TINY, output_stride=8, rates=(1, 2), width=6)
  x = waves.inputs(1, 17, 25, 2)
  logits = jax.jit(net.apply)(waves.variables(net, *x.shape), x)["logits"]
  assert_close(logits[0, 0, 0], [0.272412, 0.460171], atol=2e-6)
  assert_close(logits[0, -1, -1], [0.275494, 0.465129], atol=2e-6)
  assert_close(np.sum(logits), 312.70276)


@pytest.mark.parametrize(("stride", "features"), [(8, 65), (16, 33), (32, 17)])
def test_the_papers_513_voxels_at_each_output_stride(stride, features):
  net = DeepLabV3(21, encoder=dict(name="resnet50", blocks=(1, 1, 1, 1)), output_stride=stride)
  _, out = traced(net, 1, 513, 513, 3)
  assert net.total_stride(2) == (stride, stride)
  assert out["bottleneck"].shape == (1, features, features, 2048)
  assert out["logits"].shape == (1, 513, 513, 21)


@pytest.mark.parametrize(
  "encoder",
  [
    dict(name="densenet121", blocks=(1, 1, 1, 1), growth=2, width=4),
    dict(name="vgg16", depths=(1, 1, 1, 1, 1), width=2),
  ],
  ids=["densenet", "vgg"],
)
@pytest.mark.parametrize("stride", [8, 16])
def test_every_encoder_has_output_strides(encoder, stride):
  net = DeepLabV3(2, encoder=encoder, output_stride=stride, width=4)
  _, out = traced(net, 1, 64, 49, 3)
  assert net.total_stride(2) == (stride, stride)
  assert out["bottleneck"].shape[1:-1] == (64 // stride, -(-49 // stride))
  assert out["logits"].shape == (1, 64, 49, 2)


def test_the_rates_follow_the_output_stride():
  x = waves.inputs(1, 33, 1)
  default = DeepLabV3(2, encoder=TINY, width=4, output_stride=8)
  given = DeepLabV3(2, encoder=TINY, width=4, output_stride=8, rates=(12, 24, 36))
  variables = waves.variables(default, *x.shape)
  first, second = (jax.jit(net.apply)(variables, x)["logits"] for net in (default, given))
  np.testing.assert_array_equal(first, second)


def test_volumes():
  net = DeepLabV3(2, encoder=TINY, width=4, rates=(1, 2))
  assert traced(net, 1, 13, 10, 17, 1)[1]["logits"].shape == (1, 13, 10, 17, 2)


def test_bad_options_are_told_in_words():
  with pytest.raises(ValueError, match="output_stride=4; expected 8, 16 or 32"):
    DeepLabV3(output_stride=4)
  with pytest.raises(ValueError, match="densenet: output_stride=16 with transition_stride=3"):
    DeepLabV3(encoder=dict(name="densenet121", transition_stride=3))
