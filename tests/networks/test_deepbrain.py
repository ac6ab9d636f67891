"""deepbrain: its transposed convolutions lie as TensorFlow's, and bad options."""

import jax
import numpy as np
import pytest
import waves
from abstract import traced
from closeness import assert_close

from jaxseg.networks import DeepBrain
from jaxseg.networks.blocks.transposed import TransposedConv


def test_features_have_the_sizes_of_their_stages():
  _, out = traced(DeepBrain(1), 1, 16, 24, 1)
  assert out["logits"].shape == (1, 16, 24, 1)
  assert out["bottleneck"].shape == (1, 2, 3, 32)
  assert out["decoder"].shape == (1, 16, 24, 8)


def test_its_up_sampling_is_the_gradient_of_a_strided_convolution_with_same_padding():
  up = TransposedConv(3, 3, 2, padding=0, output_padding=-1, use_bias=False)
  x = waves.inputs(1, 5, 4, 2)
  variables = waves.variables(up, *x.shape)
  kernel = np.swapaxes(variables["params"]["kernel"], -1, -2)

  def down(fine):
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(fine, kernel, (2, 2), "SAME", dimension_numbers=layout)

  (expected,) = jax.vjp(down, np.zeros((1, 10, 8, 3), np.float32))[1](x)
  assert_close(up.apply(variables, x), expected)


@pytest.mark.parametrize("widths", [(), (4, 0)])
def test_bad_options_are_told(widths):
  with pytest.raises(ValueError, match=r"deepbrain: .*widths=.*; expected at least one class"):
    DeepBrain(widths=widths)
