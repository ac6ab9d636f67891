"""A config -> networks, losses, optimisers, method, predictor: all that needs no data."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from jaxseg import (
  augment,
  data,
  inference,
  losses,
  methods,
  networks,
  optimisers,
  roles,
  schedules,
  sharding,
)
from jaxseg import task as tasks
from jaxseg.batch import LabelSpec
from jaxseg.build import (
  bind,
  build,
  check,
  check_options,
  in_field,
  named,
  options_of,
  suggestion,
)
from jaxseg.config import checks as config_checks
from jaxseg.config import networks as other_runs
from jaxseg.config import roles as config_roles
from jaxseg.config import streams, synthesis
from jaxseg.config.option_values import check_value, check_values, parts_of
from jaxseg.config.ranges import FROM_0
from jaxseg.data.prepared.normalise import schemes
from jaxseg.method import Method
from jaxseg.runs import first_stage as cascade

# of a predictor's options, those that the program gives
_WINDOW = ("patch", "devices")
# the fields that are drawn as labels are: which class is where, as far as anyone says
MARKED = ("scribble", "pseudo_label", "previous", "clicks")


def complete(config) -> dict[str, Any]:
  """The config as plain data, checked as far as it goes without its data.

  The networks of other runs are spelled out. Raises ValueError in words for fields that do not
  exist or are missing, for values of another type or outside of their range, for components and
  options that there are not, and for roles that the method lacks or the config.
  """
  config = other_runs.resolve(config_checks.fields(config))
  options = config["data"]
  check(tasks.TASKS, config["task"], "task", given=("labels", "schemes", "metrics", "best"))
  tasks.choose_metrics(
    config["task"]["name"], config["evaluate"]["metrics"], config["evaluate"]["best"]
  )
  synthesis.check(config)
  constructor = _constructor(config)
  config_roles.check(config, constructor)
  further = {key: config_checks.parts(of, f"losses.{key}") for key, of in config["losses"].items()}
  config = {**config, "losses": further}
  for role in roles.of_kind(constructor, roles.NETWORK).values():
    if (spec := config_roles.spec(config, role)) is not None:
      with other_runs.told_of_run(spec, role.field):
        check(_table(role), other_runs.without_run(spec), role.field, given=("classes",))
  check(methods.METHODS, method_options(config), "method", later=True)
  check(inference.PREDICTORS, config["predictor"], "predictor", later=True, given=_WINDOW)
  optimisers_by_role(config)
  losses_by_role(config)
  class_weights(config)
  maps(config)
  _check_feeding(config)
  for name in config["streams"]:
    with streams.named(name):
      _check_feeding(streams.as_main(config, name))
  if options["prior"]:
    cascade.run_of(options["prior"])
  return config


def _check_feeding(config: dict[str, Any]) -> None:
  """What a stream is fed from and changed by."""
  options = config["data"]
  check(data.SOURCES, options["source"], "data.source")
  # without one, all cases are fed
  if options["split"]:
    folds, share = split_options(config)
    check(data.SPLITS, folds, "data.split", later=True)
    known = inspect.signature(data.splits.share).parameters
    check_values("labelled", share, known, "data.split")
  for key, spec in options["fields"].items():
    if key not in MARKED:
      raise ValueError(
        f"config.data.fields.{key}: no field that files of labels give"
        f"{suggestion(key, MARKED)}; choices: {', '.join(MARKED)}."
      )
    check(data.FIELDS, spec, f"data.fields.{key}", later=True)
  for key, spec in config["augment"].items():
    table = augment.MIXTURES if spec.get("name", key) in augment.MIXTURES else augment.AUGMENTATIONS
    check(table, {"name": key, **spec}, f"augment.{key}", later=True, given=("classes",))
  # None: left to a plan
  each = options["normalise"] or ()
  for scheme in each if isinstance(each, tuple) else (each,):
    schemes(scheme, ("image",))


def split_options(config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
  """config.data.split as the fold's options and those of the labelled share, {} of all cases."""
  spec = dict(config["data"]["split"])
  share = {name: spec.pop(name) for name in ("labelled", "labelled_seed") if name in spec}
  return spec, share if share.get("labelled") is not None else {}


def task(
  config: dict[str, Any], labels: LabelSpec, channels: Mapping[str, Mapping[str, Any]]
) -> tasks.Task:
  """What the output of the config's method means, and what judges it.

  Args:
    config: checked.
    labels: of the data set.
    channels: name -> normalisation of each of its channels.
  """
  judged = {name: config["evaluate"][name] for name in ("metrics", "best")}
  return build(tasks.TASKS, config["task"], "task", labels=labels, schemes=channels, **judged)


def _constructor(config: dict[str, Any]) -> Callable:
  """The constructor of the config's method."""
  return named(methods.METHODS, config["method"], "method")


def _by_role(config: dict[str, Any], kind: str, make: Callable) -> dict[str, Any]:
  """Parameter of the method's constructor -> make(spec, role), of all roles that are filled."""
  by_name = roles.of_kind(_constructor(config), kind)
  specs = {name: config_roles.spec(config, role) for name, role in by_name.items()}
  return {name: make(spec, by_name[name]) for name, spec in specs.items() if spec is not None}


def losses_by_role(config: dict[str, Any], *, regions: bool = False) -> dict[str, losses.Loss]:
  """The method's losses; `regions` makes them act on sigmoids."""

  def make(parts, role):
    return _sum_of(parts, role.field, config, regions=regions)

  return _by_role(config, roles.LOSS, make)


# task -> its losses
_LOSSES = {"segmentation": losses.LOSSES, "synthesis": losses.IMAGE_LOSSES}


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
  for role in roles.of_kind(_constructor(config), roles.LOSS).values():
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


def _losses(config: dict[str, Any]) -> Iterator[tuple[str, str, dict]]:
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
  for field, key, spec in _losses(config):
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


def maps(config: dict[str, Any]) -> dict[str, dict]:
  """The maps that the config's losses need: name -> options from config.data.maps."""
  options, needed = config["data"]["maps"], []
  for _, key, spec in _losses(config):
    needed += losses.MAPS_NEEDED.get(spec.get("name", key), ())
    if spec.get("weight_map"):
      needed.append(spec["weight_map"])
  chosen = {name: options.get(name, {}) for name in needed}
  for name, given in {**options, **chosen}.items():
    data.bind_map(name, given)
  return chosen


def _table(role: roles.Role) -> dict[str, Callable]:
  """The networks that a role may be filled with: the one that predicts is no critic."""
  predict = {**networks.NETWORKS, **networks.GENERATORS}
  return predict if role.field == roles.NETWORK else {**predict, **networks.CRITICS}


def networks_by_role(config: dict[str, Any], classes: int) -> dict[str, Any]:
  """The method's networks, with `classes` outputs those that have classes."""

  def make(spec, role):
    if spec.get("classes", classes) != classes:
      raise ValueError(
        f"config.{role.field}.classes: {spec['classes']}, but the data set has {classes} classes "
        "(background counted); leave the field out."
      )
    spec = other_runs.without_run(spec)
    with in_field(role.field):
      return build(_table(role), spec, role.field, classes=classes)

  return _by_role(config, roles.NETWORK, make)


def optimisers_by_role(config: dict[str, Any]) -> dict[str, Any]:
  """The method's optimisers."""

  def make(spec, role):
    where = role.field
    check_options("optimiser", [key for key in spec if key in ("steps", "where")], (), where)
    for needed in ("name", "learning_rate"):
      if spec.get(needed) is None:
        raise ValueError(f"config.{where}.{needed}: is missing; expected its value.")
    clip = spec.get("clip")
    spec = {**spec, "clip": None if clip == 0 else clip}
    return optimisers.optimiser(steps=config["steps"], where=where, **spec)

  return _by_role(config, roles.OPTIMISER, make)


def method_options(config: dict[str, Any]) -> dict[str, Any]:
  """The config's method, a schedule among its options made a function of the step."""
  spec = dict(config["method"])
  for option, parameter in options_of(_constructor(config)).items():
    if spec.get(option) is not None and schedules.Schedule in parts_of(parameter.annotation):
      where = f"method.{option}"
      spec[option] = schedules.resolve(spec[option], steps=config["steps"], where=where)
  return spec


def layout(config: dict[str, Any], network, devices: Sequence | None = None) -> sharding.Layout:
  """The config's layout over the devices, all that there are if None."""
  patch = config["data"]["patch"]
  with in_field("network"):
    stride = network.total_stride(len(patch))
  batches = {"config.data.batch": config["data"]["batch"]}
  for name in config["streams"]:
    batches[f"config.streams.{name}.batch"] = streams.as_main(config, name)["data"]["batch"]
  if config["remat"] == methods.rematerialised.OFFLOAD:
    sharding.check_offload(devices, "config.remat", config["remat"])
  return sharding.layout(
    batches=batches,
    patch=patch,
    stride=stride,
    members=config["members"],
    devices=devices,
    **config["mesh"],
  )


def layout_of_windows(config: dict[str, Any], network, devices: Sequence) -> sharding.Layout:
  """Of prediction alone: windows over all devices, each split over `space` as in training.

  A run that was trained on other devices is predicted on those that there are.
  """
  patch, space = config["data"]["patch"], config["mesh"]["space"]
  stride = network.total_stride(len(patch))
  fits = space > 0 and len(devices) % space == 0
  return sharding.layout(
    batches={}, patch=patch, stride=stride, space=space if fits else 1, devices=devices
  )


def method(
  config: dict[str, Any],
  by_role: dict[str, Any],
  *,
  regions: bool = False,
  layout: sharding.Layout | None = None,
) -> Method:
  """The config's method around its networks (`networks_by_role`), with losses and optimisers.

  `layout` tells where the members of an ensemble are trained; None is one device.
  """
  parts = {**by_role, **losses_by_role(config, regions=regions), **optimisers_by_role(config)}
  options = method_options(config)
  with in_field("method"):
    scheme = build(methods.METHODS, options, "method", **parts)
  scheme = methods.rematerialised.rematerialised(scheme, policy=config["remat"])
  if config["data"].get("prior"):
    scheme = methods.cascaded.cascaded(scheme)
  if config["average"]:
    scheme = methods.averaged.averaged(scheme, decay=config["average"])
  if config["members"] > 1:
    scheme = methods.ensemble.ensemble(scheme, layout, members=config["members"])
  return scheme


def window(
  config: dict[str, Any],
  network,
  patch: tuple[int, ...],
  slices: int | None,
  *,
  devices: int = 1,
):
  """The config's predictor with the patch bound: (apply, Case, **options) -> scores.

  `devices` are those over which `apply` splits windows.
  """
  rank = len(patch)
  with in_field("network"):
    sides = {"total_stride": network.total_stride(rank), "margin": network.margin(rank)}
  return bind(
    inference.PREDICTORS,
    config["predictor"],
    "predictor",
    patch=patch,
    **sides,
    axis=slices,
    devices=devices,
  )
