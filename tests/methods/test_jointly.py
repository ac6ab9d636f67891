"""Several learners that one loss moves: each by its own optimiser, one gradient for all."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxseg.method import Learner
from jaxseg.methods.jointly import descend_jointly
from jaxseg.optimisers import optimiser


def learner(value: float, tx) -> Learner:
  params = {"value": jnp.float32(value)}
  return Learner(params, {}, tx.init(params))


def product(params):
  a, b = params["b"]["value"], params["a"]["value"]
  return a * b, ({"a": {"seen": b}, "b": {"seen": a}}, {"twice": 2 * a})


def test_each_learner_moves_by_its_own_rate_against_the_loss_of_all():
  rates = {"b": optax.sgd(0.1), "a": optax.sgd(0.01)}
  learners = {"b": learner(2.0, rates["b"]), "a": learner(3.0, rates["a"])}
  after, metrics = descend_jointly(rates, learners, product)
  assert list(after) == ["b", "a"]
  np.testing.assert_allclose(after["b"].params["value"], 2 - 0.1 * 3, rtol=1e-6)
  np.testing.assert_allclose(after["a"].params["value"], 3 - 0.01 * 2, rtol=1e-6)
  assert (float(after["a"].stats["seen"]), float(after["b"].stats["seen"])) == (3, 2)
  assert float(metrics["loss"]) == 6
  assert float(metrics["twice"]) == 4
  assert float(metrics["gradient_norm"]) == pytest.approx(13**0.5)


def test_the_rate_told_is_the_first_learners():
  rates = {
    name: optimiser(name="sgd", learning_rate=rate, steps=10)
    for name, rate in (("b", 0.5), ("a", 0.25))
  }
  learners = {"b": learner(2.0, rates["b"]), "a": learner(3.0, rates["a"])}
  _, metrics = descend_jointly(rates, learners, product)
  assert float(metrics["learning_rate"]) == 0.5
