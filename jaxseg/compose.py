"""A config -> networks, losses, optimisers, method, predictor: all that needs no data."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from jaxseg import augment, data, inference, losses, methods, networks, optimisers
from jaxseg.build import bind, build, check, check_options
from jaxseg.config import checks as config_checks
from jaxseg.config.option_values import check_value
from jaxseg.config.ranges import FROM_0
from jaxseg.data.prepared.normalise import schemes
from jaxseg.method import Method
from jaxseg.runs import first_stage as cascade

# what the program gives a method
_ROLES = ("network", "loss", "optimiser")


def complete(config) -> dict[str, Any]:
  """The config as plain data, checked as far as it goes without its data.

  Raises ValueError in words for fields that do not exist or are missing, for values of another type
  or outside of their range, and for components and options that there are not.
  """
  config = config_checks.fields(config)
  options = config["data"]
  check(networks.NETWORKS, config["network"], "network", given=("classes",))
  check(methods.METHODS, method_options(config), "method", given=_ROLES)
  check(data.SOURCES, options["source"], "data.source")
  check(data.SPLITS, options["split"], "data.split", later=True)
  check(inference.PREDICTORS, config["predictor"], "predictor", later=True, given=("patch",))
  optimiser(config)
  loss(config)
  class_weights(config)
  maps(config)
  for key, spec in config["augment"].items():
    table = augment.MIXTURES if spec.get("name", key) in augment.MIXTURES else augment.AUGMENTATIONS
    check(table, {"name": key, **spec}, f"augment.{key}", later=True, given=("classes",))
  # None: left to a plan
  each = options["normalise"] or ()
  for scheme in each if isinstance(each, tuple) else (each,):
    schemes(scheme, ("image",))
  if options["prior"]:
    cascade.run_of(options["prior"])
  return config


def loss(config: dict[str, Any], *, regions: bool = False) -> Callable:
  """The weighted sum of the config's losses; `regions` makes them act on sigmoids."""
  weights = losses.resolve_weights(
    {key: spec.get("weight", 1.0) for key, spec in config["loss"].items()}, steps=config["steps"]
  )
  parts = {}
  for key, spec in config["loss"].items():
    # what is weighed below 0 grows; only of entropy is that meant (1701.06548)
    if isinstance(weights[key], int | float) and spec.get("name", key) != "entropy":
      check_value(weights[key], f"config.loss.{key}.weight", float, FROM_0)
    spec = {option: value for option, value in spec.items() if option != "weight"}
    if isinstance(spec.get("class_weights"), str | dict):  # counted when the data are known
      del spec["class_weights"]
    part = bind(losses.LOSSES, {"name": key, **spec}, f"loss.{key}", sigmoid=regions)
    parts[key] = (weights[key], part)
  if not parts:
    raise ValueError("config.loss: at least one loss is needed.")
  if all(isinstance(weight, int | float) and weight == 0 for weight in weights.values()):
    raise ValueError(
      f"config.loss: the weight of every loss ({', '.join(parts)}) is 0, so that nothing would be "
      "learnt; expected one above 0."
    )
  return losses.weighted_sum(parts)


def class_weights(config: dict[str, Any], count: Callable | None = None) -> dict[str, Any]:
  """The config, its losses' class weightings by name (or dict) made numbers.

  `count()` gives the training voxels of each class, (cases, k), and is called only if a loss
  names a weighting; without it names and options are checked, and the config is as it was.
  """
  named = {
    key: spec["class_weights"]
    for key, spec in config["loss"].items()
    if isinstance(spec.get("class_weights"), str | dict)
  }
  weightings = {
    key: bind(
      losses.CLASS_WEIGHTINGS,
      {"name": how} if isinstance(how, str) else how,
      f"loss.{key}.class_weights",
    )
    for key, how in named.items()
  }
  if not named or count is None:
    return config
  counts = count()
  numbers = {key: {"class_weights": weighting(counts)} for key, weighting in weightings.items()}
  specs = {key: {**spec, **numbers.get(key, {})} for key, spec in config["loss"].items()}
  return {**config, "loss": specs}


def maps(config: dict[str, Any]) -> dict[str, dict]:
  """The maps that the config's losses need: name -> options from config.data.maps."""
  options, needed = config["data"]["maps"], []
  for key, spec in config["loss"].items():
    needed += losses.MAPS_NEEDED.get(spec.get("name", key), ())
    if spec.get("weight_map"):
      needed.append(spec["weight_map"])
  chosen = {name: options.get(name, {}) for name in needed}
  for name, given in {**options, **chosen}.items():
    data.bind_map(name, given)
  return chosen


def network(config: dict[str, Any], classes: int):
  """The config's network with `classes` outputs."""
  if config["network"].get("classes", classes) != classes:
    raise ValueError(
      f"config.network.classes: {config['network']['classes']}, but the data set has {classes} "
      "classes (background counted); leave the field out."
    )
  with _in_field("network"):
    return build(networks.NETWORKS, config["network"], "network", classes=classes)


@contextlib.contextmanager
def _in_field(field: str) -> Iterator[None]:
  """Names the field in what a component says of its options."""
  try:
    yield
  except ValueError as error:
    if str(error).startswith("config."):
      raise
    raise ValueError(f"config.{field}: {error}") from error


def optimiser(config: dict[str, Any]):
  """The config's optimiser."""
  spec = config["optimiser"]
  check_options("optimiser", [key for key in spec if key in ("steps", "where")], (), "optimiser")
  for needed in ("name", "learning_rate"):
    if spec.get(needed) is None:
      raise ValueError(f"config.optimiser.{needed}: is missing; expected its value.")
  clip = spec.get("clip")
  return optimisers.optimiser(
    steps=config["steps"], **{**spec, "clip": None if clip == 0 else clip}
  )


def method_options(config: dict[str, Any]) -> dict[str, Any]:
  """The config's method, a schedule among its options made a function of the step."""
  spec = dict(config["method"])
  if "auxiliary" in spec:
    given, steps = spec["auxiliary"], config["steps"]
    spec["auxiliary"] = losses.resolve(given, steps=steps, where="method.auxiliary")
  return spec


def method(config: dict[str, Any], network, *, regions: bool = False) -> Method:
  """The config's method around a network, with its loss and optimiser."""
  parts = {"loss": loss(config, regions=regions), "optimiser": optimiser(config)}
  options = method_options(config)
  with _in_field("method"):
    scheme = build(methods.METHODS, options, "method", network=network, **parts)
  if config["data"].get("prior"):
    scheme = methods.cascaded.cascaded(scheme)
  if config["average"]:
    return methods.averaged.averaged(scheme, decay=config["average"])
  return scheme


def window(config: dict[str, Any], network, patch: tuple[int, ...], slices: int | None):
  """The config's predictor with the patch bound: (apply, Case, **options) -> scores."""
  rank = len(patch)
  with _in_field("network"):
    sides = {"total_stride": network.total_stride(rank), "margin": network.margin(rank)}
  return bind(
    inference.PREDICTORS,
    config["predictor"],
    "predictor",
    patch=patch,
    **sides,
    axis=slices,
  )
