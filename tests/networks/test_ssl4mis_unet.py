"""The U-Net of SSL4MIS: values of the public structure, where dropout is, bad options."""

import jax
import numpy as np
import pytest
import waves
from abstract import shapes
from closeness import assert_close

from jaxseg.networks import SSL4MISUNet

SMALL = dict(classes=3, widths=(2, 3, 4), dropout=(0.0, 0.1, 0.5))


def test_logits_are_those_of_the_same_network_in_pytorch():
  # computed by PyTorch 2.13: convolution, batch norm, leaky ReLU, dropout, convolution, batch norm,
  # leaky ReLU; 1x1 convolution, nn.Upsample(2, "bilinear", align_corners=True), cat([skip, up])
  net, x = SSL4MISUNet(**SMALL), waves.inputs(1, 8, 12, 1)
  logits = jax.jit(net.apply)(waves.variables(net, *x.shape), x)["logits"]
  got = [logits[0, 0, 0], logits[0, 3, 5], logits[0, 7, 11]]
  want = [
    [0.700107, 0.384769, 0.029563],
    [0.449115, 0.289739, 0.135189],
    [0.037311, -0.108268, -0.061831],
  ]
  assert_close(got, want, atol=2e-6)
  assert_close(np.sum(logits), 71.091644, atol=2e-5)


def test_dropout_lies_between_the_convolutions_of_the_encoder_alone():
  net, x = SSL4MISUNet(classes=2, widths=(2, 40), dropout=(0.0, 0.5)), waves.inputs(1, 8, 8, 1)
  variables = waves.variables(net, *x.shape)

  @jax.jit
  def features(x):
    options = {"capture_intermediates": True, "mutable": ["intermediates"]}
    key = {"dropout": jax.random.key(0)}
    return net.apply(variables, x, rngs=key, **options)[1]["intermediates"]

  of = features(x)
  assert [stage for stage in of if "dropout" in of[stage]] == ["encoder2"]
  before, after = (
    np.asarray(of["encoder2"][part]["__call__"][0]) for part in ("layer1", "dropout")
  )
  kept = after != 0
  assert 0.4 < kept.mean() < 0.6
  assert_close(after[kept], 2 * before[kept])


def test_five_stages_have_a_stride_of_16():
  net = SSL4MISUNet()
  outputs = shapes(net, 1, 64, 48, 1)[0]
  assert outputs["bottleneck"].shape == (1, 4, 3, 256)
  assert outputs["decoder"].shape == (1, 64, 48, 16)
  assert net.total_stride(2) == (16, 16)


@pytest.mark.parametrize(
  ("options", "words"),
  [
    (dict(widths=(4,)), r"classes=4 and widths=\(4,\); expected at least one class and two stages"),
    (dict(dropout=1.0), r"dropout=1.0; expected rates from 0, below 1"),
    (dict(dropout=(0.1, 0.2)), "dropout=.* has 2 entries but 5 are needed"),
    (dict(norm="batchh"), "norm='batchh' is unknown"),
    (dict(activation="leaky"), "activation='leaky' is unknown"),
  ],
)
def test_options_that_cannot_be_are_told(options, words):
  with pytest.raises(ValueError, match=f"ssl4mis_unet: {words}"):
    SSL4MISUNet(**options)
