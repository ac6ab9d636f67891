"""Activations against their formulas."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from closeness import assert_close

from jaxseg.networks.blocks import ACTIVATIONS, Activation

X = np.array([-3.0, -0.5, 0.0, 0.5, 3.0, 7.0], np.float32)
FORMULAS = {
  "relu": lambda x: max(x, 0.0),
  "relu6": lambda x: min(max(x, 0.0), 6.0),
  "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
  "prelu": lambda x: x if x > 0 else 0.25 * x,
  "prelu_shared": lambda x: x if x > 0 else 0.25 * x,
  "elu": lambda x: x if x > 0 else math.expm1(x),
  "gelu": lambda x: x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
  "silu": lambda x: x / (1 + math.exp(-x)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_follow_their_formulas(name):
  out, _ = Activation(name).init_with_output(jax.random.key(0), X)
  assert_close(out, [FORMULAS[name](x) for x in X], atol=1e-6)


def test_prelu_has_one_slope_per_channel():
  slope = jnp.array([0.0, 1.0, 2.0])
  out = Activation("prelu").apply({"params": {"slope": slope}}, -jnp.ones((2, 4, 3)))
  np.testing.assert_array_equal(out[0, 0], [0, -1, -2])


def test_the_shared_prelu_has_one_slope_for_all_channels():
  out = Activation("prelu_shared").apply({"params": {"slope": jnp.array([2.0])}}, -jnp.ones((2, 3)))
  np.testing.assert_array_equal(out, np.full((2, 3), -2))


def test_unknown_activation_lists_the_choices():
  with pytest.raises(ValueError, match="'rleu' is unknown; choices: relu, relu6, leaky_relu"):
    Activation("rleu").init(jax.random.key(0), X)
