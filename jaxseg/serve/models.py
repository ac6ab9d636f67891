"""The runs that are served: what each segments, and what they answer about a whole scan."""

import pathlib
import threading
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from jaxseg import explain
from jaxseg.batch import LabelSpec
from jaxseg.build import suggestion
from jaxseg.config import domains
from jaxseg.config.streams import MAIN_WORD
from jaxseg.config.synthesis import makes_images
from jaxseg.data import RawCase
from jaxseg.explain import mapping
from jaxseg.explain import scan as scans
from jaxseg.inference.segmentation import segment
from jaxseg.interaction import session
from jaxseg.runs import checkpoint, interactive, makers
from jaxseg.runs import folder as run_folder
from jaxseg.runs.fine_tuned import Tuning
from jaxseg.runs.folder import Described, run_folders
from jaxseg.runs.load import Opened, as_model, by_configuration, open_runs
from jaxseg.serve.guard import Refusal
from jaxseg.task import MASKS

# methods of `jaxseg explain` that need no options, and answer within seconds
EXPLAIN = ("grad_cam", "hires_cam", "guided", "integrated_gradients", "entropy")


class Model(NamedTuple):
  """One configuration's runs under the name that clients call them by.

  Attributes:
    name: of the run folder, or of the folder of the folds.
    folders: the run folders.
    subject: the runs, opened once for segmenting and explaining.
    run: the same as they answer prompts; None for those that take none.
    lock: held while it computes: one answer at a time.
    options: of the server, by which it answers: "checkpoint" and "domain".
    weights: what tells the checkpoints from others: a run may be trained further.
  """

  name: str
  folders: tuple[pathlib.Path, ...]
  subject: scans.Subject
  run: interactive.Run | None
  lock: threading.Lock
  options: Mapping[str, str] = MappingProxyType({})
  weights: tuple[str, ...] = ()

  @property
  def told(self) -> Described:
    return self.subject.model.described

  @property
  def labels(self) -> LabelSpec:
    return self.told.labels

  @property
  def opened(self) -> Opened:
    return self.subject.opened


def open_models(
  paths: Sequence[pathlib.Path],
  *,
  kind: str = checkpoint.LATEST,
  domain: str | None = None,
  tuning: Tuning | None = None,
) -> dict[str, Model]:
  """Run folders, and folders of folds -> the models by name; `tuning` is of `interactive.as_run`.

  Raises FileNotFoundError where there is no run, ValueError for runs that make images, and for runs
  that differ in channels or rank: one scan is shown to all.
  """
  models: dict[str, Model] = {}
  for path in paths:
    groups = by_configuration(run_folders(path, seeds=True))
    for group in groups:
      model = _opened(_name(path, group, len(groups), models), group, kind, domain, tuning)
      _check(model, next(iter(models.values()), model))
      models[model.name] = model
  return models


def _opened(name: str, folders, kind: str, domain: str | None, tuning: Tuning | None) -> Model:
  # before they are read: what is trained on meanwhile is then told once too often
  weights = tuple(makers.digest(pathlib.Path(folder), kind) for folder in folders)
  opened = open_runs(folders, kind=kind, domain=domain)
  run = None
  if tuning is not None or interactive.prompts_of(opened.told[0].config) is not None:
    run = interactive.as_run(opened, kind=kind, tuning=tuning)
  model = as_model(opened, kind=kind) if run is None else run.model
  word = "best" if kind == checkpoint.BEST else "latest"
  options = {"checkpoint": word, "domain": domain or MAIN_WORD}
  subject = scans.subject(opened, model)
  return Model(name, tuple(folders), subject, run, threading.Lock(), options, weights)


def _name(path, group, groups: int, known) -> str:
  home = pathlib.Path(path).resolve() if groups == 1 else group[0].resolve()
  name, number = home.name, 1
  while name in known:
    number += 1
    name = f"{home.name}-{number}"
  return name


def _check(model: Model, first: Model) -> None:
  config = model.told.config
  if makes_images(config) or config["task"]["name"] == MASKS:
    raise ValueError(f"{model.folders[0]}: makes images; only segmentations are served.")
  if len(model.labels.scored) > session.MOST:
    raise ValueError(
      f"{model.folders[0]}: tells {len(model.labels.scored)} labels apart, but the page paints "
      f"{session.MOST} at most; use jaxseg predict or interact."
    )
  for what, ours, theirs in (
    ("channels", model.told.channels, first.told.channels),
    ("number of axes", model.told.rank, first.told.rank),
  ):
    if ours != theirs:
      raise ValueError(
        f"{model.folders[0]}: its {what} ({_listed(ours)}) are not those of {first.folders[0]} "
        f"({_listed(theirs)}), so that no scan suits both; serve each with a --port of its own."
      )


def _listed(of) -> str:
  return ", ".join(of) if isinstance(of, tuple) else str(of)


def get(models: Mapping[str, Model], name: str) -> Model:
  """The model of that name; Refusal (404) with the names for another."""
  if name not in models:
    near = suggestion(name, models)
    raise Refusal(
      404, f"there is no model '{name[:80]}'{near}; the models are {', '.join(models)}."
    )
  return models[name]


def default(models: Mapping[str, Model]) -> str:
  """The first that takes prompts, else the first."""
  return next((name for name, of in models.items() if of.run is not None), next(iter(models)))


def segment_scan(model: Model, raw: RawCase, where: str) -> tuple[np.ndarray, float]:
  """(*space) stored values of an automatic segmentation, and the seconds that it took."""
  with model.lock:
    begun = time.perf_counter()
    found = segment([model.subject.model.configuration], raw, where)
    return found.labels, time.perf_counter() - begun


def uncertainty(model: Model, raw: RawCase, where: str) -> float:
  """Mean entropy of a scan's voxels, 0 (sure) to 1."""
  with model.lock:
    scan = scans.scan(model.subject, raw, where)
    maps, _ = explain.METHODS["entropy"].function(scan)
  return float(next(iter(maps.values())).mean())


class Explanation(NamedTuple):
  """A map on the scan's own grid, what it is of, in words, and sentences for the reader."""

  values: np.ndarray
  signed: bool
  words: str
  notes: tuple[str, ...]


def explain_scan(
  model: Model, raw: RawCase, where: str, *, method: str, label: str | None, at
) -> Explanation:
  """Why a run said so, as `jaxseg explain` does it with the method's usual options.

  Args:
    model, raw, where: the runs, and the scan as read.
    method: one of `EXPLAIN`.
    label: name of the class; None is the most predicted one.
    at: (z, y, x) or (y, x), a voxel whose answer is explained; None is the class where predicted.

  Raises ValueError in one sentence for a class that is absent, and whatever else has no answer.
  """
  if method not in EXPLAIN:
    raise ValueError(f"method '{method[:40]}' is not offered here; choices: {', '.join(EXPLAIN)}.")
  with model.lock:
    scan = scans.scan(model.subject, raw, where)
    if explain.METHODS[method].kind == explain.ANSWERS:
      if at is not None:
        raise ValueError(f"'{method}' is of the whole scan, and of no voxel; ask without one.")
      maps, _ = explain.METHODS[method].function(scan)
      values = scans.on_scan(scan, next(iter(maps.values())))
      return Explanation(values, False, "where the run is unsure", ())
    kind = scans.CLASS if at is None else scans.VOXEL
    if at is None:
      _check_present(scan, label)
    aim = scans.target(scan, kind, label=label, at=at)
    views, left = mapping.views(scan, aim, 4)
    layer = mapping.select_layers(scan, views[0], method, ())[-1]
    made = mapping.map_of(scan, views, method, layer, {})
  notes = [*made.notes]
  if left:
    notes.append(f"{left} window(s) with less of it are left out.")
  if not made.values.any():
    notes.append("the map is 0 everywhere: nothing speaks for it.")
  return Explanation(scans.on_scan(scan, made.values), made.signed, aim.words, tuple(notes))


def _check_present(scan: scans.Scan, label: str | None) -> None:
  """Raises ValueError for a class that the runs see nowhere: there is nothing to explain."""
  there = scans.present(scan)
  if not there or (label is not None and label not in there):
    named = f"'{label}'" if label is not None else "label"
    others = f"choose {' or '.join(there)}, or " if there else ""
    raise ValueError(
      f"by itself the model predicts no voxel of {named} in this scan, so that there is nothing to "
      f"explain; {others}ask at the cursor only."
    )


def info(model: Model) -> dict[str, Any]:
  """What the page needs to know of a model."""
  labels = model.labels
  return {
    "name": model.name,
    "labels": list(labels.scored),
    "values": list(labels.written[labels.first :]),
    "background": labels.names[0] if labels.first else None,
    "channels": list(model.told.channels),
    "rank": model.told.rank,
    "interactive": model.run is not None,
    "network": model.told.config["network"]["name"],
    "domain": domains.note(model.told.config, None) or None,
    "steps": [run_folder.steps_done(folder) for folder in model.folders],
  }
