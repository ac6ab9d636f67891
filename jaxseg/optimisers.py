"""Optax optimisers by name.

`optimiser(...)` composes the L2 regulariser, clipping, weight decay, the named optimiser under
the named schedule, factors of the rate by path, and gradient accumulation into one gradient
transformation.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxseg import build, paths, schedules
from jaxseg.config.option_values import check_value, check_values
from jaxseg.config.ranges import FROM_0

OPTIMISERS = {
  "adabelief": optax.adabelief,
  "adagrad": optax.adagrad,
  "adam": optax.adam,
  "adamw": optax.adamw,
  "lamb": optax.lamb,
  "lars": optax.lars,
  "lion": optax.lion,
  "nadam": optax.nadam,
  "nadamw": optax.nadamw,
  "radam": optax.radam,
  "rmsprop": optax.rmsprop,
  "sgd": optax.sgd,
}


def optimiser(
  *,
  name: str,
  learning_rate: float,
  steps: int,
  schedule: Mapping | None = None,
  weight_decay: float = 0.0,
  l2: float = 0.0,
  clip: float | None = None,
  accumulate: int = 1,
  scale: Mapping[str, Any] | None = None,
  where: str = "optimiser",
  **options,
) -> optax.GradientTransformation:
  """A gradient transformation from plain values.

  Args:
    name: a name in OPTIMISERS.
    learning_rate: the schedule's peak.
    steps: length of training in batches; the schedule ends there.
    schedule: dict(name=..., **options), a name in schedules.RATES; None is constant.
    weight_decay: decoupled where the optimiser knows it (adamw, lion, ...); else an L2 term
      added to the gradient, as PyTorch's SGD does. On all parameters.
    l2: adds l2 * w to the gradient before all else, clipping included: the regulariser of the
      loss L + l2 / 2 |w|^2, whatever the optimiser. On all parameters.
    clip: largest global norm of the gradient; None is no limit.
    accumulate: batches whose gradients are averaged before one update.
    scale: {pattern of paths: factor of the learning rate, or a schedule of it as of a loss's
      weight}; the pattern that says the most counts, see `paths.match`. Decay scales with the
      rate. A factor of 0 freezes: those parameters keep their bits, have no moments and no decay,
      and don't count for `clip`. A schedule that is 0 for a while only holds them still: they have
      moments, and count. Statistics of norms are no parameters (`freeze_statistics`).
    where: the config field that messages name.
    options: passed to Optax.
  """
  factory = build.lookup(OPTIMISERS, name, where)
  own = {"learning_rate": learning_rate, "weight_decay": weight_decay, "l2": l2, "clip": clip}
  parameters = inspect.signature(optimiser).parameters
  check_values(name, {**own, "accumulate": accumulate}, parameters, where)
  updates = max(1, steps // accumulate)
  factors = _factors(scale, updates, f"{where}.scale")
  rate = schedules.rate(schedule, learning_rate, steps=updates, where=f"{where}.schedule")
  known = build.options_of(factory, given=())
  own_options = [option for option in parameters if option not in ("steps", "where", "options")]
  build.check_options(name, options, [*own_options, *known], where)
  check_values(name, options, known, where)
  momentum = options.get("momentum", known["momentum"].default if "momentum" in known else 1)
  if options.get("nesterov") and not momentum:
    raise ValueError(
      f"config.{where}.nesterov: needs a momentum, got momentum={momentum}; "
      f"expected config.{where}.momentum above 0, as 0.9."
    )
  parts = []
  if l2:
    parts.append(optax.add_decayed_weights(l2))
  if clip is not None:
    parts.append(optax.clip_by_global_norm(clip))
  if "weight_decay" in inspect.signature(factory).parameters:
    options = {**options, "weight_decay": weight_decay}
  elif weight_decay:
    parts.append(optax.add_decayed_weights(weight_decay))
  # the rate as a hyper-parameter stands in the state, where the progress bar reads it
  static = [key for key in known if key != "learning_rate"]
  parts.append(optax.inject_hyperparams(factory, static_args=static)(learning_rate=rate, **options))
  if any(factor != 0 for factor in factors.values()):
    parts.append(_scale_by_path(factors))
  tx = optax.chain(*parts)
  tx = optax.MultiSteps(tx, accumulate).gradient_transformation() if accumulate > 1 else tx
  return _freeze(tx, factors, f"config.{where}.scale") if factors else tx


def _factors(scale, updates: int, where: str) -> dict[str, float | schedules.Schedule]:
  """Pattern -> a factor or a schedule of it."""
  scale = {} if scale is None else scale
  if not isinstance(scale, Mapping):
    raise ValueError(
      f"config.{where}: {scale!r}; expected factors of the rate by path, as dict with "
      "{'encoder*': 0.1}."
    )
  factors = {}
  for pattern, spec in scale.items():
    field = f"{where}['{pattern}']"
    factors[pattern] = schedules.resolve(spec, steps=updates, where=field)
    if not isinstance(spec, Mapping):
      check_value(spec, f"config.{field}", float, FROM_0)
  return factors


def _freeze(tx, factors: Mapping[str, Any], where: str) -> optax.GradientTransformation:
  """`tx` for all parameters but those whose factor is the number 0.

  Initialising it raises ValueError for a pattern that names nothing, and if nothing is left.
  """

  def labels(params):
    def label(keys, _):
      frozen = factors.get(paths.match(paths.of_leaf(keys), factors)) == 0
      return "frozen" if frozen else "trained"

    return jax.tree_util.tree_map_with_path(label, params)

  still = any(factor == 0 for factor in factors.values())
  parts = {"trained": tx, "frozen": optax.set_to_zero()}
  inner = optax.partition(parts, labels) if still else tx

  def init(params):
    names = [paths.of_leaf(keys) for keys, _ in jax.tree_util.tree_leaves_with_path(params)]
    paths.check(factors, names, where)
    paths.check_apart(factors, names, where)
    if "trained" not in jax.tree.leaves(labels(params)):
      raise ValueError(
        f"{where}: the factor of every parameter is 0, so that nothing would be learnt; expected "
        "one above 0, or a parameter that no pattern names."
      )
    return inner.init(params)

  return optax.GradientTransformation(init, inner.update)


def _scale_by_path(factors: Mapping[str, Any]) -> optax.GradientTransformation:
  """Updates times the factor of their path, 1 where no pattern names it."""

  def init(params):
    del params
    return optax.ScaleByScheduleState(jnp.zeros((), jnp.int32))

  def update(updates, state, params=None):
    del params

    def scaled(keys, of):
      factor = factors.get(paths.match(paths.of_leaf(keys), factors), 1)
      factor = factor(state.count) if callable(factor) else factor
      return of * jnp.asarray(factor, of.dtype)

    scaled_updates = jax.tree_util.tree_map_with_path(scaled, updates)
    return scaled_updates, optax.ScaleByScheduleState(optax.safe_increment(state.count))

  return optax.GradientTransformation(init, update)


def learning_rate(opt_state):
  """The learning rate that the last update used, or None for a frozen learner."""
  rates = [
    state.hyperparams["learning_rate"]
    for state in _walk(opt_state)
    if hasattr(state, "hyperparams") and "learning_rate" in state.hyperparams
  ]
  return rates[0] if rates else None


def _walk(state):
  yield state
  if isinstance(state, tuple | list | dict):
    for part in state.values() if isinstance(state, dict) else state:
      yield from _walk(part)
