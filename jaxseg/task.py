"""What a network's output means: what it is called, how many channels it has, how it is judged."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxseg.batch import Array, Batch, LabelSpec
from jaxseg.build import suggestion
from jaxseg.data.prepared.normalise import check_undone, normalised, undone
from jaxseg.data.prepared.pairs import LABEL
from jaxseg.data.sources.source import RawCase
from jaxseg.inference import pictures
from jaxseg.metrics import IMAGE_METRICS, METRICS, needs_probabilities, score

Metrics = Mapping[str, Callable]
# the name of the task of label maps that are made of noise
MASKS = "masks"


class Task(NamedTuple):
  """What a network's output means.

  Attributes:
    name: its name in `TASKS`.
    output: the key of what a method's `apply` gives: "logits" or "image".
    channels: how many of them.
    scored: names of what is scored: classes without the background, regions, channels.
    decode: (*space, channels) of the network -> what `score` compares with the truth.
    truth: a prepared case -> the truth on the network's grid.
    score: (metrics, prediction, truth, weight, spacing) -> metric -> name -> value; for classes
      also `probabilities` and `instances`, as for `metrics.score`.
    metrics: name -> metric, those that are evaluated while training.
    best: which of them the best checkpoint is judged by, by its mean over cases and names.
    final: those that the final weights are scored by.
    panel: (image, truth, prediction), all on one grid -> them side by side, as a picture.
    pair: of images that are made: a raw case -> the case as it is given to be predicted, and the
      (*space, channels) image that is to be made of it; None for other tasks.
  """

  name: str
  output: str
  channels: int
  scored: tuple[str, ...]
  decode: Callable[[Array], Array]
  truth: Callable[[Batch], Array]
  score: Callable[..., dict[str, dict[str, float]]]
  metrics: Metrics
  best: str
  final: Metrics
  panel: Callable[..., np.ndarray]
  pair: Callable[[RawCase], tuple[RawCase, np.ndarray]] | None = None


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

  watched, best = choose_metrics("segmentation", metrics, best)
  return Task(
    name="segmentation",
    output="logits",
    channels=labels.channels,
    scored=labels.scored,
    decode=labels.classes,
    truth=lambda sample: sample[labels.field],
    score=scores,
    metrics=watched,
    best=best,
    # hd95 beside the overlap: what most papers report
    final={name: METRICS[name] for name in ("dice", "iou", "hd95")} | watched,
    panel=lambda image, *encoded: pictures.panel(image, *map(labels.index, encoded)),
  )


def masks(labels: LabelSpec, metrics: Sequence[str] = (), best: str = "") -> Task:
  """Noise -> logits of classes or regions: label maps that are nobody's.

  A case's map has nothing to do with the one that is made beside it: what tells something of both
  is how large their classes are.

  Args:
    labels: the classes or regions.
    metrics: names of what is evaluated while training; () is the similarity of volumes.
    best: the one that the best checkpoint is judged by; "" is the first.
  """
  watched, best = choose_metrics(MASKS, metrics, best)
  final = {"volume_similarity": METRICS["volume_similarity"]} | watched
  return segmentation(labels)._replace(name=MASKS, metrics=watched, best=best, final=final)


def synthesis(
  schemes: Mapping[str, Mapping],
  metrics: Sequence[str] = (),
  best: str = "",
  *,
  inputs: Sequence[str] | str,
  targets: Sequence[str],
  data_range: float | None = None,
) -> Task:
  """Channels of an image, or its label, -> other channels.

  Args:
    schemes: channel -> its normalisation, of all that the data set has.
    metrics: names of what is evaluated while training; () is PSNR, SSIM and the mean difference.
    best: the one that the best checkpoint is judged by; "" is the first.
    inputs: names of channels, or "label".
    targets: names of channels.
    data_range: of the targets' intensities, for PSNR and SSIM; None is that of each reference.
  """
  inputs = inputs if inputs == LABEL else _channels(inputs, "inputs", schemes)
  targets = _channels(targets, "targets", schemes)
  if both := [name for name in targets if name in inputs]:
    raise ValueError(f"config.task.targets: '{both[0]}' is among the inputs, too; expected others.")
  for name in targets:
    check_undone(schemes[name], f"config.data.normalise: of the target '{name}'")

  def decode(image):
    xp = np if isinstance(image, np.ndarray) else jnp
    return xp.stack([undone(image[..., i], schemes[t]) for i, t in enumerate(targets)], -1)

  def pair(raw: RawCase):
    image = raw.label[..., None] if inputs == LABEL else of(raw, inputs)
    return raw._replace(image=image, label=None), of(raw, targets)

  def of(raw: RawCase, names):
    places = list(schemes)
    return raw.image[..., [places.index(name) for name in names]]

  def panel(image, *made):
    given = image.argmax(-1)[..., None].astype(np.float32) if inputs == LABEL else image
    return pictures.side_by_side(given, *made)

  def scores(metrics: Metrics, prediction, truth, weight, spacing):
    del spacing
    by_channel = {name: (prediction[..., i], truth[..., i]) for i, name in enumerate(targets)}
    return {
      metric: {name: of(*pair, weight) for name, pair in by_channel.items()}
      for metric, of in metrics.items()
    }

  watched, best = choose_metrics("synthesis", metrics, best)
  bound = {
    name: functools.partial(of, data_range=data_range) if _has_range(of) else of
    for name, of in (IMAGE_METRICS | watched).items()
  }
  return Task(
    name="synthesis",
    output="image",
    channels=len(targets),
    scored=targets,
    decode=decode,
    truth=lambda sample: decode(sample["target_image"]),
    score=scores,
    metrics={name: bound[name] for name in watched},
    best=best,
    final=bound,
    panel=panel,
    pair=pair,
  )


# intensities of what has no numbers of its own
_GREY = {"name": "window", "lower": 0.0, "upper": 255.0, "signed": True}


def translation(
  schemes: Mapping[str, Mapping],
  made: Mapping[str, Mapping],
  metrics: Sequence[str] = (),
  best: str = "",
) -> Task:
  """Images of one domain -> images of another, of which there are no pairs.

  Its scores compare an image with the one that it was made of, both in [-1, 1]: they tell how much
  of it is kept, and not how well it looks like one of the other domain.

  Args:
    schemes: channel -> its normalisation to [-1, 1], of the domain that is given.
    made: of the domain that is made; where each case has its own numbers ("minmax") an image that
      is yet to be made has none, and intensities are from 0 to 255.
    metrics: names of what is evaluated while training; () is SSIM, PSNR and the mean difference.
    best: the one that the best checkpoint is judged by; "" is the first.
  """
  names = tuple(made)
  made = {name: _GREY if of["name"] == "minmax" else of for name, of in made.items()}
  known = {name: _GREY if of["name"] == "minmax" else of for name, of in schemes.items()}

  def decode(image, of=made):
    xp = np if isinstance(image, np.ndarray) else jnp
    return xp.stack([undone(image[..., i], scheme) for i, scheme in enumerate(of.values())], -1)

  def encode(image, of):
    each = [normalised(image[..., i], scheme) for i, scheme in enumerate(of.values())]
    return np.stack(each, -1)

  def scores(metrics: Metrics, prediction, truth, weight, spacing):
    del spacing
    prediction, truth = encode(np.asarray(prediction), made), encode(np.asarray(truth), schemes)
    return {
      metric: {name: of(prediction[..., i], truth[..., i], weight) for i, name in enumerate(names)}
      for metric, of in metrics.items()
    }

  watched, best = choose_metrics("translation", metrics, best)
  bound = {
    name: functools.partial(of, data_range=2.0) if _has_range(of) else of
    for name, of in (IMAGE_METRICS | watched).items()
  }
  return Task(
    name="translation",
    output="image",
    channels=len(names),
    scored=names,
    decode=decode,
    truth=lambda sample: decode(np.asarray(sample["image"]), known),
    score=scores,
    metrics={name: bound[name] for name in watched},
    best=best,
    final=bound,
    # each in its own grey window
    panel=lambda image, truth, predicted: pictures.side_by_side(image, predicted),
    pair=lambda raw: (raw._replace(label=None), raw.image),
  )


def _has_range(metric: Callable) -> bool:
  return "data_range" in inspect.signature(metric).parameters


def _channels(names: Sequence[str] | str, field: str, known: Mapping[str, Any]) -> tuple[str, ...]:
  """Names of channels; raises ValueError for none, for what is none and for one named twice."""
  listed = f"the data set's channels are {', '.join(known)}"
  label = f', or "{LABEL}"' if field == "inputs" else ""
  if isinstance(names, str) or not names:
    raise ValueError(
      f"config.task.{field}: {names!r}; expected names of channels, as ('{next(iter(known))}',)"
      f"{label}; {listed}."
    )
  for name in names:
    if name not in known:
      raise ValueError(
        f"config.task.{field}: '{name}' is no channel{suggestion(str(name), known)}; {listed}."
      )
  if len(set(names)) < len(names):
    raise ValueError(f"config.task.{field}: {tuple(names)} names a channel twice.")
  return tuple(names)


TASKS: dict[str, Callable[..., Task]] = {
  "segmentation": segmentation,
  "synthesis": synthesis,
  MASKS: masks,
  "translation": translation,
}

# task -> the metrics that it knows, and those that are evaluated where a config names none
_KNOWN: dict[str, tuple[Metrics, tuple[str, ...]]] = {
  "segmentation": (METRICS, ("dice", "iou")),
  "synthesis": (IMAGE_METRICS, ("psnr", "ssim", "mae")),
  MASKS: (METRICS, ("volume_similarity",)),
  "translation": (IMAGE_METRICS, ("ssim", "psnr", "mae")),
}


def choose_metrics(task: str, metrics: Sequence[str], best: str) -> tuple[dict[str, Callable], str]:
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
