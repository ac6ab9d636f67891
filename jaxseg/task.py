"""What a network's output means: what it is called, how many channels it has, how it is judged."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxseg.batch import LabelSpec
from jaxseg.build import suggestion
from jaxseg.metrics import METRICS, needs_probabilities, score

Metrics = Mapping[str, Callable]


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
    metrics: name -> metric, those that are evaluated while training.
    best: which of them the best checkpoint is judged by, by its mean over cases and names.
    final: those that the final weights are scored by.
  """

  name: str
  output: str
  channels: int
  scored: tuple[str, ...]
  decode: Callable[[np.ndarray], np.ndarray]
  score: Callable[..., dict[str, dict[str, float]]]
  metrics: Metrics
  best: str
  final: Metrics


def segmentation(labels: LabelSpec, metrics: Sequence[str] = (), best: str = "") -> Task:
  """Image -> logits of classes or regions.

  Args:
    labels: the classes or regions.
    metrics: names of what is evaluated while training; () is Dice and IoU.
    best: the one that the best checkpoint is judged by; "" is the first.
  """

  def scores(metrics: Metrics, prediction, truth, weight, spacing, **more):
    more |= {"classes": labels.channels, "spacing": spacing}
    values = score(metrics, prediction, truth, weight, **more)
    return {metric: labels.by_name(of) for metric, of in values.items()}

  watched, best = chosen("segmentation", metrics, best)
  # hd95 beside the overlap: what most papers report
  final = {name: METRICS[name] for name in ("dice", "iou", "hd95")} | watched
  return Task(
    "segmentation",
    "logits",
    labels.channels,
    labels.scored,
    labels.classes,
    scores,
    watched,
    best,
    final,
  )


TASKS: dict[str, Callable[..., Task]] = {"segmentation": segmentation}

# task -> the metrics that it knows, and those that are evaluated where a config names none
_KNOWN: dict[str, tuple[Metrics, tuple[str, ...]]] = {"segmentation": (METRICS, ("dice", "iou"))}


def chosen(task: str, metrics: Sequence[str], best: str) -> tuple[dict[str, Callable], str]:
  """What config.evaluate.metrics and .best name; raises ValueError in words for what isn't there.

  Args:
    task: a name in `TASKS`.
    metrics: names; () is the task's own choice.
    best: one of them; "" is the first.
  """
  known, usual = _KNOWN[task]
  names = tuple(dict.fromkeys(metrics)) or usual
  for field, name in [*(("metrics", name) for name in names), *([("best", best)] if best else [])]:
    if name not in known:
      raise ValueError(
        f"config.evaluate.{field}: '{name}' is unknown{suggestion(name, known)}; metrics of "
        f"{task}: {', '.join(known)}."
      )
    if needs_probabilities(known[name]):
      raise ValueError(
        f"config.evaluate.{field}: '{name}' needs probabilities, which validation does not keep; "
        "score it with `jaxseg evaluate` after `jaxseg predict --probabilities`."
      )
  if best and best not in names:
    raise ValueError(
      f"config.evaluate.best: '{best}' is not evaluated while training; add it to "
      f"config.evaluate.metrics ({', '.join(names)})."
    )
  return {name: known[name] for name in names}, best or names[0]


def only(task: Task, apply: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
  """A method's `apply`, the task's output alone: features nobody asked for would be computed."""
  return lambda state, batch: {task.output: apply(state, batch)[task.output]}
