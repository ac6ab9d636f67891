"""Scoring cases, one after the other or in several processes."""

import pathlib
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tqdm

from jaxseg.batch import LabelSpec
from jaxseg.data.images import read_label
from jaxseg.data.source import check_pair
from jaxseg.data.workers import spread
from jaxseg.metrics import score

_OBJECTS = ("background", "object")

Scores = dict[str, dict[str, float]]


class Task(NamedTuple):
  """One case to score.

  Attributes:
    prediction, reference: label images.
    probabilities: .npz with (*space, k) "probabilities", or None.
    labels: names and stored values; None takes each value as a label of its own.
    metrics: name -> function, options bound.
    check_affine: refuse files whose affines differ.
    instances: label values tell objects of one class apart.
  """

  prediction: pathlib.Path
  reference: pathlib.Path
  probabilities: pathlib.Path | None
  labels: LabelSpec | None
  metrics: Mapping[str, Callable]
  check_affine: bool = True
  instances: bool = False


def score_case(task: Task) -> Scores:
  """Metric -> label -> value, background left out; raises ValueError that names the files."""
  predicted, geometry = read_label(task.prediction)
  truth, truth_geometry = read_label(task.reference)
  where = f"{task.prediction} against {task.reference}"
  check_pair(truth_geometry, geometry, where, what="prediction", affine=task.check_affine)
  instances = None
  labels = task.labels or _present(predicted, truth)
  if task.instances:
    instances = (predicted, truth)
    ignore = task.labels.ignore if task.labels else None
    labels = LabelSpec(_OBJECTS, (0, 1), ignore=-1)
    predicted, truth = predicted != 0, np.where(truth == ignore, -1, truth != 0)
  truth, weight = labels.encode(truth, str(task.reference))
  predicted, _ = labels.encode(predicted, str(task.prediction))
  try:
    values = score(
      task.metrics,
      predicted,
      truth,
      weight,
      classes=labels.channels,
      spacing=geometry.spacing,
      probabilities=None if task.probabilities is None else _probabilities(task.probabilities),
      instances=instances,
    )
  except ValueError as error:
    raise ValueError(f"{where}: {error}") from error
  first = 0 if labels.regions else 1
  return {
    metric: dict(zip(labels.names[first:], map(float, scores[first:]), strict=True))
    for metric, scores in values.items()
  }


def _present(*arrays: np.ndarray) -> LabelSpec:
  """The values of one case as labels, for folders that nothing describes."""
  found = {0}.union(*(np.unique(array).tolist() for array in arrays))
  values = sorted(found, key=lambda v: (v != 0, v))
  return LabelSpec(tuple(str(v) for v in values), tuple(values))


def _probabilities(path: pathlib.Path) -> np.ndarray:
  try:
    with np.load(path, allow_pickle=False) as file:
      return file["probabilities"]
  except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
    raise ValueError(
      f"{path}: holds no readable 'probabilities' ({error}); write it again with `jaxseg predict "
      "--probabilities`."
    ) from error


def score_cases(tasks: Sequence[Task], *, workers: int | None = 1) -> list[Scores]:
  """The scores of all cases, in order, with a progress bar where a person watches.

  `workers` is as for `data.workers.spread`; it raises ValueError as that does.
  """
  with tqdm.tqdm(total=len(tasks), unit="case", disable=not sys.stderr.isatty()) as bar:
    results = []
    for scores in spread(score_case, tasks, workers=workers, what="evaluate"):
      results.append(scores)
      bar.update()
  return results
