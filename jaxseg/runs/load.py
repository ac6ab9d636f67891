"""Run folders, or the folds of a cross-validation -> configurations that segment cases."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax
import jax
import numpy as np

from jaxseg import files, inference
from jaxseg.batch import LabelSpec
from jaxseg.compose import layout_of_windows, method, networks_by_role, task, window
from jaxseg.config import domains, rehearsal
from jaxseg.config.synthesis import TRANSLATION
from jaxseg.data.formats.images import integers
from jaxseg.data.prepared.label_files import decoded, on_grid
from jaxseg.data.prepared.pairs import LABEL
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.feeding import mirroring
from jaxseg.inference.segmentation import Configuration, seen_by, segment
from jaxseg.method import Learner, Method, State
from jaxseg.runs import checkpoint, same_run
from jaxseg.runs import first_stage as cascade
from jaxseg.runs import folder as run_folder
from jaxseg.runs.domain import describe
from jaxseg.runs.folder import run_folders
from jaxseg.sharding import BATCH, Layout
from jaxseg.task import Task, only


class Model(NamedTuple):
  """One configuration's trained runs, ready to predict.

  Attributes:
    described: what the first run folder tells; the others tell the same of labels and channels.
    configuration: its networks, their logits averaged.
  """

  described: run_folder.Described
  configuration: Configuration

  @property
  def logits(self) -> Callable:
    """(Case, **options) -> (*space, k) float32 logits on the case's grid."""
    return self.configuration.logits


class Opened(NamedTuple):
  """Runs of one configuration, built from their folders.

  Attributes:
    told: what each run folder tells.
    network: the one that predicts.
    scheme: their method.
    predict: (apply, Case, **options) -> scores, their predictor.
    layout: over which devices `apply` splits windows.
    states: by folder.
    preparations: those that differ among the runs.
    own: which of them is each run's.
    flips: the predictor's options for mirror images; {} without.
  """

  told: list[run_folder.Described]
  network: Any
  scheme: Method
  predict: Callable
  layout: Layout
  states: dict[pathlib.Path, State]
  preparations: tuple[Preparation, ...]
  own: list[int]
  flips: dict


def load(
  workdir, *, kind: str = checkpoint.LATEST, mirror: bool = False, domain: str | None = None
) -> Model:
  """Loads a run, or several of one configuration; a run folder needs nothing but itself.

  Args, and what it raises: as `open_runs`. FileNotFoundError also for a cascade's without its first
  stage.
  """
  return as_model(
    open_runs(workdir, kind=kind, mirror=mirror, domain=domain), kind=kind, mirror=mirror
  )


def as_model(opened: Opened, *, kind: str = checkpoint.LATEST, mirror: bool = False) -> Model:
  """What `load` gives, of runs that were opened with the same options."""
  first = opened.told[0]
  fields = _with_domain(first, _fields(first, next(iter(opened.states)), kind=kind, mirror=mirror))
  apply = mean_apply(opened)

  def logits(case: inference.Case, **options):
    return opened.predict(apply, case, **opened.flips, **options)

  return Model(first, Configuration(opened.preparations, first.labels, logits, fields))


def open_runs(
  workdir,
  *,
  kind: str = checkpoint.LATEST,
  mirror: bool = False,
  domain: str | None = None,
  devices: Sequence[jax.Device] | None = None,
) -> Opened:
  """A run, or several of one configuration, ready to be applied.

  Args:
    workdir: the run folder, or several.
    kind: checkpoint.LATEST (the end of training) or checkpoint.BEST (the best validation score).
    mirror: averages the logits over the mirror images that training drew from: over all if its
      augmentation has no `mirror`.
    domain: the stream whose images are given, "main" or None the main one; runs whose network
      treats domains otherwise want it.
    devices: where windows are computed; all of this process if None.

  Raises:
    FileNotFoundError: no run, or one without a checkpoint.
    ValueError: the runs differ in labels or channels, or an unknown or missing domain.
  """
  several = [workdir] if isinstance(workdir, str | pathlib.Path) else workdir
  # one that is named in two ways would count twice
  folders = files.distinct(several)
  described = {str(folder): describe(folder, domain) for folder in folders}
  check_alike(described)
  for folder, one in described.items():
    domains.check(one.config, domain, folder)
  if len(by_configuration(folders)) > 1:
    raise ValueError(
      f"{', '.join(map(str, folders))}: differ in network, method or data options, or are no folds "
      "of one folder; average the probabilities of several configurations instead (segment)."
    )
  told = _facing_alike(described)
  devices = jax.local_devices() if devices is None else devices
  net, scheme, predict, layout = _built(told[0], folders[0], devices)
  preparations = {one.preparation.to_json(): one.preparation for one in told}
  own = [list(preparations).index(one.preparation.to_json()) for one in told]
  states = {folder: jax.device_put(_state(folder, kind), layout.replicated) for folder in folders}
  flips = _flips(folders, told) if mirror else {}
  return Opened(
    told, net, scheme, predict, layout, states, tuple(preparations.values()), own, flips
  )


def mean_apply(opened: Opened) -> Callable:
  """(batch of windows) -> the mean of what the runs' methods give, each for its own preparation.

  Images are decoded first: runs may differ in the numbers of their normalisation.

  The runs are applied one by one, so that one set of activations is on the device at a time. Their
  `states` may be given, in their order, where these are others than the trained ones.
  """
  scheme, states, told = opened.scheme, opened.states, opened.told[0]

  def check(folders) -> None:
    for folder in folders:
      _check_fit(scheme, states[folder], told, folder)

  check([folder for folder in states if not run_folder.is_sealed(folder)])
  aims = [task_of(one) for one in opened.told]
  output = aims[0].output
  compiled = opened.layout.windowed(only(aims[0], scheme.apply))
  added = jax.jit(lambda total, more: total + more, donate_argnums=0)

  def apply(batch, states=tuple(states.values())):
    total = None
    for state, preparation, aim in zip(states, opened.own, aims, strict=True):
      try:
        scores = compiled(state, seen_by(preparation, batch))[output]
      except flax.errors.FlaxError:
        check(opened.states)
        raise
      scores = aim.decode(scores) if output == "image" else scores
      total = scores if total is None else added(total, scores)
    return {output: total if len(states) == 1 else total / len(states)}

  return apply


def _patch(told: run_folder.Described) -> tuple[int, ...]:
  return tuple(told.config["data"]["patch"])


def _built(
  told: run_folder.Described, folder: pathlib.Path, devices: Sequence[jax.Device]
) -> tuple[Any, Method, Callable, Layout]:
  """The network, method and predictor of a run folder's config, and their layout over devices."""
  config = told.config
  try:
    nets = networks_by_role(config, task_of(told).channels)
    net = nets["network"]
    layout = layout_of_windows(config, net, devices)
    scheme = method(config, nets, regions=told.labels.regions is not None, layout=layout)
    slices, split = config["data"]["slices"], layout.sizes[BATCH]
    return net, scheme, window(config, net, _patch(told), slices, devices=split), layout
  except (ValueError, TypeError, KeyError, AttributeError) as error:
    raise ValueError(
      f"{folder / run_folder.CONFIG}: its model cannot be built ({str(error).rstrip('.')}); the "
      "file was damaged or edited: copy the run folder again; or another version of jaxseg wrote "
      f"it: use that one, which {run_folder.VERSIONS} names, or train again."
    ) from error


def task_of(told: run_folder.Described) -> Task:
  """What the output of a run's network means."""
  schemes = dict(zip(told.channels, told.preparation.normalisation, strict=True))
  if told.config["task"]["name"] != TRANSLATION:
    schemes |= told.targets
  return task(told.config, told.labels, schemes, told.targets)


def abstract_state(scheme: Method, told: run_folder.Described) -> State:
  """The state that a method begins with for a run's data: structure, shapes and types alone."""
  key = jax.eval_shape(lambda: jax.random.key(0))
  return jax.eval_shape(scheme.init, key, batch_of(told))


def batch_of(told: run_folder.Described) -> dict[str, Any]:
  """The shapes of a batch of one that a run's method may begin with, of all its streams."""
  fields = ("prior",) if told.config["data"].get("prior") else ()
  shape, channels = (1, *_patch(told)), len(told.channels)
  if told.config["task"].get("inputs") == LABEL:
    channels = told.labels.channels
  made = len(told.targets)
  batch = rehearsal.batch_shapes(shape, channels, told.labels, fields=fields, made=made)
  return {**batch, **dict.fromkeys(told.config.get("streams", {}), batch)}


def _check_fit(scheme: Method, state: State, told: run_folder.Described, folder) -> None:
  """Raises ValueError unless a checkpoint holds the weights that the config's network takes."""
  expected = abstract_state(scheme, told).learners
  expected = {name: {"params": of.params, "stats": of.stats} for name, of in expected.items()}
  learners = {name: {"params": of.params, "stats": of.stats} for name, of in state.learners.items()}
  wanted, held = checkpoint.flatten(expected), checkpoint.flatten(learners)
  for name in sorted({**wanted, **held}):
    shapes = [np.shape(of[name]) if name in of else None for of in (wanted, held)]
    if shapes[0] != shapes[1]:
      a, b = ("nothing" if shape is None else f"an array {shape}" for shape in shapes)
      raise ValueError(
        f"{folder}: the weights of its checkpoint don't fit the network of its "
        f"{run_folder.CONFIG}: for '{name}' that has {a}, the checkpoint {b}; one of them was "
        "changed or comes from another run: copy the run folder again."
      )


def _flips(folders, told: Sequence[run_folder.Described]) -> dict:
  """The predictor's options for mirror images, of runs that were all trained with the same."""
  flips = [mirroring(one.config, one.labels, _patch(one), one.preparation.code) for one in told]
  for folder, other in zip(folders, flips, strict=True):
    if other != flips[0]:
      raise ValueError(
        f"{folder}: was trained with mirror images along the axes {other['mirror_axes']}, "
        f"{folders[0]} along {flips[0]['mirror_axes']}; predict without --mirror."
      )
  return flips[0]


def _fields(told: run_folder.Described, folder: pathlib.Path, **options) -> Callable:
  """(raw, where) -> what a run's networks take beside the image: the prior of a cascade."""
  prior = told.config["data"].get("prior")
  if told.config["task"].get("inputs") == LABEL:
    return _label_input(told.preparation, told.labels)
  if not prior:
    return lambda raw, where: {}
  first = load(run_folders(cascade.run_beside(prior, folder)), **options)
  labels = told.labels  # as in training: the first stage's stored values, encoded by the second's

  def fields(raw, where):
    early = segment([first.configuration], raw, where).labels
    grid = told.preparation.grid(raw.geometry, raw.image)
    return {"prior": decoded(on_grid(early, grid, labels, where), labels)}

  return fields


def _with_domain(told: run_folder.Described, fields: Callable) -> Callable:
  """(raw, where) -> `fields`, and the number of the domain if the network asks for it."""
  if told.domain is None:
    return fields
  own = {domains.FIELD: np.array(told.domain, np.int32)}
  return lambda raw, where: {**fields(raw, where), **own}


def _label_input(preparation: Preparation, labels: LabelSpec) -> Callable:
  """(raw, where) -> the image of a network that is given a label: one-hot maps."""

  def fields(raw, where):
    grid = preparation.grid(raw.geometry, raw.image)
    stored = integers(raw.image[..., 0], where)
    # as training sets are prepared
    laid = grid.label(grid.cut(stored), np.unique(stored))
    return {"image": labels.one_hot(labels.encode(laid, where)[0])}

  return fields


def _facing_alike(told: dict[str, run_folder.Described]) -> list[run_folder.Described]:
  """The runs, by folder, with the orientations that all have seen: one image is given to all.

  Raises ValueError if there is none.
  """
  known = {name: one.preparation.seen for name, one in told.items() if one.preparation.seen}
  common = tuple(
    code for code in next(iter(known.values()), ()) if all(code in seen for seen in known.values())
  )
  if known and not common:
    seen = "; ".join(f"{name}: {', '.join(codes)}" for name, codes in known.items())
    raise ValueError(
      f"the runs were trained on scans of different orientations ({seen}), so that no scan suits "
      "all; predict with each alone, or train them with config.data.orientation='RAS'."
    )
  if not known:
    return list(told.values())
  return [
    one._replace(preparation=dataclasses.replace(one.preparation, seen=common))
    for one in told.values()
  ]


def _state(folder, kind: str) -> State:
  learners = {
    name: Learner(learner.params, learner.stats, ())
    for name, learner in checkpoint.load_learners(folder, kind).items()
  }
  return State(np.zeros((), np.int32), learners)


def check_alike(told: dict[str, run_folder.Described]) -> None:
  """Raises ValueError unless the runs, by name, have the same labels and channels."""
  (name, first), *rest = told.items()
  for other, one in rest:
    for what, ours, theirs in (
      ("task", first.config["task"], one.config["task"]),
      ("labels", run_folder.meaning(first.labels), run_folder.meaning(one.labels)),
      ("channels", first.channels, one.channels),
      ("rank", first.rank, one.rank),
    ):
      if ours != theirs:
        raise ValueError(
          f"{other}: its {what} {theirs} are not those of {name}, {ours}; an ensemble needs runs "
          "on the same data."
        )


def by_configuration(folders: Sequence[pathlib.Path]) -> list[list[pathlib.Path]]:
  """Run folders, those together whose logits can be averaged (see `same_run.MAY_DIFFER`).

  They lie in one folder: what find-best takes for two, though only the losses differ, stays two.
  """
  groups: list[tuple[pathlib.Path, dict, list[pathlib.Path]]] = []
  for folder in map(pathlib.Path, folders):
    home = run_folder.home(folder).resolve()
    config = run_folder.read_config(folder)
    for other, first, members in groups:
      if other == home and not same_run.differences(first, config, same_run.MEMBERS):
        members.append(folder)
        break
    else:
      groups.append((home, config, [folder]))
  return [members for _, _, members in groups]
