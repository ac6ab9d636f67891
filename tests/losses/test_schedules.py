"""Weights that change during training, as a config names them."""

import jax
import pytest
from closeness import assert_close

from jaxseg.batch import Target
from jaxseg.losses import resolve_weights, weighted_sum


def at(schedule, *steps):
  return [float(jax.jit(schedule)(step)) for step in steps]


def of(spec, steps=100):
  return resolve_weights({"dice": spec}, steps=steps)["dice"]


def test_increase_grows_by_a_hundredth_in_each_hundredth_of_training():
  increase = of({"name": "linear", "start": 0.01, "end": 1.0}, steps=990)
  assert_close(at(increase, 0, 10, 495, 990, 2000), [0.01, 0.02, 0.505, 1, 1])


def test_rebalance_gives_one_loss_what_it_takes_from_the_other():
  weights = resolve_weights(
    {
      "dice": {"name": "complement", "of": "boundary"},
      "boundary": {"name": "linear", "start": 0.01, "end": 0.99},
      "cross_entropy": 0.5,
    },
    steps=98,
  )
  assert weights["cross_entropy"] == 0.5
  assert_close(at(weights["boundary"], 0, 49, 98), [0.01, 0.5, 0.99])
  assert_close(at(weights["dice"], 0, 49, 98), [0.99, 0.5, 0.01], atol=1e-6)
  one, ten = (lambda logits, target, x=x: x for x in (1.0, 10.0))
  total = weighted_sum({"dice": (weights["dice"], one), "boundary": (weights["boundary"], ten)})
  assert_close(total(None, Target(None, step=49)), 0.5 + 5)
  constant = resolve_weights({"a": {"name": "complement", "of": "b"}, "b": 0.3}, steps=9)["a"]
  assert constant(4) == 0.7


def test_schedules_have_the_values_of_their_formulas():
  assert_close(at(of({"name": "constant", "value": 3.0}), 0, 99), [3, 3])
  late = of({"name": "linear", "start": 1.0, "end": 0.0, "begin": 0.5, "until": 0.75})
  assert_close(at(late, 0, 50, 60, 75, 100), [1, 1, 0.6, 0, 0], atol=1e-6)
  slow = of({"name": "cosine", "start": 1.0, "end": 3.0})
  assert_close(at(slow, 0, 25, 50, 100), [1, 2 - 0.5**0.5, 2, 3])
  steps = of({"name": "piecewise", "at": (0.2, 0.6), "values": (0.0, 1.0, 0.5)})
  assert_close(at(steps, 0, 19, 20, 59, 60, 100), [0, 0, 1, 1, 0.5, 0.5])


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    ("high", r"config.loss.dice.weight: 'high' is no weight"),
    (True, r"True is no weight"),
    ({"name": "linaer"}, r"config.loss.dice.weight.name: 'linaer'.*'linear'.*complement"),
    ({"name": "linear", "stop": 1}, r"config.loss.dice.weight.stop: 'linear' has no such option"),
    (
      {"name": "linear", "begin": 0.5, "until": 0.5},
      r"weight: schedule: begin 0.5 .*0 <= begin < until",
    ),
    (
      {"name": "piecewise", "values": (1,)},
      r"weight: piecewise: 1 values for the moments \(0.5,\)",
    ),
    ({"name": "complement", "of": "boundary"}, r"weight.of: 'boundary' is no loss.*choices: none"),
    ({"name": "complement", "off": 1}, r"config.loss.dice.weight.off: 'complement' has no such"),
  ],
)
def test_a_wrong_weight_is_told_in_words(spec, message):
  with pytest.raises(ValueError, match=message):
    of(spec)
