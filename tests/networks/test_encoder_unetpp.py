"""U-Net++ on an encoder: nodes and values of segmentation_models (more: test_encoder_unet.py)."""

import jax
import numpy as np
import pytest
import waves
from abstract import traced
from closeness import assert_close

from jaxseg.networks import EncoderUNetPP

TINY = dict(name="resnet18", blocks=(1, 1, 1), width=4)


def test_a_node_sees_the_one_below_and_all_nodes_to_its_left():
  params, _ = traced(EncoderUNetPP(1), 1, 64, 64, 3)
  nodes = set(params) - {"encoder", "head"}
  nodes = {name: params[name]["layer1"]["conv"]["kernel"].shape[2:] for name in nodes}
  # ResNet-34's features have 64, 64, 128, 256, 512 channels, finest first
  assert nodes == {
    "x0_1": (64 + 64, 64),
    "x1_1": (128 + 64, 64),
    "x2_1": (256 + 128, 128),
    "x3_1": (512 + 256, 256),
    "x0_2": (64 + 2 * 64, 64),
    "x1_2": (128 + 2 * 64, 64),
    "x2_2": (256 + 2 * 128, 128),
    "x0_3": (64 + 3 * 64, 64),
    "x1_3": (128 + 3 * 64, 64),
    "x0_4": (64 + 4 * 64, 32),
    "decoder1": (32, 16),
  }


def test_logits_are_those_of_segmentation_models_decoder():
  # computed in PyTorch 2.14, in double precision, from the encoder's features: the decoder of
  # segmentation_models.pytorch 0.6.0 and a 3x3 head
  net, x = EncoderUNetPP(2, encoder=TINY, widths=(7, 6, 5, 4)), waves.inputs(1, 16, 32, 2)
  logits = jax.jit(net.apply)(waves.variables(net, *x.shape), x)["logits"]
  assert_close(logits[0, 0, 0], [0.52894165, 0.42245237], atol=2e-6)
  assert_close(logits[0, -1, -1], [0.41912566, 0.28397089], atol=2e-6)
  assert_close(np.sum(logits), 422.958163)


def test_bad_options_are_told_in_words():
  with pytest.raises(ValueError, match=r"encoder_unetpp: widths=\(4, 4\) has 2 entries but 5 are"):
    EncoderUNetPP(widths=(4, 4))
  with pytest.raises(ValueError, match=r"network.encoder.name: 'unet' is unknown"):
    EncoderUNetPP(encoder="unet")
