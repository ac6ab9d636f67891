"""What of a config fills the roles of its method, and what does not belong there."""

from collections.abc import Callable, Mapping
from typing import Any

from jaxseg import methods
from jaxseg.build import named, options_of, suggestion
from jaxseg.method import Learner, learns
from jaxseg.roles import GROUPS, NETWORK, OPTIMISER, VIEW, Role, of_kind, roles

PREDICT_WITH = "predict_with"


def constructor_of(config: Mapping[str, Any]) -> Callable:
  """The constructor of the config's method."""
  return named(methods.METHODS, config["method"], "method")


def predicting(config: Mapping[str, Any]) -> str:
  """The learner that a run of the config predicts with, averages aside.

  A method that has several learners to choose from has an option for it.
  """
  option = options_of(constructor_of(config)).get(PREDICT_WITH)
  if option is None:
    return NETWORK
  word = config["method"].get(PREDICT_WITH, option.default)
  return NETWORK if word == "student" else word


def check_average(config: Mapping[str, Any], learners: Mapping[str, Learner]) -> None:
  """Raises ValueError for an average of networks that the run does not predict with."""
  name = predicting(config)
  if config["average"] and name in learners and not learns(learners[name]):
    raise ValueError(
      f"config.average: {config['average']}, but the method predicts with its '{name}', which is "
      "an average of weights itself and has none of its own; expected 0, or "
      "config.method.predict_with='student'."
    )


def by_role(config: Mapping[str, Any], kind: str, make: Callable) -> dict[str, Any]:
  """Parameter of the method's constructor -> make(spec, role), of all roles that are filled."""
  by_name = of_kind(constructor_of(config), kind)
  specs = {name: spec(config, role) for name, role in by_name.items()}
  return {name: make(of, by_name[name]) for name, of in specs.items() if of is not None}


def spec(config: Mapping[str, Any], role: Role) -> Mapping[str, Any] | None:
  """What of a config fills a role; None for what it lacks.

  A further loss or optimiser that it lacks is the first one. A further optimiser with a name is
  complete by itself; one without is the first one with what it changes. Factors by path are those
  of one network's paths, and no default for another's.
  """
  if role.first:
    return config[role.kind]
  own = config[GROUPS[role.kind]].get(role.key)
  if role.kind in (NETWORK, VIEW):
    return own
  first = config[role.kind]
  if role.kind == OPTIMISER:
    first = {option: value for option, value in first.items() if option != "scale"}
  if own is None:
    return first if role.required else None
  return {**first, **own} if role.kind == OPTIMISER and "name" not in own else own


def check(config: Mapping[str, Any], constructor: Callable) -> None:
  """Raises ValueError for a role that the method lacks, or the config, or that is in a wrong place.

  `constructor` is that of config.method.
  """
  by_name, name = roles(constructor), config["method"]["name"]
  fields = [role.field for role in by_name.values()]
  ending = f"; the roles of '{name}': {', '.join(fields)}."
  for parameter, role in by_name.items():
    if parameter in config["method"]:
      raise ValueError(
        f"config.method.{parameter}: is no option but a role of '{name}'; expected "
        f"config.{role.field}=dict(...)."
      )
  for kind, group in GROUPS.items():
    for key in config[group]:
      if f"{group}.{key}" in fields:
        continue
      if key == kind or (key in by_name and by_name[key].key != key):
        right = kind if key == kind else by_name[key].field
        raise ValueError(f"config.{group}.{key}: is in a wrong place; expected config.{right}.")
      if key in options_of(constructor):
        raise ValueError(
          f"config.{group}.{key}: is no role but an option of '{name}'; expected "
          f"config.method.{key}."
        )
      keys = [role.key for role in by_name.values() if role.kind == kind]
      raise ValueError(
        f"config.{group}.{key}: the method has no such role{suggestion(key, keys)}{ending}"
      )
  for role in by_name.values():
    of = spec(config, role)
    if role.required and of is None:
      raise ValueError(f"config.{role.field}: is missing{ending}")
    if role.kind == NETWORK and "runs" in (of or {}) and not role.several:
      raise ValueError(
        f"config.{role.field}.runs: several networks, but '{name}' takes one in this role; "
        "expected run=FOLDER."
      )
