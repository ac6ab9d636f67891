"""What a network's output means: what it is called, how many channels it has, how it is judged."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxseg.batch import LabelSpec
from jaxseg.metrics import score


class Task(NamedTuple):
  """What a network's output means.

  Attributes:
    name: its name in `TASKS`.
    output: the key of what a method's `apply` gives: "logits" or "image".
    channels: how many of them.
    scored: names of what is scored: classes without the background, regions.
    decode: (*space, channels) of the network -> what `score` compares with the truth.
    score: (metrics, prediction, truth, weight, spacing) -> metric -> name -> value; for classes
      also `probabilities` and `instances`, as for `metrics.score`.
  """

  name: str
  output: str
  channels: int
  scored: tuple[str, ...]
  decode: Callable[[np.ndarray], np.ndarray]
  score: Callable[..., dict[str, dict[str, float]]]


def segmentation(labels: LabelSpec) -> Task:
  """Image -> logits of classes or regions."""

  def judged(metrics: Mapping[str, Callable], prediction, truth, weight, spacing, **more):
    more |= {"classes": labels.channels, "spacing": spacing}
    values = score(metrics, prediction, truth, weight, **more)
    return {metric: labels.by_name(of) for metric, of in values.items()}

  return Task("segmentation", "logits", labels.channels, labels.scored, labels.classes, judged)


TASKS: dict[str, Callable[..., Task]] = {"segmentation": segmentation}


def only(task: Task, apply: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
  """A method's `apply`, the task's output alone: features nobody asked for would be computed."""
  return lambda state, batch: {task.output: apply(state, batch)[task.output]}
