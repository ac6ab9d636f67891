"""Optimisers, schedules, clipping, accumulation."""

import chex
import jax
import jax.numpy as jnp
import optax
import pytest
from closeness import assert_close

from jaxseg.optimisers import OPTIMISERS, learning_rate, optimiser


def run(tx, gradients, start=1.0):
  """Applies scalar gradients one by one; (parameters, learning rates)."""
  params = jnp.float32(start)
  state = tx.init(params)
  trace, rates = [], []
  for gradient in gradients:
    updates, state = tx.update(jnp.float32(gradient), state, params)
    params = optax.apply_updates(params, updates)
    trace.append(float(params))
    rates.append(float(learning_rate(state)))
  return trace, rates


def test_polynomial_schedule_is_nnunets():
  tx = optimiser(
    name="sgd", learning_rate=0.01, steps=100, schedule=dict(name="polynomial", power=0.9)
  )
  _, rates = run(tx, [0.0] * 52)
  assert rates[0] == pytest.approx(0.01, rel=1e-5)
  assert rates[50] == pytest.approx(0.00535887, rel=1e-5)


def test_sgd_with_momentum_nesterov_and_decay_is_torchs():
  tx = optimiser(
    name="sgd", learning_rate=0.1, steps=10, weight_decay=0.5, momentum=0.9, nesterov=True
  )
  trace, _ = run(tx, [1.0, 1.0])
  # torch: g = 1 + 0.5 p; v = 0.9 v + g; p -= 0.1 (g + 0.9 v)
  p, v = 1.0, 0.0
  expected = []
  for _ in range(2):
    g = 1 + 0.5 * p
    v = 0.9 * v + g
    p -= 0.1 * (g + 0.9 * v)
    expected.append(p)
  assert_close(trace, expected)


def test_adamw_decay_is_decoupled():
  tx = optimiser(name="adamw", learning_rate=0.1, steps=10, weight_decay=0.5)
  trace, _ = run(tx, [0.0])
  assert trace[0] == pytest.approx(1 - 0.1 * 0.5, rel=1e-5)


def test_l2_is_part_of_the_gradient():
  # the loss w + 0.5 / 2 w^2 at w = 1 has the slope 1.5: under Adam the step's size is the rate
  sgd = optimiser(name="sgd", learning_rate=0.1, steps=10, l2=0.5)
  trace, _ = run(sgd, [1.0, 1.0])
  assert_close(trace, [0.85, 0.85 - 0.1 * (1 + 0.5 * 0.85)])
  adamw = optimiser(name="adamw", learning_rate=0.1, steps=10, weight_decay=0.0, l2=0.5)
  trace, _ = run(adamw, [0.0])
  assert trace[0] == pytest.approx(0.9, rel=1e-5)
  clipped = optimiser(name="sgd", learning_rate=1.0, steps=10, l2=0.5, clip=0.25)
  trace, _ = run(clipped, [0.0])
  assert trace[0] == pytest.approx(0.75, rel=1e-5)


def test_clipping_bounds_the_step():
  tx = optimiser(name="sgd", learning_rate=1.0, steps=10, clip=0.25)
  trace, _ = run(tx, [100.0])
  assert trace[0] == pytest.approx(0.75, rel=1e-5)


def test_accumulation_averages_gradients_and_counts_updates():
  tx = optimiser(
    name="sgd", learning_rate=1.0, steps=8, accumulate=2, schedule=dict(name="polynomial", power=1)
  )
  trace, rates = run(tx, [0.1, 0.3, 0.0, 0.4])
  # four updates in eight steps: rates 1, 3/4; gradients 0.2, 0.2
  assert_close(trace, [1.0, 0.8, 0.8, 0.65])
  assert rates[1] == pytest.approx(1.0, rel=1e-5)
  assert rates[3] == pytest.approx(0.75, rel=1e-5)


@pytest.mark.parametrize(
  ("name", "at_start", "at_end"),
  [
    ("constant", 0.1, 0.1),
    ("cosine", 0.1, 0.0),
    ("warmup_cosine", 0.0, 0.0),
    ("warmup_polynomial", 0.0, 0.0),
    ("exponential", 0.1, 0.001),
    ("piecewise", 0.1, 0.001),
  ],
)
def test_schedules_start_and_end_where_they_say(name, at_start, at_end):
  tx = optimiser(name="sgd", learning_rate=0.1, steps=40, schedule=dict(name=name))
  _, rates = run(tx, [0.0] * 41)
  assert rates[0] == pytest.approx(at_start, abs=1e-7, rel=1e-5)
  assert rates[40] == pytest.approx(at_end, rel=1e-4, abs=1e-7)


def test_unknown_names_and_options_list_the_choices():
  with pytest.raises(
    ValueError, match=r"config.optimiser.name: 'amad' is unknown.*choices: adabel"
  ):
    optimiser(name="amad", learning_rate=0.1, steps=1)
  with pytest.raises(ValueError, match=r"config.optimiser.momentun: 'sgd' has no such option"):
    optimiser(name="sgd", learning_rate=0.1, steps=1, momentun=0.9)
  with pytest.raises(ValueError, match=r"config.optimiser.schedule.name: 'poly' is unknown"):
    optimiser(name="sgd", learning_rate=0.1, steps=1, schedule=dict(name="poly"))


@pytest.mark.parametrize("options", [{}, {"momentum": 0.0}, {"momentum": None}])
def test_nesterov_needs_a_momentum(options):
  with pytest.raises(ValueError, match=r"config\.optimiser\.nesterov: needs a momentum"):
    optimiser(name="sgd", learning_rate=0.1, steps=4, nesterov=True, **options)


@pytest.mark.parametrize("name", ["lars", "nadam", "adam"])
def test_nesterov_passes_where_the_momentum_has_a_default_or_another_name(name):
  optimiser(name=name, learning_rate=0.1, steps=4, nesterov=True)


PARAMS = {
  "encoder1": {"conv": {"kernel": jnp.array([1.0, -2.0])}, "norm": {"scale": jnp.array([3.0])}},
  "head": {"kernel": jnp.array([0.5])},
}


def train(tx, steps=3):
  """(parameters after steps of the loss sum w^2 / 2, the optimiser's state)."""
  params, state = PARAMS, tx.init(PARAMS)
  for _ in range(steps):
    updates, state = jax.jit(tx.update)(params, state, params)
    params = optax.apply_updates(params, updates)
  return params, state


@pytest.mark.parametrize("name", sorted(OPTIMISERS))
def test_a_factor_scales_what_a_parameter_moves_by(name):
  options = dict(name=name, learning_rate=1e-2, steps=9, weight_decay=0.1)
  by_path = optimiser(**options, scale={"encoder*": 0.25, "encoder*norm": 3.0})
  expected, scaled = (
    tx.update(PARAMS, tx.init(PARAMS), PARAMS)[0] for tx in (optimiser(**options), by_path)
  )
  expected["encoder1"]["conv"]["kernel"] *= 0.25
  expected["encoder1"]["norm"]["scale"] *= 3.0
  chex.assert_trees_all_close(scaled, expected, rtol=1e-6)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("name", sorted(OPTIMISERS))
def test_what_is_frozen_keeps_its_bits_and_has_no_moments(name, accumulate):
  options = dict(name=name, learning_rate=1e-2, steps=9, accumulate=accumulate)
  options |= dict(weight_decay=0.1, l2=0.1, clip=1.0)
  after, state = train(optimiser(**options, scale={"encoder*": 0}), 4)
  chex.assert_trees_all_equal(after["encoder1"], PARAMS["encoder1"])
  assert not (after["head"]["kernel"] == PARAMS["head"]["kernel"]).any()
  paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(state)]
  assert not any("encoder1" in path for path in paths)
  assert learning_rate(state) == pytest.approx(1e-2)


def test_the_head_trains_as_if_the_frozen_part_were_not_there():
  options = dict(name="adamw", learning_rate=1e-2, steps=9, weight_decay=0.1, clip=0.3)
  after, _ = train(optimiser(**options, scale={"encoder*": 0.0}))
  params = {"head": PARAMS["head"]}
  tx = optimiser(**options)
  state = tx.init(params)
  for _ in range(3):
    updates, state = jax.jit(tx.update)(params, state, params)
    params = optax.apply_updates(params, updates)
  # clipped by its own norm
  chex.assert_trees_all_equal(after["head"], params["head"])


def test_a_part_is_unfrozen_at_its_step():
  late = dict(name="piecewise", at=(0.5,), values=(0.0, 1.0))
  tx = optimiser(name="sgd", learning_rate=0.1, steps=4, scale={"encoder*": late})
  still, _ = train(tx, 2)
  chex.assert_trees_all_equal(still["encoder1"], PARAMS["encoder1"])
  after, _ = train(tx, 4)
  assert_close(after["encoder1"]["norm"]["scale"], [3 * 0.9 * 0.9])
  assert_close(after["head"]["kernel"], [0.5 * 0.9**4])


def test_without_factors_the_state_is_what_it_was():
  options = dict(name="adamw", learning_rate=1e-2, steps=9, accumulate=2)
  states = [optimiser(**options, **more).init(PARAMS) for more in ({}, {"scale": {}})]
  chex.assert_trees_all_equal(*states)
  assert isinstance(states[0], optax.MultiStepsState)


@pytest.mark.parametrize(
  ("scale", "message"),
  [
    (0.1, r"config\.optimiser\.scale: 0\.1; expected factors of the rate by path"),
    ({"encoder*": -1}, r"config\.optimiser\.scale\['encoder\*'\]: -1; expected a number from 0"),
    ({"encoder*": "low"}, r"scale\['encoder\*'\]: 'low' is neither a number nor a schedule"),
    ({"encoder*": dict(name="step")}, r"scale\['encoder\*'\]\.name: 'step' is unknown"),
    ({"encodr*": 0.1}, r"config\.optimiser\.scale: the pattern 'encodr\*' names no parameter"),
    ({"*": 0}, r"config\.optimiser\.scale: the factor of every parameter is 0, .*nothing"),
    ({"enc*": 1, "*ead": 1, "*nor": 1}, r"'\*nor' names no parameter"),
    ({"en*": 1, "*r1": 0}, r"scale: the patterns '.*' and '.*' both name 'encoder1/conv/kernel'"),
  ],
)
def test_a_wrong_factor_is_told_in_words(scale, message):
  with pytest.raises(ValueError, match=message):
    optimiser(name="sgd", learning_rate=0.1, steps=4, scale=scale).init(PARAMS)
