"""What a stream is fed from, and the fields that its cases have besides image and label."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jaxseg import data
from jaxseg.batch import LabelSpec, kind
from jaxseg.build import bind
from jaxseg.config.annotation import is_full
from jaxseg.config.modalities import drops_modalities
from jaxseg.data.prepared.annotation import annotated_by
from jaxseg.data.prepared.dataset import Dataset
from jaxseg.data.prepared.marks import check_boxed, check_drawn, readers
from jaxseg.data.sources import places
from jaxseg.data.stream import MAIN


class Sides(NamedTuple):
  """Names of cases: those that train with their labels, that validate, that have no labels.

  `held_back` are those of the last whose labels config.data.split.labelled leaves out.
  """

  train: tuple[str, ...]
  validation: tuple[str, ...]
  unlabelled: tuple[str, ...]
  held_back: tuple[str, ...] = ()


class Feed(NamedTuple):
  """What a stream is fed from, known before any case is read.

  Attributes:
    config: of a run whose main stream it were.
    source: the cases as the user's files have them.
    cases: names of those that are fed.
    labelled: whether their labels are fed.
    paired: whether an image that is to be made of theirs is fed, if the task has one.
    sides: how the source is divided.
    labels: what labels mean: the main stream's, of a stream that has none.
    own: the fields of config.data that the stream has of its own.
  """

  config: dict[str, Any]
  source: data.Source
  cases: tuple[str, ...]
  labelled: bool
  sides: Sides
  labels: LabelSpec
  paired: bool = True
  own: frozenset[str] = frozenset()

  @property
  def drawn(self) -> bool:
    """Whether its cases learn from what was drawn in place of full labels."""
    return self.labelled and not is_full(self.config)


def trained_on(feeds: Mapping[str, Feed], scored: Sequence[str]) -> Iterator[str]:
  """Sentences about streams that are fed cases which validate in another one, or their groups.

  `scored` are the further streams that config.evaluate.streams names.
  """
  for held in (MAIN, *(name for name in scored if name in feeds and name != MAIN)):
    for name, feed in feeds.items():
      if seen := () if name == held else _seen(feed, feeds[held]):
        yield _sentence(name, held, seen, labelled=feed.labelled)


def _seen(feed: Feed, held: Feed) -> tuple[str, ...]:
  """What a stream is fed of the cases that another source of the same files holds back."""
  # those of one source are divided by one split
  if feed.source is held.source:
    return ()
  if not places.same_files(feed.config["data"]["source"], held.config["data"]["source"]):
    return ()
  group = held.config["data"]["split"].get("group")
  return data.splits.related(feed.cases, held.sides.validation, group=group)


def _sentence(name: str, held: str, seen: Sequence[str], *, labelled: bool) -> str:
  what = f"{len(seen)} of its cases validate or are of a group that does (as '{seen[0]}')"
  scores = f"the scores are of images that were trained on{', with their labels' * labelled}"
  if held == MAIN:
    return (
      f"config.streams.{name}.source: lies where the main stream's does, and {what}: {scores}; "
      "leave the source out to be fed from the same split."
    )
  where = f"config.streams.{name}.source" if name else "config.data.source"
  return (
    f"{where}: lies where that of the stream '{held}' does, which is scored "
    f"(config.evaluate.streams), and {what}: {scores}; expected one split for both."
  )


def other_classes(source: data.Source, main: LabelSpec) -> str:
  """How the labels of a further source are not those of the main stream, in words; "" if they are.

  One network gives the scores of both.
  """
  theirs = source.labels
  if (main.names, main.regions) == (theirs.names, theirs.regions):
    return ""
  common = [name for name in main.scored if name in theirs.scored]
  shared = f"in common: {', '.join(common)}" if common else "no class in common"
  return (
    f"the labels of '{source.name}' are {', '.join(theirs.names)}, the main stream's "
    f"{', '.join(main.names)}, {shared}"
  )


def fields_of(feed: Feed, maps: Mapping[str, Mapping]) -> tuple[str, ...]:
  """The fields that a stream's cases have besides those of every case."""
  kept = _kept(feed)
  apart = ("modalities",) if feed.source.incomplete or drops_modalities(feed.config) else ()
  return (*(maps if feed.labelled else ()), *kept, *apart)


def _kept(feed: Feed) -> dict[str, dict[str, Any]]:
  """The fields that a sample has: not what its labels are made of, unless a loss looks at it."""
  options = feed.config["data"]
  own = options["annotation"] if feed.drawn else None
  return {name: of for name, of in options["fields"].items() if name != own or kind(name).map}


def _spec(feed: Feed, field: str) -> dict[str, Any]:
  """Where a field comes from; of an HDF5 set without a path of its own, from the set's files."""
  options = feed.config["data"]
  spec, source = options["fields"][field], options["source"]
  if spec["name"] != "h5" or "path" in spec:
    return spec
  if source["name"] != "h5":
    raise ValueError(
      f"config.data.fields.{field}.path: is missing; expected the folder of HDF5 files, for the "
      f"source '{source['name']}' has none."
    )
  return {"path": source["path"], **{k: source[k] for k in ("axes",) if k in source}, **spec}


def label_files(feed: Feed) -> None:
  """Raises FileNotFoundError or ValueError where a case that is fed lacks the file of a field.

  And where a class is drawn in none, if that is what training learns from.
  """
  for field in feed.config["data"]["fields"]:
    spec, where = _spec(feed, field), f"config.data.fields.{field}"
    stored = readers(spec, feed.cases, feed.labels, where)
    if feed.drawn and field == feed.config["data"]["annotation"]:
      check_drawn(stored, feed.labels, spec.get("unknown"), where)
      if spec["name"] == "box_file":
        check_boxed(spec, feed.cases, feed.labels, where)


def with_fields(
  feed: Feed, dataset: Dataset, cases: Sequence[int], makers: Mapping[str, data.Maker]
) -> Dataset:
  """The data set with the fields of the config, and of `makers`, in the samples of its cases.

  What its cases learn from in place of full labels is then their label.
  """
  options, every = feed.config["data"], dict(makers)
  workers = options["workers"] or None
  for field in options["fields"]:
    make = bind(data.FIELDS, _spec(feed, field), where := f"data.fields.{field}")
    every[field] = make(dataset, feed.cases, feed.source.read, f"config.{where}")
  if feed.drawn:
    field = options["annotation"]
    own, where = every.pop(field), f"config.data.fields.{field}"
    dataset = annotated_by(dataset, field, own, cases, where=where, workers=workers)
  return data.with_fields(dataset, every, cases, workers=workers)
