"""Optax optimisers by name.

`optimiser(...)` composes the L2 regulariser, clipping, weight decay, the named optimiser under
the named schedule, and gradient accumulation into one gradient transformation.
"""

import inspect
from collections.abc import Mapping

import optax

from jaxseg import build, schedules
from jaxseg.config.option_values import check_values

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
    where: the config field that messages name.
    options: passed to Optax.
  """
  factory = build.lookup(OPTIMISERS, name, where)
  own = {"learning_rate": learning_rate, "weight_decay": weight_decay, "l2": l2, "clip": clip}
  parameters = inspect.signature(optimiser).parameters
  check_values(name, {**own, "accumulate": accumulate}, parameters, where)
  updates = max(1, steps // accumulate)
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
  tx = optax.chain(*parts)
  return optax.MultiSteps(tx, accumulate).gradient_transformation() if accumulate > 1 else tx


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
  if isinstance(state, tuple | list):
    for part in state:
      yield from _walk(part)
