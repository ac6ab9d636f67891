"""A config -> the values that the loop takes. With the verbs, the only code that sees a config."""

import contextlib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxseg import data, feeding, held_cases, methods
from jaxseg.batch import LabelSpec
from jaxseg.compose import (
  complete,
  frozen_from_nothing,
  layout,
  method,
  networks_by_role,
  task,
  window,
)
from jaxseg.config import (
  accumulation,
  domains,
  effects,
  encoder_inputs,
  modalities,
  needs,
  rehearsal,
  source_runs,
  synthesis,
)
from jaxseg.config import networks as other_runs
from jaxseg.config import roles as config_roles
from jaxseg.config.streams import MAIN_WORD, named
from jaxseg.config.streams import joins as joining
from jaxseg.data.prepared.preparation import check_size, check_target, check_transpose
from jaxseg.data.stream import MAIN, HeldCases, Stream
from jaxseg.method import Method, learns
from jaxseg.objectives import class_weights, counted_weights, loss_parts, maps
from jaxseg.planning import planned_config as planned
from jaxseg.runs import first_stage as cascade
from jaxseg.runs import initialise, unseen
from jaxseg.sharding import BATCH, Layout
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
    starts: learner -> where its weights come from, of those that don't begin anew.
    targets: channel that is made -> its normalisation; {} of networks that segment.
    notes: what is to be told of it, a sentence each.
    held_out: the cases that the final weights are scored on, if not `validation` alone.
    watched_further: cases of further streams that are scored while training, beside `watched`.
    class_weights: those that are counted: of which streams' labels, as main or main+other -> field
      of the loss -> numbers.
    handed_down: what the networks of other runs that have a part in it had learnt from.
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
  starts: Mapping[str, initialise.Start] = {}
  targets: Mapping[str, Mapping] = {}
  notes: tuple[str, ...] = ()
  held_out: tuple[HeldCases, ...] = ()
  watched_further: tuple[HeldCases, ...] = ()
  class_weights: Mapping[str, Mapping[str, Sequence[float]]] = {}
  handed_down: Sequence[Mapping[str, Any]] = ()

  @property
  def scored_cases(self) -> tuple[HeldCases, ...]:
    """The cases that the final weights are scored on, of one or more streams."""
    own = HeldCases(MAIN, self.main.dataset, self.validation, self.read)
    return self.held_out or (own,)

  @property
  def watched_cases(self) -> tuple[HeldCases, ...]:
    """The cases that are scored while training, of one or more streams."""
    own = HeldCases(MAIN, self.main.dataset, self.watched, self.read)
    return (own, *self.watched_further)

  @property
  def main(self) -> Stream:
    """The stream that validation, fingerprints and scores belong to."""
    return self.streams[MAIN]


def experiment(
  config,
  *,
  sources: feeding.Sources = feeding.source_of,
  devices: Sequence | None = None,
  like: Experiment | None = None,
  begun: bool = False,
) -> Experiment:
  """Builds everything that a config names; raises ValueError in words for what is wrong in it.

  What a plan decides is resolved first. All that needs no data is tried before they are prepared,
  which may take minutes.

  Args:
    config: a ConfigDict, or plain data.
    sources: gives the cases of every stream, see `feeding.feeds`; by default those that the config
      names.
    devices: those of its layout; all that there are if None.
    like: the experiment of a config that differs in seed and fold alone; what was tried with that
      isn't tried again.
    begun: it goes on from a checkpoint, which has what config.initialise once took.
  """
  config = complete(planned.resolve(config))
  options, map_options = config["data"], maps(config)
  feeds = feeding.feeds(config, sources)
  held_cases.check(config, feeds)
  fed = feeds[MAIN]
  folds, group = (), options["split"].get("group")
  if options["prior"]:
    folds = cascade.folds_of(options["prior"])
    unseen.check_groups(folds, group)
  others = {**other_runs.folders(config), **source_runs.folders(config)}
  begins = other_runs.begins(config)
  told = unseen.leaks(config, others, held_cases.validating(config, feeds), begins)
  teachers = other_runs.several(config)
  held_out_by = unseen.folds(teachers, group=group)
  if like is None or other_runs.starts(config) != other_runs.starts(like.config):
    fields = ("prior",) if folds else ()
    placed, starts, notes = _rehearse(
      config, feeds, map_options, fields, devices=devices, begun=begun
    )
  else:
    placed, starts, notes = like.layout, like.starts, like.notes
  prepared = feeding.prepared(fed, fed)
  workers = options["workers"] or None
  earlier = {"prior": cascade.prior(prepared, folds, fed.source.read)} if folds else {}
  first_stage = data.with_fields(prepared, earlier, workers=workers)
  numbers = dict(zip(prepared.channels, prepared.preparation.normalisation, strict=True))
  other_domain = _other_domain(config, feeds)
  aim = task(config, prepared.labels, numbers, other_domain)
  nets = networks_by_role(config, aim.channels)
  net, patch = nets["network"], tuple(options["patch"])
  streams, sets = {}, {}
  for name, feed in feeds.items():
    dataset = first_stage if name == MAIN else feeding.prepared(feed, fed, prepared)
    dataset = sets[name] = domains.numbered(config, name, dataset)
    with named(name):
      streams[name] = feeding.stream(feed, name, dataset, map_options, net.margin(len(patch)))
  weighted, of_domains = weighed(config, streams)
  if teachers:
    told.append(unseen.shared(streams, held_out_by, own=prepared, number=len(teachers)))
  other_runs.check_numbers(config, prepared.preparation)
  validation = feeding.indices(prepared, fed.sides.validation)
  held = held_cases.cases_of(config, feeds, sets) if config["evaluate"]["streams"] else ()
  return Experiment(
    config=config,
    method=method(
      weighted,
      nets,
      regions=prepared.labels.regions is not None,
      layout=placed,
      domains=of_domains,
    ),
    network=net,
    task=aim,
    streams=streams,
    validation=validation,
    watched=evenly_spread(validation, config["evaluate"]["cases"]),
    patch=patch,
    predict=window(config, net, patch, options["slices"], devices=placed.sizes[BATCH]),
    read=fed.source.read,
    layout=placed,
    starts=starts,
    targets=other_domain | {name: numbers[name] for name in synthesis.target_names(config)},
    notes=(*notes, *told),
    held_out=held,
    watched_further=tuple(
      of._replace(cases=evenly_spread(of.cases, config["evaluate"]["cases"]))
      for of in held
      if of.stream != MAIN and domains.differ(config)
    ),
    class_weights={
      name: numbers
      for name, of in {
        "+".join(n or MAIN_WORD for n in _learnt(config)): weighted,
        **of_domains,
      }.items()
      if (numbers := counted_weights(config, of))
    },
    handed_down=unseen.handed_down(itertools.chain(begins.values(), *others.values())),
  )


def weighed(
  config: dict[str, Any], streams: Mapping[str, Stream]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
  """The config with its class weights counted, by what training sees of the labels.

  And further stream -> the same of its cases, where each stream is a domain with a loss of its own.
  """

  def counted(names):
    def count():
      return np.concatenate(
        [data.label_counts(streams[n].dataset, streams[n].cases) for n in names]
      )

    return class_weights(config, count)

  first = counted(_learnt(config))
  by_domain = needs.of(config).domains and first is not config
  # what joins the main stream is counted with it
  own = [name for name in config["streams"] if by_domain and name not in joining(config)]
  return first, {name: counted((name,)) for name in own}


def _learnt(config: dict[str, Any]) -> tuple[str, ...]:
  """The streams that are learnt from as one: the main one's, and those that join it."""
  joins = joining(config)
  return (*((MAIN,) if methods.joined.INSTEAD not in joins.values() else ()), *joins)


def _rehearse(
  config: dict[str, Any],
  feeds: dict[str, feeding.Feed],
  maps_of,
  fields: tuple[str, ...],
  *,
  devices: Sequence | None,
  begun: bool,
) -> tuple[Layout, dict[str, initialise.Start], tuple[str, ...]]:
  """Tries all parts of an experiment on shapes.

  `maps_of` are fields of the cases with labels, `fields` further ones of the main stream,
  `devices` those to lay it out over; `begun` as of `experiment`. Returns the layout, where weights
  come from, and what is to be told.
  """
  main = feeds[MAIN]
  options, labels = config["data"], main.source.labels
  patch, slices = tuple(options["patch"]), options["slices"]
  other_runs.check(config, labels, main.source.channels)
  encoder_inputs.check_origin(config)
  schemes = {}
  for name, feed in feeds.items():
    with named(name):
      schemes[name] = [scheme for scheme, _ in feeding.normalisation(feed, main)]
    where = f"config.streams.{name}" if name else "config.data"
    encoder_inputs.check(config, schemes[name], where)
  needs.check_other_domains(config, {name: feed.source for name, feed in feeds.items()}, schemes)
  numbers = dict(zip(main.source.channels, schemes[MAIN], strict=True))
  aim = task(config, labels, numbers, _other_domain(config, feeds))
  nets = networks_by_role(config, aim.channels)
  net = nets["network"]
  predictor = window(config, net, patch, slices)
  parts, everywhere = {}, (unseen.FIELD,) if other_runs.several(config) else ()
  for name, feed in feeds.items():
    further = (*feeding.fields_of(feed, maps_of), *(fields if name == MAIN else ()), *everywhere)
    with named(name):
      parts[name] = _part(feed, name, main, net.margin(len(patch)), further)
  needs.check_fields(config, parts[MAIN].shapes)
  needs.check_labels(config, {name: of.shapes for name, of in parts.items()})
  channels = synthesis.input_channels(config, len(main.source.channels), labels.channels)
  rehearsal.predict(predictor, net, channels, aim.channels, rank=len(patch), slices=slices)
  placed = layout(config, net, devices)
  scheme = method(config, nets, regions=labels.regions is not None, layout=placed)
  state = rehearsal.train(scheme, parts, aim, scored=held_cases.names(config))
  placed = placed.tried(state)
  weights = other_runs.starts(config)
  other_runs.check_trained(config, state.learners)
  config_roles.check_average(config, state.learners)
  alike = [name for name in weights if name in state.learners and learns(state.learners[name])]
  if alike and config["members"] > 1:
    raise ValueError(
      f"config.members: {config['members']} networks with weights from elsewhere "
      f"({', '.join(alike)}); they differ by their first weights alone: expected 1, and runs of "
      "their own, which `jaxseg predict` averages."
    )
  starts = initialise.plan(
    weights,
    state.learners,
    lambda: _varied(config, labels, aim, parts, placed),
    members=config["members"],
    begun=begun,
  )
  follows = methods.FOLLOWERS.get(config["method"]["name"], {})
  starts = {
    name: start._replace(followers=tuple(of for of, first in follows.items() if first == name))
    for name, start in starts.items()
  }
  kind = "index" if labels.regions is None else "soft"
  whole_batch = accumulation.notes(
    config,
    loss_parts(config, regions=labels.regions is not None),
    {name: of.stats for name, of in state.learners.items() if learns(of)},
    channels=aim.channels,
    labels="image" if synthesis.makes_images(config) else kind,
    ignored=labels.ignore is not None or main.drawn,
  )
  photographs = encoder_inputs.notes(config, schemes[MAIN])
  random = frozen_from_nothing(config, state.learners, starts)
  shared = methods.notes(config["method"]["name"], state.learners)
  told = (*shared, *whole_batch, *random, *photographs, *effects.notes(config))
  return placed, starts, (*told, *other_runs.check_patch(config, nets))


def _other_domain(
  config: dict[str, Any], feeds: Mapping[str, feeding.Feed]
) -> dict[str, Mapping[str, Any]]:
  """Channel -> normalisation, of the domain whose images are made; {} of other tasks."""
  if config["task"]["name"] != synthesis.TRANSLATION:
    return {}
  (name,) = needs.of(config).other_domains
  with named(name):
    each = feeding.normalisation(feeds[name], feeds[MAIN])
  channels = feeds[name].source.channels
  return dict(zip(channels, (scheme for scheme, _ in each), strict=True))


def _varied(
  config: dict[str, Any], labels: LabelSpec, aim: Task, parts, devices: Layout
) -> dict[str, Any]:
  """The shapes of a method's learners with one class more, and with one input channel more."""
  own = {name: of for name, of in config["network"].items() if name != "classes"}
  out = {}
  for kind, classes, inputs in ((initialise.CLASSES, 1, 0), (initialise.INPUTS, 0, 1)):
    # a network that takes no other number has nothing that goes by it
    with contextlib.suppress(ValueError):
      nets = networks_by_role({**config, "network": own}, aim.channels + classes)
      scheme = method(config, nets, regions=labels.regions is not None, layout=devices)
      out[kind] = rehearsal.init(scheme, parts, inputs).learners
  return out


def _part(
  feed: feeding.Feed, name: str, main: feeding.Feed, margin: tuple[int, ...], fields
) -> rehearsal.Part:
  """What a stream gives to the batch, in shapes; raises ValueError for what it cannot."""
  options, labels = feed.config["data"], feed.labels
  patch = tuple(options["patch"])
  channels = synthesis.input_channels(feed.config, len(feed.source.channels), labels.channels)
  feeding.label_files(feed)
  numbers = [scheme for scheme, _ in feeding.normalisation(feed, main)]
  modalities.check(feed.config, feed.source, numbers, channels)
  check_target(options["spacing"], feed.source.rank)
  check_transpose(options["transpose"], feed.source.rank)
  check_size(options["resampling"].get("size", ()), options["spacing"], feed.source.rank)
  feeding.sampling_of(feed, name, patch, margin)
  made = len(synthesis.target_names(feed.config)) if feed.paired else 0
  of = {"labelled": feed.labelled, "weighted": feed.drawn, "fields": fields, "made": made}
  with rehearsal.one_line_errors("config.augment"):
    chain, crop = feeding.augmentation(feed.config, patch, labels)
    if name != MAIN:
      rehearsal.augment(chain, rehearsal.batch_shapes((1, *crop), channels, labels, **of))
  shapes = rehearsal.batch_shapes((options["batch"], *patch), channels, labels, **of)
  return rehearsal.Part(feeding.mixture(feed.config, labels.channels), shapes)


def evenly_spread(validation: tuple[Any, ...], count: int) -> tuple[Any, ...]:
  """`count` of the validation cases, evenly spread; all of them for 0."""
  if not count or count >= len(validation):
    return validation
  return tuple(validation[math.floor(i * len(validation) / count)] for i in range(count))
