"""Optax optimisers by name.

`optimiser(...)` composes the L2 regularisers, clipping, weight decay, the named optimiser under
the named schedule, factors of the rate by path and by layer, unfreezing, and gradient accumulation
into one gradient transformation.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxseg import build, fine_tuning, paths, schedules
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

# what the batch norms of frozen parts do
ADAPTED, KEPT = "adapted", "kept"
# 1802.01483's
L2_NEW = 0.01
# arguments of `optimiser` that are no options of a config
INTERNAL = ("steps", "uses", "where", "options")


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
  layers: str | Sequence[str | Sequence[str]] = (),
  layer_decay: float = 1.0,
  unfreeze: Sequence[float] = (),
  frozen_norms: str = ADAPTED,
  l2_sp: float = 0.0,
  l2_new: float = L2_NEW,
  uses: int = 1,
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
    accumulate: gradients that are averaged before one update.
    scale: {pattern of paths: factor of the learning rate, or a schedule of it as of a loss's
      weight}; the pattern that says the most counts, see `paths.match`. Decay scales with the
      rate. A factor of 0 freezes: those parameters keep their bits, have no moments and no decay,
      and don't count for `clip`. A schedule that is 0 for a while only holds them still: they have
      moments, and count.
    layers: patterns of paths, or groups of them, from the input up: what `layer_decay` and
      `unfreeze` are about. "encoder" is the layers that the network's encoder tells.
    layer_decay: the top layer's factor of the rate; each further one down has it once more, what no
      layer names has 1 (ULMFiT, 1801.06146; BEiT, 2106.08254). Besides `scale`.
    unfreeze: when each layer begins to learn, from the top down, rising: whole numbers are steps,
      others shares of training. Until then it keeps its bits and doesn't count for `clip`; its
      moments begin then.
    frozen_norms: "adapted", the batch norms of what is frozen use and follow each batch's
      statistics; "kept", they use the running ones and leave them until they learn.
    l2_sp: the loss gains l2_sp / 2 |w - w0|^2 of the weights that config.initialise took from
      elsewhere, w0, as `l2` does before clipping, whatever the optimiser (L2-SP, 1802.01483).
    l2_new: and l2_new / 2 |w|^2 of those that are new, such as another head.
    uses: how often a step of training uses it, as `critic_steps` of a critic's.
    where: the config field that messages name.
    options: passed to Optax.
  """
  factory = build.lookup(OPTIMISERS, name, where)
  own = {"learning_rate": learning_rate, "weight_decay": weight_decay, "l2": l2, "clip": clip}
  own |= {"layers": layers, "layer_decay": layer_decay, "unfreeze": unfreeze}
  own |= {"frozen_norms": frozen_norms, "l2_sp": l2_sp, "l2_new": l2_new}
  parameters = inspect.signature(optimiser).parameters
  check_values(name, {**own, "accumulate": accumulate}, parameters, where)
  updates = max(1, steps * uses // accumulate)
  factors = _factors(scale, updates, f"{where}.scale")
  _check_fine_tuning(**own, scale=scale, where=where)
  by_depth = fine_tuning.groups(layers, f"config.{where}.layers")
  until = _until(by_depth, unfreeze, steps, f"config.{where}.unfreeze")
  until = {pattern: fine_tuning.update_of(at * uses, accumulate) for pattern, at in until.items()}
  if max(until.values(), default=0) >= updates:
    raise ValueError(
      f"config.{where}.unfreeze: {tuple(unfreeze)} of {steps} steps, but the last update "
      f"(accumulate={accumulate}) comes before that; expected an earlier moment."
    )
  rate = schedules.rate(schedule, learning_rate, steps=updates, where=f"{where}.schedule")
  known = build.options_of(factory, given=())
  own_options = [option for option in parameters if option not in INTERNAL]
  build.check_options(name, options, [*own_options, *known], where)
  check_values(name, options, known, where)
  momentum = options.get("momentum", known["momentum"].default if "momentum" in known else 1)
  if options.get("nesterov") and not momentum:
    raise ValueError(
      f"config.{where}.nesterov: needs a momentum, got momentum={momentum}; "
      f"expected config.{where}.momentum above 0, as 0.9."
    )
  # the rate as a hyper-parameter stands in the state, where the progress bar reads it
  static = [key for key in known if key != "learning_rate"]
  decays = "weight_decay" in inspect.signature(factory).parameters
  if decays:
    options = {**options, "weight_decay": weight_decay}

  def core(first: int) -> list[optax.GradientTransformation]:
    """The optimiser itself, for what learns from an update on."""
    later = (lambda count: rate(count + first)) if first else rate
    made = optax.inject_hyperparams(factory, static_args=static)(learning_rate=later, **options)
    own_decay = [] if decays or not weight_decay else [optax.add_decayed_weights(weight_decay)]
    return [*own_decay, made]

  before = [optax.add_decayed_weights(l2)] if l2 else []
  if l2_sp:
    before.append(fine_tuning.l2_sp(weight=l2_sp, new=l2_new))
  after = [] if clip is None else [optax.clip_by_global_norm(clip)]
  if until:
    inner = lambda first: optax.chain(*core(first))  # noqa: E731
    parts = [fine_tuning.unfrozen(inner, until, before, after)]
  else:
    parts = [*before, *after, *core(0)]
  below = fine_tuning.depths(by_depth) if layer_decay != 1 else {}
  if below or any(factor != 0 for factor in factors.values()):
    parts.append(_scale_by_path(factors, {p: layer_decay**n for p, n in below.items()}))
  tx = optax.chain(*parts)
  tx = optax.MultiSteps(tx, accumulate).gradient_transformation() if accumulate > 1 else tx
  if not factors and not by_depth:
    return tx
  return _checked(tx, factors, by_depth, until, f"config.{where}")


def frozen_until(
  *,
  steps: int,
  accumulate: int = 1,
  scale: Mapping[str, Any] | None = None,
  layers: Sequence[str | Sequence[str]] = (),
  unfreeze: Sequence[float] = (),
  uses: int = 1,
  where: str = "optimiser",
  **options,
) -> Callable[[str], float]:
  """path of a parameter -> the step in which it begins to learn: 0, or infinity for never.

  The arguments are those of `optimiser`.
  """
  del options
  frozen = {pattern: of == 0 for pattern, of in (scale or {}).items()}
  groups = fine_tuning.groups(layers, f"config.{where}.layers")
  until = _until(groups, unfreeze, steps, f"config.{where}.unfreeze")

  def of(path: str) -> float:
    if frozen.get(paths.match(path, frozen)):
      return math.inf
    at = until.get(paths.match(path, until), 0)
    return math.ceil(fine_tuning.update_of(at * uses, accumulate) * accumulate / uses)

  return of


def _check_fine_tuning(
  *,
  scale,
  layers,
  layer_decay,
  unfreeze,
  frozen_norms,
  weight_decay,
  l2,
  l2_sp,
  l2_new,
  where: str,
  **_,
) -> None:
  """Raises ValueError for options of fine-tuning that need or exclude each other."""
  if frozen_norms not in (ADAPTED, KEPT):
    near = build.suggestion(frozen_norms, (ADAPTED, KEPT))
    raise ValueError(
      f"config.{where}.frozen_norms: '{frozen_norms}' is unknown{near}; choices: {ADAPTED}, {KEPT}."
    )
  if frozen_norms == KEPT and not unfreeze and not any(of == 0 for of in (scale or {}).values()):
    raise ValueError(
      f"config.{where}.frozen_norms: '{KEPT}', but nothing is frozen; expected unfreeze, a factor "
      "of 0 in scale, or config.method.freeze_statistics for the norms of all."
    )
  for option, given in (("layer_decay", layer_decay != 1), ("unfreeze", bool(unfreeze))):
    if given and not layers:
      raise ValueError(
        f"config.{where}.{option}: goes by layers, but there are none; expected "
        f"config.{where}.layers, patterns of paths from the input up."
      )
  if layers and layer_decay == 1 and not unfreeze:
    raise ValueError(
      f"config.{where}.layers: change nothing by themselves; expected layer_decay below 1, or "
      "unfreeze with a moment for each of them."
    )
  if l2_sp:
    for option, value in (("l2", l2), ("weight_decay", weight_decay)):
      if value:
        raise ValueError(
          f"config.{where}.{option}: {value} draws all weights to 0, which l2_sp={l2_sp} draws to "
          f"those that they start from; expected {option}=0, l2_new is for what is new."
        )
  elif l2_new != L2_NEW:
    raise ValueError(
      f"config.{where}.l2_new: {l2_new} belongs to l2_sp, which is 0; expected l2_sp above 0 as "
      "well, or l2 for all weights."
    )


def _until(groups, unfreeze, steps: int, where: str) -> dict[str, int]:
  """Pattern -> the step from which its layer learns; {} where all do from the first."""
  if not unfreeze:
    return {}
  at = fine_tuning.moments(unfreeze, len(groups), steps, where)
  return {
    pattern: moment for group, moment in zip(reversed(groups), at, strict=True) for pattern in group
  }


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


class Freezing(optax.GradientTransformation):
  """An Optax transformation that tells which parameters it never moves.

  Attributes:
    never: path of a parameter -> whether.
  """

  never: Callable[[str], bool]


def without_frozen(tx: optax.GradientTransformation, params):
  """The parameters, those that `tx` never moves as constants: their gradients cost nothing."""
  if not isinstance(tx, Freezing):
    return params

  def constant(keys, of):
    return jax.lax.stop_gradient(of) if tx.never(paths.of_leaf(keys)) else of

  return jax.tree_util.tree_map_with_path(constant, params)


def _checked(
  tx, factors: Mapping[str, Any], layers, until: Mapping[str, int], where: str
) -> optax.GradientTransformation:
  """`tx` for all parameters but those whose factor is the number 0.

  Initialising it raises ValueError for a pattern that names nothing, and if nothing is left.
  """

  def never(path: str) -> bool:
    return factors.get(paths.match(path, factors)) == 0

  def labels(params):
    return jax.tree_util.tree_map_with_path(
      lambda keys, _: "frozen" if never(paths.of_leaf(keys)) else "trained", params
    )

  still = any(factor == 0 for factor in factors.values())
  parts = {"trained": tx, "frozen": optax.set_to_zero()}
  inner = optax.partition(parts, labels) if still else tx

  def init(params):
    names = [paths.of_leaf(keys) for keys, _ in jax.tree_util.tree_leaves_with_path(params)]
    by_depth = [pattern for group in layers for pattern in group]
    for patterns, field in ((factors, "scale"), (by_depth, "layers")):
      paths.check(patterns, names, f"{where}.{field}")
      paths.check_apart(patterns, names, f"{where}.{field}")
    trained = [path for path in names if not never(path)]
    if not trained:
      raise ValueError(
        f"{where}.scale: the factor of every parameter is 0, so that nothing would be learnt; "
        "expected one above 0, or a parameter that no pattern names."
      )
    for pattern in until:
      named = [path for path in names if paths.match(path, by_depth) == pattern]
      if not any(path in trained for path in named):
        raise ValueError(
          f"{where}.unfreeze: all that '{pattern}' names has the factor 0 in {where}.scale, which "
          "freezes it for good; expected one of the two."
        )
    if until and all(paths.match(path, until) for path in trained):
      raise ValueError(
        f"{where}.unfreeze: the layers name every parameter that learns, so that nothing would be "
        "learnt at first; expected a part that no layer names, as the decoder or the head."
      )
    return inner.init(params)

  made = Freezing(init, inner.update)
  made.never = never
  return made


def _scale_by_path(
  factors: Mapping[str, Any], layers: Mapping[str, float]
) -> optax.GradientTransformation:
  """Updates times the factor of their path and that of their layer, 1 where no pattern names it."""

  def init(params):
    del params
    return fine_tuning.counting()

  def update(updates, state, params=None):
    del params

    def scaled(keys, of):
      path = paths.of_leaf(keys)
      factor = factors.get(paths.match(path, factors), 1)
      factor = factor(state.count) if callable(factor) else factor
      factor = factor * layers.get(paths.match(path, layers), 1)
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
