"""PSPNet: PyTorch's values, the auxiliary head, the smallest input."""

import functools
import types

import jax
import numpy as np
import pytest
import waves
from abstract import traced
from closeness import assert_close

from jaxseg.networks import PSPNet

TINY = dict(name="resnet18", blocks=(1, 1, 1), width=4)


def test_logits_and_aux_are_those_of_the_same_network_in_pytorch():
  # computed by PyTorch 2.13; 17 x 25 voxels are 1 mod 8 already
  net, x = PSPNet(2, encoder=TINY, bins=(1, 2, 3), width=6), waves.inputs(1, 17, 25, 2)
  training = types.SimpleNamespace(init=functools.partial(net.init, train=True))
  variables = waves.variables(training, *x.shape)
  out = jax.jit(functools.partial(net.apply, train=True))(variables, x)
  assert_close(out["logits"][0, 0, 0], [0.636239, 0.351888], atol=2e-6)
  assert_close(out["logits"][0, -1, -1], [0.570315, 0.179612], atol=2e-6)
  assert_close(np.sum(out["logits"]), 328.6225)
  (aux,) = out["aux"]
  assert_close(aux[0, 0, 0], [0.128663, 0.396168], atol=2e-6)
  assert_close(aux[0, -1, -1], [0.10747, 0.284612], atol=2e-6)
  assert_close(np.sum(aux), 183.05867)


def test_the_papers_network_has_473_voxels_and_60_features():
  params, out = traced(PSPNet(150), 1, 473, 473, 3, train=True)
  assert out["bottleneck"].shape == (1, 60, 60, 2048)
  assert out["decoder"].shape == (1, 60, 60, 512)
  assert out["logits"].shape == out["aux"][0].shape == (1, 473, 473, 150)
  branches = [params["ppm"][f"bin{b}"]["conv"]["kernel"].shape for b in (1, 2, 3, 6)]
  assert branches == [(1, 1, 2048, 512)] * 4
  assert params["ppm"]["join"]["conv"]["kernel"].shape == (3, 3, 4096, 512)
  assert params["aux_layer"]["conv"]["kernel"].shape == (3, 3, 1024, 256)


def test_aux_is_given_in_training_only_and_only_if_wanted():
  net = PSPNet(2, encoder=TINY, width=4)
  assert "aux" not in traced(net, 1, 40, 40, 1)[1]
  net = PSPNet(2, encoder=TINY, width=4, aux=False)
  assert "aux" not in traced(net, 1, 40, 40, 1, train=True)[1]


def test_volumes_and_other_encoders():
  net = PSPNet(2, encoder=TINY, width=4, bins=(1, 2))
  assert traced(net, 1, 13, 10, 17, 1)[1]["logits"].shape == (1, 13, 10, 17, 2)
  vgg = dict(name="vgg16", depths=(1, 1), width=4)
  net = PSPNet(2, encoder=vgg, width=4, bins=(1, 2))
  assert traced(net, 1, 13, 10, 1)[1]["logits"].shape == (1, 13, 10, 2)
  assert net.total_stride(2) == (4, 4)
  net = PSPNet(2, encoder=dict(vgg, depths=(1, 1, 1, 1, 1)), width=4, bins=(1, 2))
  _, out = traced(net, 1, 33, 50, 1, train=True)
  assert net.total_stride(2) == (8, 8)
  assert out["bottleneck"].shape[1:-1] == (5, 7)
  assert out["logits"].shape == out["aux"][0].shape == (1, 33, 50, 2)


def test_too_small_an_input_is_told_the_smallest():
  net = PSPNet(2, encoder=TINY, width=4)
  with pytest.raises(ValueError, match=r"size \(64, 33\) .* at least 34 voxels per axis"):
    traced(net, 1, 64, 33, 1)
  assert traced(net, 1, 34, 34, 1)[1]["bottleneck"].shape == (1, 6, 6, 16)


def test_bad_options_are_told_in_words():
  with pytest.raises(ValueError, match="level=5; the encoder's 5 features are numbered 0"):
    PSPNet(level=5)
  with pytest.raises(ValueError, match=r"level=0; .* the auxiliary head needs one before it"):
    PSPNet(level=0)
  with pytest.raises(ValueError, match="vgg: output_stride=4; expected 8, 16 or 32"):
    PSPNet(encoder="vgg16", output_stride=4)
  with pytest.raises(ValueError, match="pspnet: an input with 4 spatial axes"):
    traced(PSPNet(encoder=TINY), 1, 40, 40, 40, 40, 1)
