"""A config -> what its method minimises: losses, their weights, the maps that they need."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jaxseg import data, losses, roles
from jaxseg.build import bind
from jaxseg.config import annotation
from jaxseg.config import roles as config_roles
from jaxseg.config.option_values import check_value
from jaxseg.config.ranges import FROM_0


def losses_by_role(config: dict[str, Any], *, regions: bool = False) -> dict[str, losses.Loss]:
  """The method's losses; `regions` makes them act on sigmoids."""

  def make(parts, role):
    return _sum_of(parts, role.field, config, regions=regions)

  return config_roles.by_role(config, roles.LOSS, make)


# task -> its losses
_LOSSES = {
  "segmentation": losses.LOSSES,
  "synthesis": losses.IMAGE_LOSSES,
  "masks": losses.LOSSES,
  "translation": losses.IMAGE_LOSSES,
}


def _table_of_losses(task: str, name: str, field: str) -> Mapping[str, Callable]:
  """The losses of a task; raises ValueError for one of another task."""
  for other, table in _LOSSES.items():
    if name in table and name not in _LOSSES[task]:
      raise ValueError(
        f"config.{field}: '{name}' is a loss of {other}, but config.task is {task}; choices: "
        f"{', '.join(_LOSSES[task])}."
      )
  return _LOSSES[task]


def loss_parts(config: dict[str, Any], *, regions: bool = False) -> dict[str, losses.Loss]:
  """Config field -> loss, of every part of every loss that the method takes."""
  parts = {}
  for role in roles.of_kind(config_roles.constructor_of(config), roles.LOSS).values():
    if (specs := config_roles.spec(config, role)) is not None:
      own = _weighed_parts(specs, role.field, config, regions=regions)
      parts |= {f"{role.field}.{key}": part for key, (_, part) in own.items()}
  return parts


def _sum_of(specs, field: str, config: dict[str, Any], *, regions: bool) -> losses.Loss:
  return losses.weighted_sum(_weighed_parts(specs, field, config, regions=regions))


def _weighed_parts(specs, field: str, config: dict[str, Any], *, regions: bool):
  """Name -> (weight, loss)."""
  weights = losses.resolve_weights(
    {key: spec.get("weight", 1.0) for key, spec in specs.items()},
    steps=config["steps"],
    field=field,
  )
  parts = {}
  for key, spec in specs.items():
    # what is weighed below 0 grows; only of entropy is that meant (1701.06548)
    if isinstance(weights[key], int | float) and spec.get("name", key) != "entropy":
      check_value(weights[key], f"config.{field}.{key}.weight", float, FROM_0)
    spec = {option: value for option, value in spec.items() if option != "weight"}
    if isinstance(spec.get("class_weights"), str | dict):  # counted when the data are known
      del spec["class_weights"]
    where = f"{field}.{key}"
    table = _table_of_losses(config["task"]["name"], spec.get("name", key), where)
    part = bind(table, {"name": key, **spec}, where, sigmoid=regions)
    parts[key] = (weights[key], part)
  if not parts:
    raise ValueError(f"config.{field}: at least one loss is needed.")
  if all(isinstance(weight, int | float) and weight == 0 for weight in weights.values()):
    raise ValueError(
      f"config.{field}: the weight of every loss ({', '.join(parts)}) is 0, so that nothing would "
      "be learnt; expected one above 0."
    )
  return parts


def named_losses(config: dict[str, Any]) -> Iterator[tuple[str, str, dict]]:
  """(field, key, spec) of every part of every loss that the config names."""
  for field, parts in (("loss", config["loss"]), *_further(config, roles.LOSS)):
    for key, spec in parts.items():
      yield field, key, spec


def _further(config: dict[str, Any], kind: str) -> Iterator[tuple[str, Any]]:
  group = roles.GROUPS[kind]
  return ((f"{group}.{key}", spec) for key, spec in config[group].items())


def class_weights(config: dict[str, Any], count: Callable | None = None) -> dict[str, Any]:
  """The config, its losses' class weightings by name (or dict) made numbers.

  `count()` gives the training voxels of each class, (cases, k), and is called only if a loss
  names a weighting; without it names and options are checked, and the config is as it was.
  """
  weightings = {}
  for field, key, spec in named_losses(config):
    how = spec.get("class_weights")
    if isinstance(how, str | dict):
      how = {"name": how} if isinstance(how, str) else how
      weighting = bind(losses.CLASS_WEIGHTINGS, how, f"{field}.{key}.class_weights")
      weightings[field, key] = weighting
  if not weightings or count is None:
    return config
  counts = count()

  def counted(field, parts):
    return {
      key: {**spec, "class_weights": weightings[field, key](counts)}
      if (field, key) in weightings
      else spec
      for key, spec in parts.items()
    }

  further = {key: counted(f"losses.{key}", parts) for key, parts in config["losses"].items()}
  return {**config, "loss": counted("loss", config["loss"]), "losses": further}


def counted_weights(config: dict[str, Any], weighed: dict[str, Any]) -> dict[str, list[float]]:
  """Field of a loss -> its class weights, of those that `class_weights` made numbers."""
  after = {(field, key): spec for field, key, spec in named_losses(weighed)}
  return {
    f"{field}.{key}": list(after[field, key]["class_weights"])
    for field, key, spec in named_losses(config)
    if spec.get("class_weights") != after[field, key].get("class_weights")
  }


def maps(config: dict[str, Any]) -> dict[str, dict]:
  """The maps that the config's losses need: name -> options from config.data.maps."""
  options, needed = config["data"]["maps"], []
  for _, key, spec in named_losses(config):
    needed += losses.MAPS_NEEDED.get(spec.get("name", key), ())
    if spec.get("weight_map"):
      needed.append(spec["weight_map"])
  chosen = {name: options.get(name, {}) for name in needed}
  for name, given in {**options, **chosen}.items():
    data.bind_map(name, given)
  annotation.check_maps(config, chosen)
  return chosen
