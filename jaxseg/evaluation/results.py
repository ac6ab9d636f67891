"""What the final weights make of a validation case: to score, to write, to look at."""

import functools
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxseg.batch import inputs
from jaxseg.data import Dataset, RawCase
from jaxseg.inference.segmentation import Configuration, segment
from jaxseg.inference.synthesis import synthesise, write_image
from jaxseg.inference.writing import write
from jaxseg.report import views


class Result(NamedTuple):
  """A case on its own grid.

  Attributes:
    predicted, truth, weight: what the task scores; no weight is None.
    write: folder -> writes it there.
    views: () -> the slices of it that a report shows.
  """

  predicted: np.ndarray
  truth: np.ndarray
  weight: np.ndarray | None
  write: Callable[[pathlib.Path], None]
  views: Callable[[], views.Views]


def segmented(run, dataset: Dataset, predict: Callable, raw: RawCase, sample, name: str) -> Result:
  """A case as classes or regions.

  Args:
    run: the experiment.
    dataset: whose case it is.
    predict: (Case, *, into, progress) -> the network's logits.
    raw, sample: the case as read, and as prepared.
    name: its name.
  """
  labels = dataset.labels
  # a cascade's prior among them: of the fold of the first stage that has not seen the case
  further = inputs(sample)
  del further["image"]  # which is made of the scan anew, as a user's would be
  configuration = Configuration((dataset.preparation,), labels, predict, lambda *_: further)
  probabilities = run.config["evaluate"]["probabilities"]
  segmentation = segment([configuration], raw, f"case '{name}'", probabilities=probabilities)
  truth, weight = labels.encode(raw.label, f"case '{name}'")
  if raw.weight is not None:
    weight = raw.weight if weight is None else weight * raw.weight
  predicted, _ = labels.encode(segmentation.labels, f"the segmentation of case '{name}'")
  return Result(
    predicted,
    truth,
    weight,
    lambda folder: write(folder, name, raw, segmentation, labels),
    lambda: views.of_case(raw, segmentation.labels, labels),
  )


def synthesised(
  run,
  dataset: Dataset,
  predict: Callable,
  raw: RawCase,
  sample,
  name: str,
  *,
  own_window: bool = False,
) -> Result:
  """A case's image from its inputs; arguments as for `segmented`, `predict` gives intensities.

  `own_window`: see `views.of_images`.
  """
  given, truth = run.task.pair(raw)
  configuration = Configuration(
    (dataset.preparation,), dataset.labels, predict, lambda *_: inputs(sample)
  )
  image = synthesise([configuration], given, f"case '{name}'")
  return Result(
    image,
    truth.astype(np.float32),
    raw.weight,
    lambda folder: write_image(folder, name, image, raw.geometry, truth.dtype),
    lambda: views.of_images(given, truth, image, run.task.scored, own_window=own_window),
  )


RESULTS: dict[str, Callable[..., Result]] = {
  "segmentation": segmented,
  "synthesis": synthesised,
  "masks": segmented,
  "translation": functools.partial(synthesised, own_window=True),
}
