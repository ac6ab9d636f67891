"""Scoring cases, one after the other or in several processes."""

import functools
import pathlib
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tqdm

from jaxseg.batch import LabelSpec
from jaxseg.data.formats.images import read_label
from jaxseg.data.prepared.workers import spread
from jaxseg.data.sources.source import label_file, on_image_grid, tells_spacing
from jaxseg.task import segmentation

_OBJECTS = ("background", "object")
# degrees that rounding in headers may take from a right angle
_RIGHT_ANGLE = 1.0

CaseScores = dict[str, dict[str, float]]


class Scored(NamedTuple):
  """What is found of one case.

  Attributes:
    scores: metric -> label -> value, background left out.
    predicted, reference: the values in each file, without 0; empty where labels are described.
    measured: whether prediction or reference tells its spacing; else distances count voxels.
    sheared: whether the grid's axes are not at right angles, as distances take them to be.
  """

  scores: CaseScores
  predicted: frozenset[int]
  reference: frozenset[int]
  measured: bool
  sheared: bool


class Pair(NamedTuple):
  """A prediction and its reference, to score.

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


def score_case(pair: Pair) -> Scored:
  """The scores of a case, in the reference's millimetres; ValueError names the files."""
  predicted, geometry = read_label(pair.prediction)
  truth, truth_geometry = read_label(pair.reference)
  where = f"{pair.prediction} against {pair.reference}"
  # arrays and pictures tell no position
  told = tells_spacing(truth_geometry)
  check = pair.check_affine and told
  lay = functools.partial(
    on_image_grid,
    geometry=geometry,
    image=truth_geometry,
    where=where,
    affine=check,
    unless="--no-check-affine",
  )
  probabilities = None if pair.probabilities is None else _probabilities(pair.probabilities)
  if probabilities is not None and probabilities.shape[:-1] == predicted.shape:
    probabilities = lay(probabilities, what="probabilities")
  predicted = lay(predicted, what="prediction")
  spacing = truth_geometry.spacing if told else geometry.spacing
  instances, labels, values = None, pair.labels, (frozenset(), frozenset())
  if labels is None and not pair.instances:
    values = tuple(frozenset(np.unique(array).tolist()) - {0} for array in (predicted, truth))
    labels = _labels_of(values[0] | values[1])
  if pair.instances:
    instances = (predicted, truth)
    ignore = pair.labels.ignore if pair.labels else None
    labels = LabelSpec(_OBJECTS, (0, 1), ignore=-1)
    predicted, truth = predicted != 0, np.where(truth == ignore, -1, truth != 0)
  truth, weight = labels.encode(truth, label_file(pair.reference))
  predicted, _ = labels.encode(predicted, label_file(pair.prediction))
  try:
    scores = segmentation(labels).score(
      pair.metrics,
      predicted,
      truth,
      weight,
      spacing,
      probabilities=probabilities,
      instances=instances,
    )
  except ValueError as error:
    raise ValueError(f"{where}: {error}") from error
  measured = told or tells_spacing(geometry)
  return Scored(scores, *values, measured, truth_geometry.shear > _RIGHT_ANGLE)


def strange_values(scored: Sequence[Scored], where: str) -> list[int]:
  """Values that are predicted but occur in no reference, for folders that nothing describes.

  Raises ValueError where predictions and references have no value in common.
  """
  predicted, reference = (set().union(*(values[side] for values in scored)) for side in (1, 2))
  if predicted and reference and not predicted & reference:
    ours, theirs = (", ".join(map(str, sorted(of)[:8])) for of in (predicted, reference))
    raise ValueError(
      f"{where}: predictions and references share no label value but 0: the predictions hold "
      f"{ours}, the references {theirs}; write both with the same values."
    )
  return sorted(predicted - reference) if reference else []


def _labels_of(values: frozenset[int]) -> LabelSpec:
  """The values of one case as labels, for folders that nothing describes."""
  stored = (0, *sorted(values))
  return LabelSpec(tuple(str(value) for value in stored), stored)


def _probabilities(path: pathlib.Path) -> np.ndarray:
  try:
    with np.load(path, allow_pickle=False) as file:
      return file["probabilities"]
  except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
    raise ValueError(
      f"{path}: holds no readable 'probabilities' ({error}); write it again with `jaxseg predict "
      "--probabilities`."
    ) from error


def score_cases(pairs: Sequence[Pair], *, workers: int | None = 1) -> list[Scored]:
  """The scores of all cases, in order, with a progress bar where a person watches.

  `workers` is as for `data.prepared.workers.spread`; it raises ValueError as that does.
  """
  with tqdm.tqdm(total=len(pairs), unit="case", disable=not sys.stderr.isatty()) as bar:
    results = []
    for scored in spread(score_case, pairs, workers=workers, what="evaluate"):
      results.append(scored)
      bar.update()
  return results
