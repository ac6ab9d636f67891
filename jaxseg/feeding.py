"""A config -> the streams that a batch is made of: sources, cases, prepared sets, augmentation.

A further stream is made as the main one is, from the config that it were the main stream of
(`config.streams.as_main`).
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxseg import augment, data
from jaxseg.batch import LabelSpec
from jaxseg.build import bind, build
from jaxseg.compose import split_options
from jaxseg.config import synthesis
from jaxseg.config.annotation import is_full
from jaxseg.config.streams import (
  HELD_BACK,
  PREPARATION,
  TRAINING,
  UNLABELLED,
  as_main,
  named,
)
from jaxseg.data.prepared import maps as data_maps
from jaxseg.data.prepared.dataset import Dataset
from jaxseg.data.prepared.fields import without_labels
from jaxseg.data.prepared.normalise import needs_statistics, schemes
from jaxseg.data.prepared.pairs import as_pairs
from jaxseg.data.sampling import Sampling, sampling
from jaxseg.data.sources.chosen_classes import with_classes
from jaxseg.data.sources.source import annotated
from jaxseg.data.stream import MAIN, Stream, number
from jaxseg.feed import Feed, Sides, other_classes, trained_on, with_fields
from jaxseg.feed import fields_of as fields_of
from jaxseg.feed import label_files as label_files

Sources = Callable[[dict[str, Any]], data.Source]


def source_of(config: dict[str, Any]) -> data.Source:
  """The cases of a config's data set as the user's files have them, in the classes that count."""
  source = build(data.SOURCES, config["data"]["source"], "data.source")
  if set(source.cases) <= source.unlabelled:
    return source
  return with_classes(source, config["data"]["classes"])


def divided(config: dict[str, Any], source: data.Source) -> Sides:
  """How config.data.split divides a source; without one, all cases train.

  Cases without labels neither train nor validate, unless images are made of images; those of a
  group that validates are not fed without labels either.
  """
  folds, share = split_options(config)
  rest: tuple[str, ...] = ()
  bare = source.unlabelled
  if not (synthesis.needs_labels(config) and is_full(config)):
    source = source._replace(unlabelled=frozenset())
  if folds:
    train, validation = bind(data.SPLITS, folds, "data.split")(annotated(source).cases)
  else:
    train, validation = tuple(c for c in source.cases if c not in source.unlabelled), ()
  if synthesis.needs_labels(config) and (unjudged := [case for case in validation if case in bare]):
    raise ValueError(
      f"config.data.split: case '{unjudged[0]}' validates and has no full label; name the cases "
      'that have one, as dict(name="explicit", validation=(...)).'
    )
  if share:
    train, rest = data.splits.share(train, **share, group=folds.get("group"))
  bare = source.unlabelled | set(rest)
  bare = [case for case in source.cases if case in bare]
  apart = data.splits.apart(bare, validation, group=folds.get("group"))
  return Sides(train, validation, apart, tuple(case for case in apart if case in set(rest)))


def feeds(config: dict[str, Any], sources: Sources = source_of) -> dict[str, Feed]:
  """What every stream is fed from; raises ValueError in words where that is nothing.

  `sources` gives the cases of a stream, by the config of a run whose main stream it were.
  """
  source = sources(config)
  sides = divided(config, source)
  if not sides.train:
    annotated(source)  # says that no case has a label
    raise ValueError(
      "config.data.split.labelled: 0, but the main stream's cases learn from labels; expected 1 or "
      "more (a further stream's may have none)."
    )
  # what makes images of images learns from cases without labels as well
  labelled = not (is_full(config) and source.unlabelled & {*sides.train, *sides.validation})
  main = Feed(_fitting(config, source), source, sides.train, labelled, sides, source.labels)
  every = {MAIN: main}
  every |= {name: _feed(config, name, main, sources) for name in config["streams"]}
  for sentence in trained_on(every, config["evaluate"]["streams"]):
    warnings.warn(sentence, stacklevel=2)
  return every


def _feed(config: dict[str, Any], name: str, main: Feed, sources: Sources) -> Feed:
  spec, view = config["streams"][name], as_main(config, name)
  source, sides = main.source, main.sides
  if "source" in spec:
    with named(name):
      source = sources(view)
      sides = divided(view, source)
  which = spec.get("cases", TRAINING)
  bare = which == UNLABELLED or not sides.train
  cases = {UNLABELLED: sides.unlabelled, HELD_BACK: sides.held_back}.get(which, sides.train)
  cases = sides.unlabelled if bare else cases
  if not cases and which == HELD_BACK:
    raise ValueError(
      f"config.streams.{name}.cases: '{HELD_BACK}', but the main stream leaves no case out; "
      "expected config.data.split.labelled, the share of the training cases that it has, as 0.5."
    )
  if not cases:
    raise ValueError(
      f"config.streams.{name}.cases: '{UNLABELLED}', but every case of '{source.name}' trains or "
      "validates with its label; expected a part of them to be labelled "
      "(config.data.split.labelled), or a source with cases that have none (its option labelled)."
    )
  # where labels aren't needed, cases that have none train with those that have some
  bare = bare or (is_full(view) and bool(source.unlabelled & set(cases)))
  if bare and spec.get("foreground"):
    raise ValueError(
      f"config.streams.{name}.foreground: {spec['foreground']}, but the cases have no labels to "
      "centre patches on; leave it out."
    )
  ours, theirs = main.source.labels, source.labels
  if not bare and (words := other_classes(source, ours)):
    raise ValueError(
      f"config.streams.{name}.source: {words}; expected the same classes in the same order (choose "
      "those that count by config.data.classes), or labelled=False."
    )
  if bare and synthesis.from_label(config):
    raise ValueError(
      f"config.streams.{name}: its cases have no labels, of which config.task makes images."
    )
  labels, paired = ours if bare else theirs, spec.get("cases", TRAINING) != UNLABELLED
  fitting = _fitting(view, source)
  return Feed(fitting, source, cases, not bare, sides, labels, paired, frozenset(spec))


def _fitting(config: dict[str, Any], source: data.Source) -> dict[str, Any]:
  """The config of a stream, its normalisation such that what is made of images can be undone."""
  normalise = synthesis.normalisation(config, source.channels)
  return {**config, "data": {**config["data"], "normalise": normalise}}


def normalisation(feed: Feed, main: Feed) -> tuple[tuple[dict, bool], ...]:
  """A scheme for each channel, and whether its numbers are those of the main stream's channel.

  They are where a stream leaves the scheme to config.data: one network sees both, and CT's numbers
  mean the same in both. Raises ValueError for numbers that cases without labels cannot give.
  """
  chosen = schemes(feed.config["data"]["normalise"], feed.source.channels)
  if feed.drawn and any(of["name"] == "ct" and needs_statistics(of) for of in chosen):
    raise ValueError(
      "config.data.normalise: 'ct' takes its numbers from the foreground of full labels, and "
      f"config.data.annotation is '{feed.config['data']['annotation']}'; give it lower, upper, "
      "mean and std, or choose another scheme."
    )
  if feed is main:
    return tuple((scheme, False) for scheme in chosen)
  theirs = schemes(main.config["data"]["normalise"], main.source.channels)
  shared = [
    "normalise" not in feed.own and theirs[i : i + 1] == (scheme,)
    for i, scheme in enumerate(chosen)
  ]
  for scheme, taken in zip(chosen, shared, strict=True):
    if scheme["name"] == "ct" and needs_statistics(scheme) and not (feed.labelled or taken):
      raise ValueError(
        "config.data.normalise: 'ct' takes its numbers from the foreground, and these cases have "
        "no labels; give it lower, upper, mean and std, or choose another scheme."
      )
  return tuple(zip(chosen, shared, strict=True))


def prepared(feed: Feed, main: Feed, dataset: Dataset | None = None) -> Dataset:
  """The prepared set of a stream; `dataset` is the main stream's, once there is one.

  It is that one where source and preparation are the same.
  """
  options = {name: feed.config["data"][name] for name in PREPARATION}
  if dataset is not None:
    if feed.source is main.source and options == {n: main.config["data"][n] for n in PREPARATION}:
      return dataset
    filled = dataset.preparation.normalisation
    options["normalise"] = tuple(
      filled[i] if taken else scheme for i, (scheme, taken) in enumerate(normalisation(feed, main))
    )
    # the network sees both the same way round
    if "orientation" not in feed.own and feed.source.rank == 3 and dataset.preparation.code:
      options["orientation"] = dataset.preparation.code
  return data.prepare(
    feed.source,
    **options,
    workers=feed.config["data"]["workers"] or None,
    cache_dir=feed.config["data"]["folder"],
    train_cases=feed.sides.train or feed.cases,
  )


def indices(dataset: Dataset, cases: tuple[str, ...]) -> tuple[int, ...]:
  """Names of cases -> their places in a data set."""
  position = {name: i for i, name in enumerate(dataset.names)}
  return tuple(position[name] for name in cases)


def facts(
  config: dict[str, Any], labels: LabelSpec, patch: tuple[int, ...], code: str = ""
) -> dict[str, Any]:
  """Options of augmentations that the data tell; the config's own go before.

  `code` is the orientation of what is augmented; "" where it isn't known.
  """
  sideways = _sideways(config["data"], len(patch), code)
  swap = {"swap": (), "swap_axis": -1}  # a plane without left and right
  if sideways is not None:
    pairs = labels.mirror_pairs if synthesis.swaps(config) else ()
    swap = {"swap": pairs, "swap_axis": sideways}
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
  sideways = _sideways(config["data"], len(patch), code)
  synthesis.check_mirrors(config, labels.mirror_pairs, sideways)
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


def sampling_of(feed: Feed, name: str, crop: tuple[int, ...], margin: tuple[int, ...]) -> Sampling:
  """How a stream's patches are drawn."""
  options = feed.config["data"]
  return sampling(
    feed.source.rank,
    patch=options["patch"],
    crop=crop,
    margin=margin,
    batch=options["batch"],
    foreground=options["foreground"] if feed.labelled else 0.0,
    annotated=feed.drawn,
    slices=options["slices"],
    seed=feed.config["seed"],
    stream=number(name) if name != MAIN else 0,
  )


def stream(
  feed: Feed, name: str, dataset: Dataset, maps: Mapping[str, Mapping], margin: tuple[int, ...]
) -> Stream:
  """A stream from its prepared set.

  Args:
    feed: what it is fed from.
    name: its name.
    dataset: the prepared set of its source.
    maps: those that the losses need, of cases with labels.
    margin: voxels per side that the network loses.
  """
  options, cases = feed.config["data"], indices(dataset, feed.cases)
  makers = data_maps.makers(dataset, maps) if feed.labelled else {}
  if not feed.labelled:
    dataset = without_labels(dataset)._replace(labels=feed.labels)
  dataset = with_fields(feed, dataset, cases, makers)
  if made := synthesis.target_names(feed.config):
    dataset = as_pairs(dataset, feed.config["task"]["inputs"], made, paired=feed.paired)
  patch, spacing = tuple(options["patch"]), dataset.load(cases[0])["spacing"]
  if options["slices"] is not None:
    spacing = np.delete(spacing, options["slices"])
  labels, code = dataset.labels, dataset.preparation.code
  chain, crop = augmentation(feed.config, patch, labels, spacing, code=code)
  how = sampling_of(feed, name, crop, margin)
  return Stream(dataset, cases, how, chain, mixture(feed.config, labels.channels))
