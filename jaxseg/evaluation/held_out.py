"""The end of training: every validation case predicted on its own grid, written and scored.

A run folder then holds `validation/`: the predictions, `scores.json`, and under `views/` the
slices that the report page shows. What is written is found again, so that an interrupted end goes
on with the next case; `scores.json` holds the sums of these files, so that what was lost or damaged
is made again.
"""

import json
import logging
import math
import pathlib
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from jaxseg import files, sealed
from jaxseg.data import read_label
from jaxseg.data.prepared.integrity import file_sum
from jaxseg.data.stream import HeldCases
from jaxseg.evaluation.reporting import as_json
from jaxseg.evaluation.results import RESULTS
from jaxseg.evaluation.scores import Scores
from jaxseg.evaluation.while_training import streams_of, validate
from jaxseg.report import views

FOLDER, SCORES, VIEWS = "validation", "scores.json", "views"
_ENDINGS = (".nii.gz", ".png", ".tif")
_ADVICE = "give the train command again, it scores the validation cases anew"
_PANELS = 4
# seconds between two writings of the scores while cases are segmented
_PAUSE = 10.0


class Outcome(NamedTuple):
  """The scores of the final weights.

  Attributes:
    own: of every validation case, on its own grid.
    watched: of those scored while training, on the network's grid, to compare with earlier steps;
      where the cases of other streams are scored at the end, of the main stream's all the same.
    fresh: whether any of it is new, not found in the run folder.
  """

  own: Scores
  watched: Scores
  fresh: bool


def predict(
  run,
  apply: Callable,
  state,
  workdir: pathlib.Path,
  *,
  record: bool = True,
  stop: Callable[[], bool] = lambda: False,
  resume: bool = True,
) -> Outcome | None:
  """Predicts, writes and scores the held-out cases; each is predicted once.

  Args:
    run: the experiment.
    apply: jitted (state, batch) -> {the task's output}.
    state: the final state.
    workdir: the run folder.
    record: whether this process writes.
    stop: asked before every case; where it says True, what is done is kept.
    resume: whether cases that the folder holds for this step are taken as they are.

  Returns:
    The scores, or None if it was stopped.
  """
  folder = workdir / FOLDER
  step, scored = int(state.step), run.task.scored
  held = {
    name: (of, i) for of in run.scored_cases for i, name in zip(of.cases, of.names, strict=True)
  }
  names, watched = list(held), [name for of in run.watched_cases for name in of.names]
  # whose cases choose the best checkpoint need not be those that are scored here
  both = set(watched) <= set(names)
  found, sums = _found(folder, step) if resume else ({}, {})
  # the command may ask for more now than when a case was done
  lacking = set()
  if run.config["evaluate"]["probabilities"]:
    lacking |= set(without_probabilities(workdir, names))
  asked = {name: {"own": run.task.final} for name in names}
  asked |= {name: asked[name] | {"network": run.task.metrics} for name in watched if both}
  cases = {}
  for name in names:
    scores = _chosen(found.get(name, {}), asked[name])
    if scores is not None and name not in lacking:
      cases[name] = scores
  fresh, saved = len(cases) < len(names), time.monotonic()

  def save(complete: bool) -> None:
    if record:
      told = {"step": step, "complete": complete, "labels": scored, "cases": cases, "files": sums}
      # as JSON has it: null for what is undefined
      sealed.write(folder / SCORES, json.loads(as_json(told)))

  for name, (of, index) in held.items():
    if name in cases:
      continue
    if stop():
      save(False)
      return None
    place = folder if record else None
    cases[name] = _one(run, apply, state, of, index, place, watched=name in watched)
    if record:
      sums[name] = _sums(folder, name)
    if time.monotonic() - saved > _PAUSE:
      save(False)
      saved = time.monotonic()
  if fresh:
    save(True)
  panels = [views.load(folder / VIEWS, name).panel() for name in names[:_PANELS]] if record else []
  parts = streams_of(run.scored_cases)
  own = Scores(scored, {name: cases[name]["own"] for name in names}, run.task.best, panels, parts)
  if both:
    seen = {name: cases[name]["network"] for name in watched}
    parts = streams_of(run.watched_cases)
    return Outcome(own, Scores(scored, seen, run.task.best, [], parts), fresh)
  return Outcome(own, validate(run, apply, state, run.watched_cases), fresh)


def without_probabilities(workdir, names: Iterable[str]) -> list[str]:
  """Those of the named cases whose probabilities a run folder does not hold."""
  folder = pathlib.Path(workdir) / FOLDER
  return [name for name in names if not (folder / f"{name}_probabilities.npz").is_file()]


def read_scores(folder: pathlib.Path) -> dict[str, Any]:
  """{"step", "complete", "labels", "cases": case -> {"own": metric -> label -> value, ...}, ...}.

  Raises FileNotFoundError if the run has none, ValueError if the file isn't what was written.
  """
  path = pathlib.Path(folder) / FOLDER / SCORES
  if not path.is_file():
    raise FileNotFoundError(
      f"{path}: not found; the run has no validation scores, they are written at the end of "
      "training: give the train command again, it goes on."
    )
  fields = {"step": int, "complete": bool, "labels": list, "cases": dict}
  told = sealed.read(path, what="the scores of a run", advice=_ADVICE, fields=fields)
  labels, metrics = tuple(told["labels"]), {}
  for name, case in told["cases"].items():
    where = f"{path}: case '{name}'"
    files.check_fields(case, where, advice=_ADVICE, fields={"own": dict})
    # on each grid all are scored alike
    for grid, scored in case.items():
      first = metrics.setdefault(grid, list(scored) if isinstance(scored, dict) else [])
      files.check_fields(scored, where, advice=_ADVICE, fields=dict.fromkeys(first, dict))
      for metric, of in scored.items():
        if set(of) != set(labels) or not all(_is_score(value) for value in of.values()):
          raise ValueError(f"{where}: '{metric}' are no scores of {', '.join(labels)}; {_ADVICE}.")
  if told["complete"] and not metrics.get("own"):
    raise ValueError(f"{path}: holds no scored case; {_ADVICE}.")
  sums = told.get("files", {})
  if not isinstance(sums, dict) or not all(isinstance(of, dict) for of in sums.values()):
    raise ValueError(f"{path}: its 'files' are no sums of files; {_ADVICE}.")
  cases = {name: _numbers(case) for name, case in told["cases"].items()}
  return {**told, "labels": labels, "cases": cases}


def _is_score(value) -> bool:
  return value is None or value in ("inf", "-inf") or type(value) in (int, float)


def _numbers(value):
  """What JSON cannot say comes back: null is NaN, "inf" infinite."""
  if isinstance(value, dict):
    return {name: _numbers(item) for name, item in value.items()}
  return math.nan if value is None else float(value)


def _written(folder: pathlib.Path, name: str) -> dict[str, pathlib.Path]:
  """The files of a case that are there, by their names in the folder."""
  names = [f"{name}{ending}" for ending in (*_ENDINGS, "_probabilities.npz")]
  paths = {file: folder / file for file in (*names, f"{VIEWS}/{name}.npz")}
  return {file: path for file, path in paths.items() if path.is_file()}


def _sums(folder: pathlib.Path, name: str) -> dict[str, list[int]]:
  return {file: list(file_sum(path)) for file, path in _written(folder, name).items()}


def _problem(folder: pathlib.Path, name: str, sums: dict | None) -> str | None:
  """What is wrong with the files of a case in a sentence's middle, None if nothing is."""
  if sums is None:  # of a version that kept none
    try:
      views.load(folder / VIEWS, name)
      labels = [path for file, path in _written(folder, name).items() if file.endswith(_ENDINGS)]
      if not labels:
        return f"{folder / name}: its segmentation is missing"
      read_label(labels[0])
    except (FileNotFoundError, ValueError) as error:
      return str(error).rstrip(".")
    return None
  for file, expected in sums.items():
    path = folder / file
    if not path.is_file():
      return f"{path}: is missing"
    if list(file_sum(path)) != list(expected):
      return f"{path}: is damaged or was changed"
  return None


def lost(workdir) -> str:
  """A sentence about the first file of a validation case that is not as written, "" if all are.

  Raises FileNotFoundError without scores, ValueError where these are damaged.
  """
  folder, told = pathlib.Path(workdir) / FOLDER, read_scores(pathlib.Path(workdir))
  for name in told["cases"]:
    if problem := _problem(folder, name, told.get("files", {}).get(name)):
      return f"{problem}; give the train command again, it makes the case anew."
  return ""


def _found(folder: pathlib.Path, step: int) -> tuple[dict[str, dict], dict[str, dict]]:
  """The cases that were done with the weights of this step, and the sums of their files."""
  if not (folder / SCORES).is_file():
    return {}, {}
  try:
    told = read_scores(folder.parent)
  except ValueError as error:
    kept = files.copy_aside(folder / SCORES)
    logging.warning("%s They are scored anew; the file as it was is %s.", error, kept.name)
    return {}, {}
  if told["step"] != step:
    return {}, {}
  cases, sums = {}, told.get("files", {})
  for name, case in told["cases"].items():
    if problem := _problem(folder, name, sums.get(name)):
      logging.warning("%s; the case is segmented again.", problem)
    else:
      cases[name] = case
  return cases, {name: sums[name] for name in cases if name in sums}


def _chosen(scores: dict[str, dict], asked: dict[str, Iterable[str]]) -> dict[str, dict] | None:
  """Of the scores of a case, by grid, the metrics that are asked for; None where one is missing."""
  if all(metric in scores.get(grid, {}) for grid, metrics in asked.items() for metric in metrics):
    return {grid: {name: scores[grid][name] for name in metrics} for grid, metrics in asked.items()}
  return None


def _one(
  run, apply, state, held: HeldCases, index: int, folder: pathlib.Path | None, *, watched: bool
) -> dict[str, dict]:
  """Predicts and scores a case; "own" on its own grid, "network" on the network's if watched."""
  task, name = run.task, held.dataset.names[index]
  raw, sample = held.read(name), held.dataset.load(index)
  seen: dict[str, np.ndarray] = {}

  def predict(case, *, into=None, progress=None):
    # the parts pass by on their way: watched cases are scored on the network's grid as well
    def both(region, scores):
      part = task.decode(scores)
      if "network" not in seen:
        further = part.shape[len(case.space) :]
        seen["network"] = np.zeros((*case.space, *further), part.dtype)
      seen["network"][region] = part
      into(region, scores)

    options = {"progress": progress} if into is None else {"progress": progress, "into": both}
    scores = run.predict(lambda batch: apply(state, batch), case, **options)
    if into is None:
      seen["network"] = task.decode(scores)
    # an image is what it is decoded to; classes are decoded where all their scores have come
    return seen["network"] if task.output == "image" else scores

  result = RESULTS[task.name](run, held.dataset, predict, raw, sample, name)
  spacing = raw.geometry.spacing
  scored = {"own": task.score(task.final, *result[:3], spacing)}
  if watched:
    arrays = (seen["network"], task.truth(sample), sample.get("weight"), sample["spacing"])
    scored["network"] = task.score(task.metrics, *arrays)
  if folder is not None:
    result.write(folder)
    views.save(folder / VIEWS, name, result.views())
  return scored
