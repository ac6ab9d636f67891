"""Optax optimisers and schedules by name.

`optimiser(...)` composes the L2 regulariser, clipping, weight decay, the named optimiser under
the named schedule, and gradient accumulation into one gradient transformation.
"""

import inspect
from collections.abc import Mapping, Sequence

import optax

from jaxseg import build
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


def constant(learning_rate: float, steps: int):
  """The same learning rate throughout."""
  del steps
  return optax.constant_schedule(learning_rate)


def polynomial(learning_rate: float, steps: int, *, power: float = 0.9, end: float = 0.0):
  """learning_rate * (1 - step / steps) ** power: nnU-Net's schedule (1904.08128)."""
  return optax.polynomial_schedule(learning_rate, end, power, steps)


def cosine(learning_rate: float, steps: int, *, end: float = 0.0):
  """Half a cosine from learning_rate to end (1608.03983)."""
  return optax.cosine_decay_schedule(learning_rate, steps, alpha=end / learning_rate)


def warmup_cosine(
  learning_rate: float,
  steps: int,
  *,
  warmup: float = 0.05,
  start: float = 0.0,
  end: float = 0.0,
):
  """A linear warm-up over the share `warmup` of the steps, then `cosine`."""
  return optax.warmup_cosine_decay_schedule(
    start, learning_rate, max(1, round(warmup * steps)), steps, end
  )


def warmup_polynomial(
  learning_rate: float,
  steps: int,
  *,
  warmup: float = 0.05,
  start: float = 0.0,
  power: float = 0.9,
  end: float = 0.0,
):
  """A linear warm-up over the share `warmup` of the steps, then `polynomial`."""
  rise = max(1, round(warmup * steps))
  return optax.join_schedules(
    [
      optax.linear_schedule(start, learning_rate, rise),
      optax.polynomial_schedule(learning_rate, end, power, max(1, steps - rise)),
    ],
    [rise],
  )


def exponential(learning_rate: float, steps: int, *, factor: float = 0.01):
  """learning_rate * factor ** (step / steps)."""
  return optax.exponential_decay(learning_rate, steps, factor)


def piecewise(
  learning_rate: float,
  steps: int,
  *,
  at: Sequence[float] = (0.5, 0.75),
  factor: float = 0.1,
):
  """Multiplied by `factor` at each of the shares `at` of the steps."""
  return optax.piecewise_constant_schedule(
    learning_rate, {round(share * steps): factor for share in at}
  )


SCHEDULES = {
  "constant": constant,
  "cosine": cosine,
  "exponential": exponential,
  "piecewise": piecewise,
  "polynomial": polynomial,
  "warmup_cosine": warmup_cosine,
  "warmup_polynomial": warmup_polynomial,
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
    schedule: dict(name=..., **options), a name in SCHEDULES; None is constant.
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
  rate = build.bind(SCHEDULES, schedule or {"name": "constant"}, f"{where}.schedule")(
    learning_rate, updates
  )
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
