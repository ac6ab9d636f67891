"""The values that other implementations and the papers' formulas give for one small network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.explain import class_activation
from jaxseg.explain.gradient import gradient
from jaxseg.explain.guided import deconvolution, guided
from jaxseg.explain.integrated_gradients import integrated_gradients

# y = w2 . relu(W1 x + b) of one voxel with three channels
W1 = np.array([[1, 2, -1], [0.5, -1, 1], [-1, 1, 2], [1, -3, 0.5]], np.float32)
W2 = np.array([1, -2, 0.5, 3], np.float32)
X = np.array([1, 1, 2], np.float32).reshape(1, 1, 1, 3)
BIAS = np.array([-1, 0, -2, 1], np.float32)
TARGET = np.ones((1, 1, 1, 1), np.float32)

FEATURES = np.stack([[[1.0, 2], [0, 1]], [[0, 1], [3, 0]]], -1)[None].astype(np.float32)
WEIGHTS = np.array([0.5, -1], np.float32)
# of a global mean and one dense layer
GRADIENTS = np.broadcast_to(WEIGHTS / 4, FEATURES.shape).astype(np.float32)


def apply(params, x):
  return {"logits": (jax.nn.relu(x @ params["w1"].T + params["b"]) @ params["w2"])[..., None]}


def network(bias=0.0):
  bias = jnp.zeros(4) + bias
  return {"w1": jnp.asarray(W1), "b": bias.reshape(1, 1, 1, 4), "w2": jnp.asarray(W2)}


@pytest.mark.parametrize(
  ("method", "expected"),
  [(gradient, (-0.5, 4.5, -2)), (deconvolution, (3.5, -6.5, 1.5)), (guided, (0.5, 2.5, 0))],
)
def test_gradient_and_its_two_rules_are_those_of_the_sheet(method, expected):
  values = method(apply, network(), X, TARGET).values
  np.testing.assert_allclose(values.ravel(), expected, atol=1e-6)


@pytest.mark.parametrize("rule", ["gauss_legendre", "midpoint"])
@pytest.mark.parametrize("steps", [2, 8, 50])
def test_integrated_gradients_are_those_of_the_sheet(rule, steps):
  found = integrated_gradients(apply, network(BIAS), X, TARGET, rule=rule, steps=steps)
  np.testing.assert_allclose(found.values.ravel(), (1.75, -6.75, 0), atol=1e-5)
  assert found.values.sum() == pytest.approx(-5, abs=1e-5)
  assert found.numbers["difference"] == pytest.approx(-5, abs=1e-5)
  assert found.numbers["completeness_error"] < 1e-6


def test_class_activation_is_that_of_the_sheet():
  np.testing.assert_allclose(
    class_activation.cam(FEATURES, WEIGHTS[None])[0], [[0.5, 0], [-3, 0.5]]
  )


@pytest.mark.parametrize(
  ("rule", "expected"),
  [
    (class_activation.grad_cam, [[0.125, 0], [0, 0.125]]),
    (class_activation.grad_cam_plus_plus, [[0.2, 0.4], [0, 0.2]]),
    # with one gradient everywhere, weights voxel by voxel are those of the mean
    (class_activation.hires_cam, [[0.125, 0], [0, 0.125]]),
    # the map of the channel that speaks for the class, alone
    (class_activation.layer_cam, [[0.125, 0.25], [0, 0.125]]),
  ],
)
def test_maps_by_gradients_are_those_of_the_sheet(rule, expected):
  np.testing.assert_allclose(rule(FEATURES, GRADIENTS)[0], expected, atol=1e-6)
