"""A config -> the values that the loop takes. With the verbs, the only code that sees a config."""

import math
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxseg import augment, data
from jaxseg.batch import LabelSpec
from jaxseg.build import bind, build, suggestion
from jaxseg.compose import (
  class_weights,
  complete,
  layout,
  maps,
  method,
  networks_by_role,
  task,
  window,
)
from jaxseg.config import rehearsal
from jaxseg.data.prepared.dataset import Dataset
from jaxseg.data.prepared.normalise import schemes
from jaxseg.data.prepared.preparation import check_target, check_transpose
from jaxseg.data.sampling import Sampling, sampling
from jaxseg.data.stream import MAIN, Stream
from jaxseg.method import Method
from jaxseg.planning import planned_config as planned
from jaxseg.runs import first_stage as cascade
from jaxseg.runs import folder as run_folder
from jaxseg.runs import networks as other_runs
from jaxseg.sharding import Layout
from jaxseg.task import Task


class Experiment(NamedTuple):
  """Everything that `loop.train` needs, built.

  Attributes:
    config: the plain config, for the run folder.
    method: the training scheme.
    network: the network that the method trains.
    task: what its output means.
    streams: what a batch is made of; MAIN, "", is the one that every run has.
    validation: indices into the main stream's data set.
    watched: the validation cases that are scored while training.
    patch: what the network is fed.
    predict: (apply, Case, **options) -> (*space, k) scores.
    read: case name -> the case as the user's files have it.
    layout: the devices, and what each of them holds.
  """

  config: dict[str, Any]
  method: Method
  network: Any
  task: Task
  streams: dict[str, Stream]
  validation: tuple[int, ...]
  watched: tuple[int, ...]
  patch: tuple[int, ...]
  predict: Callable
  read: Callable[[str], data.RawCase]
  layout: Layout

  @property
  def main(self) -> Stream:
    """The stream that validation, fingerprints and scores belong to."""
    return self.streams[MAIN]


def source_of(config: dict[str, Any]) -> data.Source:
  """The cases of a config's data set as the user's files have them."""
  return build(data.SOURCES, config["data"]["source"], "data.source")


def split(config: dict[str, Any], source: data.Source) -> data.splits.Split:
  """The names of the cases that train, and of those that validate."""
  return bind(data.SPLITS, config["data"]["split"], "data.split")(source.cases)


def dataset(
  config: dict[str, Any], source: data.Source
) -> tuple[Dataset, tuple[int, ...], tuple[int, ...]]:
  """The prepared data set of a config's source, with the training and the validation indices."""
  options = config["data"]
  training, validation = split(config, source)
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
  _check_swaps(config, labels)
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


def _check_swaps(config: dict[str, Any], labels: LabelSpec) -> None:
  for key, spec in config["augment"].items():
    for pair in spec.get("swap", ()):
      if not all(0 <= number < labels.channels for number in pair):
        raise ValueError(
          f"config.augment.{key}.swap: {pair} names a class that there is not; expected numbers "
          f"from 0 to {labels.channels - 1}."
        )


def mixture(config: dict[str, Any], classes: int) -> Callable:
  """(key, batch) -> batch: those of the config's augmentations that mix samples."""
  return augment.mixture(
    {
      key: bind(augment.MIXTURES, {"name": key, **spec}, f"augment.{key}", classes=classes)
      for key, spec in config["augment"].items()
      if spec.get("name", key) in augment.MIXTURES
    }
  )


def experiment(config) -> Experiment:
  """Builds everything that a config names; raises ValueError in words for what is wrong in it.

  What a plan decides is resolved first. All that needs no data is tried before they are prepared,
  which may take minutes.
  """
  config = complete(planned.resolve(config))
  options, wanted = config["data"], maps(config)
  source = source_of(config)
  split(config, source)
  folds = ()
  if options["prior"]:
    folds = run_folder.run_folders(cascade.run_of(options["prior"]))
  devices = _rehearse(config, source, (*wanted, *(("prior",) if folds else ())))
  prepared, training, validation = dataset(config, source)
  weighed = class_weights(config, lambda: data.label_counts(prepared, training))
  prepared = data.with_maps(prepared, wanted, training)
  if folds:
    prepared = cascade.with_prior(prepared, folds, source.read)
  patch = tuple(options["patch"])
  spacing = prepared.load(training[0])["spacing"]
  if options["slices"] is not None:
    spacing = np.delete(spacing, options["slices"])
  chain, crop = augmentation(
    config, patch, prepared.labels, spacing, code=prepared.preparation.code
  )
  nets = networks_by_role(config, prepared.labels.channels)
  net = nets["network"]
  main = Stream(
    dataset=prepared,
    cases=training,
    sampling=_sampling(config, prepared.rank, crop, net),
    augment=chain,
    mix=mixture(config, prepared.labels.channels),
  )
  return Experiment(
    config=config,
    method=method(weighed, nets, regions=prepared.labels.regions is not None, layout=devices),
    network=net,
    task=task(config, prepared.labels),
    streams={MAIN: main},
    validation=validation,
    watched=chosen(validation, config["evaluate"]["cases"]),
    patch=patch,
    predict=window(config, net, patch, options["slices"]),
    read=source.read,
    layout=devices,
  )


def _sampling(config: dict[str, Any], rank: int, crop: tuple[int, ...], network) -> Sampling:
  options = config["data"]
  return sampling(
    rank,
    patch=options["patch"],
    crop=crop,
    margin=network.margin(len(options["patch"])),
    batch=options["batch"],
    foreground=options["foreground"],
    slices=options["slices"],
    seed=config["seed"],
  )


def _rehearse(config: dict[str, Any], source: data.Source, fields: tuple[str, ...]) -> Layout:
  """Tries all parts of an experiment on shapes; `fields` are a batch's further ones."""
  options, labels, channels = config["data"], source.labels, len(source.channels)
  patch, slices = tuple(options["patch"]), options["slices"]
  schemes(options["normalise"], source.channels)
  check_target(options["spacing"], source.rank)
  check_transpose(options["transpose"], source.rank)
  other_runs.check(config, labels, source.channels)
  nets = networks_by_role(config, labels.channels)
  net = nets["network"]
  predictor = window(config, net, patch, slices)
  _sampling(config, source.rank, patch, net)
  with rehearsal.told("config.augment"):
    augmentation(config, patch, labels)
  rehearsal.predict(predictor, net, channels, labels.channels, rank=len(patch), slices=slices)
  devices = layout(config, net)
  state = rehearsal.train(
    method(config, nets, regions=labels.regions is not None, layout=devices),
    mixture(config, labels.channels),
    rehearsal.batch_shapes((options["batch"], *patch), channels, labels, fields=fields),
  )
  devices.of_state(state)
  for learner, folder in config["initialise"].items():
    if learner not in state.learners:
      raise ValueError(
        f"config.initialise.{learner}: the method has no such learner"
        f"{suggestion(learner, state.learners)}; it has {', '.join(state.learners)}."
      )
    if not pathlib.Path(folder).is_dir():
      raise FileNotFoundError(f"config.initialise.{learner}: {folder}: there is no such folder.")
    if not run_folder.steps_done(folder):
      raise FileNotFoundError(
        f"config.initialise.{learner}: {folder}: holds no checkpoint; expected the folder of a run "
        "(train.py's --workdir; of a cross-validation, that of a fold)."
      )
  return devices


def chosen(validation: tuple[int, ...], count: int) -> tuple[int, ...]:
  """`count` of the validation cases, evenly spread; all of them for 0."""
  if not count or count >= len(validation):
    return validation
  return tuple(validation[math.floor(i * len(validation) / count)] for i in range(count))
