"""Whether what a config sets can have an effect: beside its other options, and before its end."""

from collections.abc import Iterator, Mapping
from typing import Any

from jaxseg import schedules
from jaxseg.build import options_of
from jaxseg.config import roles as config_roles
from jaxseg.config.option_values import parts_of
from jaxseg.config.roles import constructor_of
from jaxseg.methods import FOLLOWERS
from jaxseg.methods.effects import EFFECTS, STAGES, Acts, Stage
from jaxseg.roles import OPTIMISER, Role, of_kind

# steps of a try, which sees no more of a ramp than its beginning
_TRY = 10


def check(config: Mapping[str, Any]) -> None:
  """Raises ValueError for what has no effect, where the config didn't switch it off itself.

  What a config sets to 0 by hand, as one term of a sum to see what it is for, is told (`notes`).
  """
  for name, first in FOLLOWERS.get(config["method"]["name"], {}).items():
    if name in config["initialise"]:
      raise ValueError(
        f"config.initialise.{name}: the method's '{name}' starts as its '{first}' and follows it, "
        f"so that these weights would have no effect; expected config.initialise.{first}, with "
        "which both start."
      )
  for acts in _idle(config):
    if not _by_hand(config, acts):
      raise ValueError(f"{_words(config, acts)}; {_expected(acts)}, or to leave it out.")
  _check_stages(config)


def _check_stages(config: Mapping[str, Any]) -> None:
  """Raises ValueError for a part of the method that no step of training is left for."""
  for stage in STAGES.get(config["method"]["name"], ()):
    if stage.first or not (before := _value(config, stage.option)):
      continue
    if before >= config["steps"]:
      raise ValueError(
        f"config.method.{stage.option}: {before} of {config['steps']} steps (config.steps), so "
        f"that {stage.words}; expected fewer."
      )
  for role in of_kind(constructor_of(config), OPTIMISER).values():
    if (stage := _stage(config, role)) is None:
      continue
    steps, spec = steps_of(config, role), config_roles.spec(config, role) or {}
    accumulate = spec.get("accumulate", 1)
    if isinstance(accumulate, int) and accumulate > steps:
      raise ValueError(
        f"config.{role.field}.accumulate: {accumulate} batches for one update, but with "
        f"config.method.{stage.option} it has {steps} of {config['steps']} steps, so that "
        f"{stage.words}; expected 1 to {steps}."
      )


def _stage(config: Mapping[str, Any], role: Role) -> Stage | None:
  """The stage in which what an optimiser moves learns; None where it does in all steps."""
  stages = STAGES.get(config["method"]["name"], ())
  own = (stage for stage in stages if stage.learner == role.key)
  return next((stage for stage in own if _value(config, stage.option)), None)


def steps_of(config: Mapping[str, Any], role: Role) -> int:
  """In how many steps of training what an optimiser's role moves learns."""
  if (stage := _stage(config, role)) is None:
    return config["steps"]
  before = _value(config, stage.option)
  return before if stage.first else config["steps"] - before


def check_moments(config: Mapping[str, Any]) -> None:
  """Raises ValueError for a schedule that is 0 until training ends, and begins after that.

  What it weighs would never count. One that is 0 for ever was set to it by hand.
  """
  for where, spec, steps in _schedules(config):
    made = schedules.resolve(spec, steps=steps, where=where)
    if steps > _TRY and not made(0) and not made(steps - 1) and made(2 * steps):
      raise ValueError(
        f"config.{where}: {spec}: is 0 in all {steps} steps that it has (config.steps is "
        f"{config['steps']}) and begins after them; expected an earlier moment, or 0."
      )


def uses_of(config: Mapping[str, Any], role: Role) -> int:
  """How often an optimiser is used in a step: a critic's may be several times."""
  return config["method"].get("critic_steps", 1) if role.key == "critic" else 1


def _schedules(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], int]]:
  """Field, schedule, its length: of options of the method, weights of losses, factors of rates."""
  of_rates = {}
  for role in of_kind(constructor_of(config), OPTIMISER).values():
    spec = config_roles.spec(config, role) or {}
    updates = steps_of(config, role) * uses_of(config, role) // spec.get("accumulate", 1)
    scale = spec.get("scale") or {}
    fields = {f"{role.field}.scale['{name}']": of for name, of in scale.items()}
    of_rates |= {where: (of, max(updates, 1)) for where, of in fields.items()}
  specs = {
    f"method.{option}": config["method"].get(option)
    for option, parameter in options_of(constructor_of(config)).items()
    if schedules.Schedule in parts_of(parameter.annotation)
  }
  groups = {"loss": config["loss"]} | {f"losses.{k}": of for k, of in config["losses"].items()}
  for group, parts in groups.items():
    specs |= {f"{group}.{name}.weight": spec.get("weight") for name, spec in parts.items()}
  each = {where: (spec, config["steps"]) for where, spec in specs.items()} | of_rates
  for where, (spec, steps) in each.items():
    if isinstance(spec, Mapping) and spec.get("name") in schedules.SCHEDULES:
      yield where, spec, steps


def notes(config: Mapping[str, Any]) -> tuple[str, ...]:
  """A sentence for each option without effect that `check` lets pass."""
  told = [f"{_words(config, acts)}." for acts in _idle(config) if _by_hand(config, acts)]
  return tuple(f"Warning: {words}" for words in told)


def _idle(config: Mapping[str, Any]) -> Iterator[Acts]:
  for acts in EFFECTS.get(config["method"]["name"], ()):
    if not _is_set(config, acts.option):
      continue
    value = _value(config, acts.other)
    if value not in acts.values if acts.values else value == 0:
      yield acts


def _is_set(config: Mapping[str, Any], option: str) -> bool:
  group, _, key = option.rpartition(".")
  return config[group or "method"].get(key) is not None


def _value(config: Mapping[str, Any], option: str) -> Any:
  known = options_of(constructor_of(config))
  return config["method"].get(option, known[option].default)


def _by_hand(config: Mapping[str, Any], acts: Acts) -> bool:
  return not acts.values and acts.other in config["method"]


def _words(config: Mapping[str, Any], acts: Acts) -> str:
  field = acts.option if "." in acts.option else f"method.{acts.option}"
  value = _value(config, acts.other)
  return f"config.{field}: has no effect with config.method.{acts.other}={value!r}"


def _expected(acts: Acts) -> str:
  if acts.values:
    return f"expected {acts.other}={' or '.join(map(repr, acts.values))}"
  return f"expected a {acts.other} above 0"
