"""Values that change during training, and learning rates relative to their peak."""

import inspect
import math

import jax
import numpy as np
import optax
import pytest
from closeness import assert_close

from jaxseg import schedules
from jaxseg.batch import Target
from jaxseg.build import options_of
from jaxseg.losses import resolve_weights, weighted_sum


def at(schedule, *steps):
  return [float(jax.jit(schedule)(step)) for step in steps]


def of(spec, steps=100):
  return schedules.resolve(spec, steps=steps, where="loss.dice.weight")


def rate(steps=100, peak=0.1, **spec):
  return schedules.rate(spec, peak, steps=steps, where="optimiser.schedule")


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
  labels = np.zeros((1, 2), int)
  assert_close(total(np.zeros((1, 2, 2)), Target(labels, step=49)), 0.5 + 5)
  constant = resolve_weights({"a": {"name": "complement", "of": "b"}, "b": 0.3}, steps=9)["a"]
  assert constant(4) == 0.7


def test_the_gaussian_ramp_has_the_published_values():
  """SSL4MIS's ramp of the consistency, and UA-MT's of the threshold in units of ln 2."""
  ramp = of({"name": "gaussian", "end": 0.1})
  expected = [6.737947e-4, 0.006005467, 0.02865048, 0.07316156, 0.1, 0.1]
  assert_close(at(ramp, 0, 25, 50, 75, 100, 150), expected)
  threshold = of({"name": "gaussian", "start": 0.75, "end": 1.0})
  assert_close(np.log(2) * np.array(at(threshold, 0, 50, 100)), [0.521028, 0.569508, 0.693147])
  silent = of({"name": "gaussian", "end": 0.1, "zero_before": 0.25})
  assert_close(at(silent, 0, 24, 25, 100), [0, 0, *expected[1:2], 0.1])
  late = of({"name": "gaussian", "begin": 0.5, "sharpness": 2.0})
  assert_close(at(late, 0, 50, 75, 100), np.exp([-2.0, -2.0, -0.5, 0.0]))


def test_schedules_have_the_values_of_their_formulas():
  assert of(0.25) == 0.25
  assert_close(at(of({"name": "constant", "value": 3.0}), 0, 99), [3, 3])
  late = of({"name": "linear", "start": 1.0, "end": 0.0, "begin": 0.5, "until": 0.75})
  assert_close(at(late, 0, 50, 60, 75, 100), [1, 1, 0.6, 0, 0], atol=1e-6)
  slow = of({"name": "cosine", "start": 1.0, "end": 3.0})
  assert_close(at(slow, 0, 25, 50, 100), [1, 2 - 0.5**0.5, 2, 3])
  rising = of({"name": "cosine", "begin": 0.2, "until": 0.6})
  assert_close(at(rising, 20, 40, 60), [0, 0.5, 1], atol=1e-6)
  falling = of({"name": "cosine", "start": 2.0, "end": 0.0, "begin": 0.2, "until": 0.6})
  assert_close(at(falling, 10, 20, 30, 40, 60), [2, 2, 1 + 0.5**0.5, 1, 0], atol=1e-6)
  root = of({"name": "polynomial", "power": 2.0, "end": 4.0})
  assert_close(at(root, 0, 50, 100), [0, 4 - 4 * 0.25, 4], atol=1e-6)
  steps = of({"name": "piecewise", "at": (0.2, 0.6), "values": (0.0, 1.0, 0.5)})
  assert_close(at(steps, 0, 19, 20, 59, 60, 100), [0, 0, 1, 1, 0.5, 0.5])
  assert_close(at(of({"name": "piecewise", "factor": 0.3}), 49, 50), [1, 0.3])
  warm = of({"name": "warmup_polynomial", "warmup": 0.1, "power": 1.0})
  assert_close(at(warm, 0, 5, 10, 55, 100), [0, 0.5, 1, 0.5, 0], atol=1e-6)


def test_a_rate_is_relative_to_its_peak():
  assert_close(at(rate(name="cosine", end=0.5), 0, 50, 100), [0.1, 0.075, 0.05])
  assert_close(at(rate(name="linear"), 0, 50, 100), [0.1, 0.05, 0], atol=1e-8)
  assert_close(at(rate(name="polynomial", power=1.0, end=0.2), 0, 50, 100), [0.1, 0.06, 0.02])
  assert_close(at(rate(name="piecewise"), 49, 50, 75), [0.1, 0.01, 0.001])
  assert_close(at(rate(name="piecewise", at=(0.5,), values=(1, 0.3)), 49, 50), [0.1, 0.03])
  start = at(rate(name="warmup_cosine", start=0.5, warmup=0.1), 0, 10)
  assert_close(start, [0.05, 0.1])
  for name in ("warmup_cosine", "warmup_polynomial"):
    whole = at(rate(name=name, warmup=1.0), 0, 50, 99, 100)
    assert_close(whole, [0, 0.05, 0.099, 0.1], atol=1e-7)


@pytest.mark.parametrize(
  ("spec", "published"),
  [
    (dict(name="polynomial", power=0.9), optax.polynomial_schedule(3e-3, 0.0, 0.9, 77)),
    (dict(name="cosine"), optax.cosine_decay_schedule(3e-3, 77)),
    (dict(name="exponential"), optax.exponential_decay(3e-3, 77, 0.01)),
    (dict(name="piecewise"), optax.piecewise_constant_schedule(3e-3, {38: 0.1, 58: 0.1})),
    (dict(name="warmup_cosine"), optax.warmup_cosine_decay_schedule(0.0, 3e-3, 4, 77, 0.0)),
  ],
  ids=lambda value: value["name"] if isinstance(value, dict) else "",
)
def test_a_rate_has_the_bits_of_optax(spec, published):
  steps = range(0, 77, 3)
  assert at(rate(steps=77, peak=3e-3, **spec), *steps) == at(published, *steps)


def test_the_two_tables_hold_the_same_shapes_with_the_same_options():
  assert schedules.RATES.keys() == schedules.SCHEDULES.keys()
  for name, shape in schedules.SCHEDULES.items():
    assert options_of(shape).keys() == options_of(schedules.RATES[name]).keys()
    # a range of the message's: no rate falls below 0
    values = at(schedules.RATES[name](50), *range(51))
    assert all(math.isfinite(v) and -1e-7 <= v <= 1 for v in values), name
    assert inspect.getdoc(shape)


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    ("high", r"config.loss.dice.weight: 'high' is neither a number nor a schedule"),
    (True, r"True is neither"),
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
    (
      {"name": "piecewise", "at": (0.6, 0.5)},
      r"weight: piecewise: the moments \(0.6, 0.5\); expected rising",
    ),
    (
      {"name": "piecewise", "values": (1, 0), "factor": 0.5},
      r"weight: piecewise: values=\(1, 0\) and factor=0.5 exclude each other",
    ),
    ({"name": "piecewise", "values": (1, -1)}, r"weight.values: \(1, -1\); .*from 0"),
    ({"name": "complement", "of": "boundary"}, r"weight.of: 'boundary' is no loss.*choices: none"),
    ({"name": "complement", "off": 1}, r"config.loss.dice.weight.off: 'complement' has no such"),
  ],
)
def test_a_wrong_weight_is_told_in_words(spec, message):
  with pytest.raises(ValueError, match=message):
    resolve_weights({"dice": spec}, steps=100)


@pytest.mark.parametrize(
  ("spec", "message"),
  [
    (dict(name="poly"), r"config.optimiser.schedule.name: 'poly' is unknown.*, polynomial,"),
    (dict(name="cosine", peak=1), r"config.optimiser.schedule.peak: 'cosine' has no such option"),
    (dict(name="linear", begin=1.0), r"config.optimiser.schedule: schedule: begin 1.0 and until"),
  ],
)
def test_a_wrong_schedule_of_a_rate_is_told_in_words(spec, message):
  with pytest.raises(ValueError, match=message):
    schedules.rate(spec, 0.1, steps=100, where="optimiser.schedule")
