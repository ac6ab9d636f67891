"""Run folders, or the folds of a cross-validation -> configurations that segment cases."""

import json
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxseg import cascade, checkpoint, inference, run_folder
from jaxseg.experiment import method, mirroring, network, window
from jaxseg.inference.segmentation import Configuration, segment
from jaxseg.method import Learner, State
from jaxseg.run_folder import FOLD, run_folders

# what may differ between the runs of a configuration: who trains, and where data are kept
_FREE = ("split", "folder", "cache", "source", "batch", "foreground", "maps", "workers")
_ALIKE = ("network", "method", "average", "predictor")


class Model(NamedTuple):
  """One configuration's trained runs, ready to predict.

  Attributes:
    described: what the first run folder tells; the others tell the same of labels and channels.
    configuration: its networks, their logits averaged.
    logits: (Case, **options) -> (*space, k) float32 logits on the case's grid.
  """

  described: run_folder.Described
  configuration: Configuration
  logits: Callable


def load(workdir, *, kind: str = checkpoint.LATEST, mirror: bool = False) -> Model:
  """Loads a run, or several of one configuration; a run folder needs nothing but itself.

  Args:
    workdir: the run folder, or several.
    kind: checkpoint.LATEST (the end of training) or checkpoint.BEST (the best validation score).
    mirror: averages the logits over the mirror images that training drew from: over all if its
      augmentation has no `mirror`.

  Raises:
    FileNotFoundError: no run, one without a checkpoint, or a cascade's without its first stage.
    ValueError: the runs differ in labels or channels.
  """
  folders = [workdir] if isinstance(workdir, str | pathlib.Path) else list(workdir)
  told = [run_folder.describe(folder) for folder in folders]
  check_alike(dict(zip(map(str, folders), told, strict=True)))
  if len(by_configuration(folders)) > 1:
    raise ValueError(
      f"{', '.join(map(str, folders))}: differ in network, method or data options, or are no folds "
      "of one folder; average the probabilities of several configurations instead (segment)."
    )
  first, config = told[0], told[0].config
  patch = tuple(config["data"]["patch"])
  net = network(config, first.labels.channels)
  scheme = method(config, net, regions=first.labels.regions is not None)
  states = [_state(folder, kind) for folder in folders]
  compiled = jax.jit(lambda state, batch: {"logits": scheme.apply(state, batch)["logits"]})
  # fold by fold, so that one set of activations is on the device at a time
  added = jax.jit(lambda total, more: total + more, donate_argnums=0)
  preparations = tuple(dict.fromkeys(one.preparation.to_json() for one in told))
  own = [preparations.index(one.preparation.to_json()) for one in told]
  channels = len(first.channels)

  def apply(batch):
    total = None
    for state, i in zip(states, own, strict=True):
      image = batch["image"][..., i * channels : (i + 1) * channels]
      logits = compiled(state, {**batch, "image": image})["logits"]
      total = logits if total is None else added(total, logits)
    return {"logits": total if len(states) == 1 else total / len(states)}

  predict = window(config, net, patch, config["data"]["slices"])
  flips = mirroring(config, first.labels, patch) if mirror else {}

  def logits(case: inference.Case, **options):
    return predict(apply, case, **flips, **options)

  prepared = tuple(told[own.index(i)].preparation for i in range(len(preparations)))
  prior = _first_stage(config, prepared[0], pathlib.Path(folders[0]), kind=kind, mirror=mirror)
  return Model(first, Configuration(prepared, first.labels, logits, prior), logits)


def _first_stage(config, preparation, folder, **options) -> Callable | None:
  """(raw, where) -> the prior that a cascade's second stage wants; None for others."""
  if not config["data"].get("prior"):
    return None
  first = load(run_folders(cascade.run_beside(config["data"]["prior"], folder)), **options)
  labels = first.described.labels

  def prior(raw, where):
    found = segment([first.configuration], raw, where).labels
    grid = preparation.grid(raw.geometry, raw.image)
    return cascade.one_hot(cascade.on_grid(found, grid, labels, where), labels)

  return prior


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
      ("labels", _meaning(first.labels), _meaning(one.labels)),
      ("channels", first.channels, one.channels),
      ("rank", first.rank, one.rank),
    ):
      if ours != theirs:
        raise ValueError(
          f"{other}: its {what} {theirs} are not those of {name}, {ours}; an ensemble needs runs "
          "on the same data."
        )


def _meaning(labels) -> tuple:
  return (labels.names, labels.regions or labels.stored_values)


def by_configuration(folders: Sequence[pathlib.Path]) -> list[list[pathlib.Path]]:
  """Run folders, the folds of one configuration (network, method, grid, predictor) together.

  They lie in one folder: what find-best takes for two, though only the losses differ, stays two.
  """
  groups: dict[str, list[pathlib.Path]] = {}
  for folder in map(pathlib.Path, folders):
    home = folder.parent if folder.name.startswith(FOLD) else folder
    config = run_folder.describe(folder).config
    data = {name: value for name, value in config["data"].items() if name not in _FREE}
    alike = [str(home.resolve()), data, *(config[part] for part in _ALIKE)]
    key = json.dumps(alike, sort_keys=True)
    groups.setdefault(key, []).append(folder)
  return list(groups.values())
