"""A config -> networks, losses, optimisers, method, predictor: all that needs no data."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from jaxseg import (
  augment,
  data,
  inference,
  losses,
  methods,
  networks,
  optimisers,
  paths,
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
  options_of,
)
from jaxseg.config import annotation, effects, needs, option_values, search, streams, synthesis
from jaxseg.config import checks as config_checks
from jaxseg.config import networks as other_runs
from jaxseg.config import roles as config_roles
from jaxseg.config import views as config_views
from jaxseg.config.option_values import check_values, parts_of
from jaxseg.config.ranges import Range
from jaxseg.data.prepared.normalise import schemes
from jaxseg.method import Method
from jaxseg.methods.frozen_norms import Frozen, frozen_norms
from jaxseg.networks import encoders, several
from jaxseg.objectives import class_weights, losses_by_role, maps, named_losses
from jaxseg.runs import first_stage as cascade

# the part of a network that tells its layers, and the option that chooses it
ENCODER = "encoder"
# of a predictor's options, those that the program gives
_WINDOW = ("patch", "devices")


def complete(config) -> dict[str, Any]:
  """The config as plain data, checked as far as it goes without its data.

  The networks of other runs are spelled out. Raises ValueError in words for fields that do not
  exist or are missing, for values of another type or outside of their range, for components and
  options that there are not, and for roles that the method lacks or the config.
  """
  config = search.resolve(other_runs.resolve(config_checks.fields(config)))
  options = config["data"]
  check(tasks.TASKS, config["task"], "task", given=("labels", "schemes", "made", "metrics", "best"))
  tasks.choose_metrics(
    config["task"]["name"], config["evaluate"]["metrics"], config["evaluate"]["best"]
  )
  synthesis.check(config)
  constructor = config_roles.constructor_of(config)
  config_roles.check(config, constructor)
  further = {key: config_checks.parts(of, f"losses.{key}") for key, of in config["losses"].items()}
  seen = {key: config_checks.parts(of, f"views.{key}") for key, of in config["views"].items()}
  config = {**config, "losses": further, "views": seen}
  search.check(config)
  needs.check_streams(config)
  annotation.check_losses(config, named_losses(config), losses.FIELDS_NEEDED)
  for role in roles.of_kind(constructor, roles.NETWORK).values():
    if (spec := config_roles.spec(config, role)) is not None:
      with other_runs.told_of_run(spec, role.field):
        check(_table(role), other_runs.without_run(spec), role.field, given=("classes",))
  check(methods.METHODS, method_options(config), "method", later=True)
  effects.check(config)
  check(inference.PREDICTORS, config["predictor"], "predictor", later=True, given=_WINDOW)
  optimisers_by_role(config)
  losses_by_role(config)
  views_by_role(config)
  effects.check_moments(config)
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
  annotation.check_fields(options["fields"], marks=data.MARKS, boxes=data.BOXES)
  annotation.check(config)
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
  config: dict[str, Any],
  labels: LabelSpec,
  channels: Mapping[str, Mapping[str, Any]],
  made: Mapping[str, Mapping[str, Any]],
) -> tasks.Task:
  """What the output of the config's method means, and what judges it.

  Args:
    config: checked.
    labels: of the data set.
    channels: name -> normalisation of each of its channels.
    made: the same of the channels of another domain that are made, {} of other tasks.
  """
  judged = {name: config["evaluate"][name] for name in ("metrics", "best")}
  given = {"labels": labels, "schemes": channels, "made": made, **judged}
  return build(tasks.TASKS, config["task"], "task", **given)


def _table(role: roles.Role) -> dict[str, Callable]:
  """The networks that a role may be filled with: the one that predicts is no critic."""
  predict = {**networks.NETWORKS, **networks.SUPERNETS, **networks.GENERATORS}
  further = {**networks.CRITICS, **networks.DECODERS}
  return predict if role.field == roles.NETWORK else {**predict, **further}


def networks_by_role(config: dict[str, Any], classes: int) -> dict[str, Any]:
  """The method's networks, with `classes` outputs those that have classes.

  Where the task makes images, these are the channels of a generator; else it gives as many as it
  is given, or as its own option says.
  """
  outputs = {"classes": classes}
  if synthesis.target_names(config):
    outputs["channels"] = classes

  def make(spec, role):
    if spec.get("classes", classes) != classes:
      raise ValueError(
        f"config.{role.field}.classes: {spec['classes']}, but the data set has {classes} classes "
        "(background counted); leave the field out."
      )
    with in_field(role.field):
      net = build(_table(role), other_runs.without_run(spec), role.field, **outputs)
    return other_runs.as_many(net, spec)

  return config_roles.by_role(config, roles.NETWORK, make)


def optimisers_by_role(config: dict[str, Any]) -> dict[str, Any]:
  """The method's optimisers."""

  def make(spec, role):
    where = role.field
    check_options("optimiser", [key for key in spec if key in optimisers.INTERNAL], (), where)
    for needed in ("name", "learning_rate"):
      if spec.get(needed) is None:
        raise ValueError(f"config.{where}.{needed}: is missing; expected its value.")
    return optimisers.optimiser(**_optimiser(config, spec, role))

  return config_roles.by_role(config, roles.OPTIMISER, make)


def _optimiser(config: dict[str, Any], spec: Mapping[str, Any], role: roles.Role) -> dict[str, Any]:
  """The arguments of `optimisers.optimiser`, from what fills a role."""
  clip, where = spec.get("clip"), role.field
  spec = {**spec, "clip": None if clip == 0 else clip}
  if isinstance(spec.get("layers"), str):
    spec["layers"] = _layers(config, spec["layers"], role)
  times = {"steps": effects.steps_of(config, role), "uses": effects.uses_of(config, role)}
  return {**spec, **times, "where": where}


def _layers(config: dict[str, Any], word: str, role: roles.Role) -> tuple[tuple[str, ...], ...]:
  """The layers of the encoder of the network that an optimiser is for."""
  network = _network_of(config, role)
  spec = None if network is None else config_roles.spec(config, network)
  known = {} if spec is None else options_of(_table(network)[spec["name"]])
  if word != ENCODER or ENCODER not in known:
    tells = f"'{ENCODER}'" if ENCODER in known else "patterns of paths from the input up"
    raise ValueError(
      f"config.{role.field}.layers: '{word}' is no part whose layers are known; expected {tells}."
    )
  with in_field(network.field):
    return encoders.layers(spec.get(ENCODER, known[ENCODER].default), ENCODER)


def _network_of(config: dict[str, Any], role: roles.Role) -> roles.Role | None:
  """The network that an optimiser's role is for; None for what is none of the config's."""
  of = roles.of_kind(config_roles.constructor_of(config), roles.NETWORK).values()
  return next((net for net in of if net.key == role.key or (net.first and role.first)), None)


def frozen_networks(config: dict[str, Any], by_role: Mapping[str, Any]) -> list[Frozen]:
  """The networks whose frozen parts keep the statistics of their batch norms."""
  frozen = []
  constructor = config_roles.constructor_of(config)
  for role in roles.of_kind(constructor, roles.OPTIMISER).values():
    spec, network = config_roles.spec(config, role), _network_of(config, role)
    if network is None or (spec or {}).get("frozen_norms") != optimisers.KEPT:
      continue
    until = optimisers.frozen_until(**_optimiser(config, spec, role))
    frozen.append(Frozen(by_role[network.key], until))
  return frozen


def frozen_from_nothing(config: dict[str, Any], learners: Mapping, starts) -> tuple[str, ...]:
  """A sentence for each network that is frozen at its random first weights.

  Args:
    config: checked.
    learners: the shapes of the method's.
    starts: those of them whose weights come from elsewhere.
  """
  notes = []
  constructor = config_roles.constructor_of(config)
  for role in roles.of_kind(constructor, roles.OPTIMISER).values():
    spec, network = config_roles.spec(config, role), _network_of(config, role)
    if not spec or network is None or network.key in starts or network.key not in learners:
      continue
    until = optimisers.frozen_until(**_optimiser(config, spec, role))
    frozen = [path for path in paths.flatten(learners[network.key].params) if until(path)]
    if frozen:
      notes.append(
        f"Warning: config.{role.field} freezes {len(frozen)} arrays of '{network.key}', as "
        f"'{frozen[0]}', but they are random: config.initialise.{network.key} is missing."
      )
  return tuple(notes)


def views_by_role(
  config: dict[str, Any], layout: sharding.Layout | None = None
) -> dict[str, augment.View]:
  """The method's views; `layout` tells over which devices a batch is split, None is one."""
  split = layout is not None and layout.sizes[sharding.BATCH] * layout.sizes[sharding.SPACE] > 1

  def make(parts, role):
    transforms = config_views.transforms(parts, role.field)
    return augment.view(transforms, layout.mesh if split else None, axis=sharding.BATCH)

  return config_roles.by_role(config, roles.VIEW, make)


def method_options(config: dict[str, Any]) -> dict[str, Any]:
  """The config's method, a schedule among its options made a function of the step."""
  spec = dict(config["method"])
  for option, parameter in options_of(config_roles.constructor_of(config)).items():
    if spec.get(option) is not None and schedules.Schedule in parts_of(parameter.annotation):
      where, given = f"method.{option}", spec[option]
      spec[option] = schedules.resolve(given, steps=config["steps"], where=where)
      _check_ends(given, where, option_values.span(spec["name"], option))
  return spec


def _check_ends(given: Any, where: str, span: Range | None) -> None:
  """Raises ValueError for a schedule that leaves the range of its option: it lies between these."""
  for end in ("start", "end", "value", "values") if isinstance(given, Mapping) else ():
    for number in option_values.numbers_in(given.get(end)):
      option_values.check_value(number, f"config.{where}.{end}", float, span)


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
  domains: Mapping[str, dict[str, Any]] = MappingProxyType({}),
) -> Method:
  """The config's method around its networks (`networks_by_role`), with losses and optimisers.

  Args:
    config: complete, class weights as numbers.
    by_role: the networks.
    regions: labels are regions.
    layout: where the members of an ensemble are trained; None is one device.
    domains: further stream -> the config with the class weights of its domain, of a method for
      which they are not the main stream's.
  """
  parts = {
    **several.placed(by_role, layout),
    **losses_by_role(config, regions=regions),
    **optimisers_by_role(config),
    **views_by_role(config, layout),
  }
  if domains:
    own = {name: losses_by_role(of, regions=regions)[roles.LOSS] for name, of in domains.items()}
    parts[roles.LOSS] = methods.by_domain.Losses(parts[roles.LOSS], own)
  options = method_options(config)
  with in_field("method"):
    scheme = build(methods.METHODS, options, "method", sigmoid=regions, **parts)
  scheme = methods.joined.joined(scheme, streams.joins(config))
  scheme = frozen_norms(scheme, frozen_networks(config, parts))
  scheme = methods.rematerialised.rematerialised(scheme, policy=config["remat"])
  if config["data"].get("prior"):
    scheme = methods.cascaded.cascaded(scheme)
  scheme = methods.modalities.masked(scheme)
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
