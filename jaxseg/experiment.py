"""A config -> the values that the loop takes. With the verbs, the only code that sees a config."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxseg import (
  augment,
  cascade,
  data,
  defaults,
  inference,
  losses,
  methods,
  networks,
  optimisers,
  run_folder,
)
from jaxseg.batch import LabelSpec
from jaxseg.build import bind, build, plain, suggestion
from jaxseg.data.prepared import Dataset
from jaxseg.data.sampling import Sampling, sampling
from jaxseg.method import Method


class Experiment(NamedTuple):
  """Everything that `loop.train` needs, built.

  Attributes:
    config: the plain config, for the run folder.
    method: the training scheme.
    network: the network that the method trains.
    dataset: prepared cases.
    training, validation: indices into the data set.
    watched: the validation cases that are scored while training.
    sampling: how patches are drawn.
    augment: (key, sample) -> sample, from crop to patch.
    patch: what the network is fed.
    predict: (apply, Case, **options) -> (*space, k) scores.
    read: case name -> the case as the user's files have it.
    mix: (key, batch) -> batch, after `augment`.
  """

  config: dict[str, Any]
  method: Method
  network: Any
  dataset: Dataset
  training: tuple[int, ...]
  validation: tuple[int, ...]
  watched: tuple[int, ...]
  sampling: Sampling
  augment: Callable
  patch: tuple[int, ...]
  predict: Callable
  read: Callable[[str], data.RawCase]
  mix: Callable = augment.mixture({})


def complete(config) -> dict[str, Any]:
  """The config as plain data; raises ValueError for fields that do not exist or are missing."""
  given, known = plain(config), plain(defaults.config())
  _compare(given, known, "config")
  return given


def _compare(given, known, where: str) -> None:
  for name in given:
    if name not in known:
      raise ValueError(
        f"{where}.{name}: no such field{suggestion(name, known)}; fields: {', '.join(known)}."
      )
  for name in known:
    if name not in given:
      raise ValueError(f"{where}.{name}: missing; start from jaxseg.defaults.config().")
  for name in ("data", "evaluate"):
    if where == "config":
      _compare(given[name], known[name], f"config.{name}")


def source_of(config: dict[str, Any]) -> data.Source:
  """The cases of a config's data set as the user's files have them."""
  return build(data.SOURCES, config["data"]["source"], "data.source")


def dataset(
  config: dict[str, Any], source: data.Source
) -> tuple[Dataset, tuple[int, ...], tuple[int, ...]]:
  """The prepared data set of a config's source, with the training and the validation indices."""
  options = config["data"]
  split = bind(data.SPLITS, options["split"], "data.split")
  training, validation = split(source.cases)
  prepared = data.prepare(
    source,
    normalise=options["normalise"],
    orientation=options["orientation"],
    spacing=options["spacing"],
    transpose=options["transpose"],
    crop_nonzero=options["crop_nonzero"],
    resampling=options["resampling"],
    workers=options["workers"] or None,
    cache_dir=options["folder"],
    train_cases=training,
  )
  position = {name: i for i, name in enumerate(prepared.names)}
  return (
    prepared,
    tuple(position[name] for name in training),
    tuple(position[name] for name in validation),
  )


def loss(config: dict[str, Any], *, regions: bool = False) -> Callable:
  """The weighted sum of the config's losses; `regions` makes them act on sigmoids."""
  for key, spec in config["loss"].items():
    if not isinstance(spec, dict):
      raise ValueError(
        f"config.loss.{key}: expected a dict, got {spec!r}; its weight is config.loss.{key}.weight."
      )
  weights = losses.resolve_weights(
    {key: spec.get("weight", 1.0) for key, spec in config["loss"].items()}, steps=config["steps"]
  )
  parts = {}
  for key, spec in config["loss"].items():
    spec = {option: value for option, value in spec.items() if option != "weight"}
    part = bind(losses.LOSSES, {"name": key, **spec}, f"loss.{key}", sigmoid=regions)
    parts[key] = (weights[key], part)
  if not parts:
    raise ValueError("config.loss: at least one loss is needed.")
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
  return build(networks.NETWORKS, config["network"], "network", classes=classes)


def method_options(config: dict[str, Any]) -> dict[str, Any]:
  """The config's method, a schedule among its options made a function of the step."""
  spec = dict(config["method"])
  if "auxiliary" in spec:
    given, steps = spec["auxiliary"], config["steps"]
    spec["auxiliary"] = losses.resolve(given, steps=steps, where="method.auxiliary")
  return spec


def method(config: dict[str, Any], network, *, regions: bool = False) -> Method:
  """The config's method around a network, with its loss and optimiser."""
  rate = {**config["optimiser"], "clip": config["optimiser"].get("clip") or None}
  tx = optimisers.optimiser(steps=config["steps"], **rate)
  scheme = build(
    methods.METHODS,
    method_options(config),
    "method",
    network=network,
    loss=loss(config, regions=regions),
    optimiser=tx,
  )
  if config["data"].get("prior"):
    scheme = methods.cascaded.cascaded(scheme)
  if config["average"]:
    return methods.averaged.averaged(scheme, decay=config["average"])
  return scheme


def facts(
  config: dict[str, Any], labels: LabelSpec, patch: tuple[int, ...], code: str = ""
) -> dict[str, Any]:
  """Options of augmentations that the data tell; the config's own go before.

  `code` is the orientation of what is augmented; "" where it isn't known.
  """
  sideways = _sideways(config["data"], len(patch), code)
  swap = {"swap": (), "swap_axis": -1}  # a plane without left and right
  if sideways is not None:
    swap = {"swap": labels.mirror_pairs, "swap_axis": sideways}
  # a prior of classes has one map for the background, one of regions has none
  return {"patch": patch, **swap, "background": labels.regions is None}


def _sideways(options: dict[str, Any], rank: int, code: str) -> int | None:
  """The axis of a patch from left to right once cases are transposed, or sliced; x if unknown."""
  last = rank - 1 if options["slices"] is None else rank
  axes = list(options["transpose"] or range(last + 1))
  x = next((i for i, letter in enumerate(code[::-1]) if letter in "LR"), last)
  if options["slices"] is not None:
    axes.pop(options["slices"])
  return axes.index(x) if x in axes else None


def mirroring(
  config: dict[str, Any], labels: LabelSpec, patch: tuple[int, ...], code: str = ""
) -> dict[str, Any]:
  """The predictor's options for the mirror images that training drew from, all if it drew none."""
  mirrors = [of for key, of in config["augment"].items() if of.get("name", key) == "mirror"]
  options = {**facts(config, labels, patch, code), **(mirrors[0] if mirrors else {})}
  axes = options.get("axes")
  axes = range(len(patch)) if axes is None else sorted({axis % len(patch) for axis in axes})
  return {"mirror_axes": tuple(axes), "swap": options["swap"], "swap_axis": options["swap_axis"]}


def augmentation(
  config: dict[str, Any], patch: tuple[int, ...], labels: LabelSpec, spacing=None, *, code: str = ""
):
  """((key, sample) -> sample, the size to cut out of a case for it)."""
  given = facts(config, labels, patch, code)
  chain = {
    key: bind(augment.AUGMENTATIONS, {"name": key, **spec}, f"augment.{key}", **given)
    for key, spec in config["augment"].items()
    if spec.get("name", key) not in augment.MIXTURES
  }
  crop = patch
  for transform in chain.values():
    if transform.func is augment.spatial:
      crop = augment.crop_size(spacing=spacing, **transform.keywords)
  return augment.chain(chain, patch), crop


def mixture(config: dict[str, Any], classes: int) -> Callable:
  """(key, batch) -> batch: those of the config's augmentations that mix samples."""
  return augment.mixture(
    {
      key: bind(augment.MIXTURES, {"name": key, **spec}, f"augment.{key}", classes=classes)
      for key, spec in config["augment"].items()
      if spec.get("name", key) in augment.MIXTURES
    }
  )


def window(config: dict[str, Any], network, patch: tuple[int, ...], slices: int | None):
  """The config's predictor with the patch bound: (apply, Case, **options) -> scores."""
  rank = len(patch)
  return bind(
    inference.PREDICTORS,
    config["predictor"],
    "predictor",
    patch=patch,
    total_stride=network.total_stride(rank),
    margin=network.margin(rank),
    axis=slices,
  )


def experiment(config) -> Experiment:
  """Builds everything that a config names; raises ValueError in words for what is wrong in it."""
  config = complete(config)
  # a misspelt name is told before data are prepared, which may take minutes
  bind(networks.NETWORKS, config["network"], "network")
  bind(methods.METHODS, method_options(config), "method")
  loss(config)
  class_weights(config)
  wanted = maps(config)
  source = source_of(config)
  prepared, training, validation = dataset(config, source)
  weighed = class_weights(config, lambda: data.label_counts(prepared, training))
  prepared = data.with_maps(prepared, wanted, training)
  if config["data"]["prior"]:
    folds = run_folder.run_folders(cascade.run_of(config["data"]["prior"]))
    prepared = cascade.with_prior(prepared, folds, source.read)
  options = config["data"]
  patch = tuple(options["patch"])
  spacing = prepared.load(training[0])["spacing"]
  if options["slices"] is not None:
    spacing = np.delete(spacing, options["slices"])
  chain, crop = augmentation(
    config, patch, prepared.labels, spacing, code=prepared.preparation.code
  )
  regions = prepared.labels.regions is not None
  net = network(config, prepared.labels.channels)
  how = sampling(
    prepared.rank,
    patch=patch,
    crop=crop,
    margin=net.margin(len(patch)),
    batch=options["batch"],
    foreground=options["foreground"],
    slices=options["slices"],
    seed=config["seed"],
  )
  return Experiment(
    config=config,
    method=method(weighed, net, regions=regions),
    network=net,
    dataset=prepared,
    training=training,
    validation=validation,
    watched=chosen(validation, config["evaluate"]["cases"]),
    sampling=how,
    augment=chain,
    patch=patch,
    predict=window(config, net, patch, options["slices"]),
    read=source.read,
    mix=mixture(config, prepared.labels.channels),
  )


def chosen(validation: tuple[int, ...], count: int) -> tuple[int, ...]:
  """`count` of the validation cases, evenly spread; all of them for 0."""
  if not count or count >= len(validation):
    return validation
  return tuple(validation[math.floor(i * len(validation) / count)] for i in range(count))
