"""What runs do with windows of a scan, as one function of arrays: the body of every export."""

import inspect
import itertools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg import paths
from jaxseg.batch import LabelSpec, kind, swap_classes
from jaxseg.config.synthesis import makes_images
from jaxseg.data.prepared.pairs import LABEL
from jaxseg.interop.exports import intensities
from jaxseg.method import Learner, State
from jaxseg.runs.load import Opened, task_of
from jaxseg.task import MASKS

IMAGE, STATISTICS = "image", "statistics"
LABELS = "labels"


class WindowProgram(NamedTuple):
  """Windows of stored intensities -> scores and labels.

  Attributes:
    function: (weights, image, statistics) -> {"logits": (b, *window, k) float32, "labels":
      (b, *window) int32 stored values}, or {"image": (b, *window, k)} of runs that make images.
      `image` is (b, *patch, channels) float32, NaN where there is nothing; `statistics` is that of
      the scan, see `intensities`.
    weights: path -> (runs, ...) array.
    patch: of `image`.
    channels: how many.
    of_a_scan: whether `statistics` are looked at.
    told: what an artefact says of itself, for JSON.
  """

  function: Callable
  weights: dict[str, np.ndarray]
  patch: tuple[int, ...]
  channels: int
  of_a_scan: bool
  told: dict[str, Any]


def check(opened: Opened) -> None:
  """Raises ValueError for runs whose networks take more than an image."""
  told, where = opened.told[0], next(iter(opened.states))
  if told.config["data"].get("prior"):
    raise ValueError(
      f"{where}: is the second stage of a cascade, whose network also takes what the first one "
      "makes of the whole scan, so that it is no program of windows alone; choose --format saved, "
      "which packs both stages for jaxseg predict, or export the first stage."
    )
  if told.config["task"]["name"] == MASKS:
    raise ValueError(
      f"{where}: makes label maps of noise, which is no program of windows; choose --format saved."
    )
  if told.config["predictor"]["name"] == "boxed":
    raise ValueError(
      f"{where}: looks at the whole scan to find the box that it then looks at, so that it is no "
      "program of windows; choose --format saved, which packs it for jaxseg predict."
    )
  if told.config["task"].get("inputs") == LABEL:
    raise ValueError(
      f"{where}: makes images of labels, so that its windows hold no intensities; choose "
      "--format saved."
    )


def window_program(opened: Opened, *, normalised: bool = False, loops: bool = True):
  """The program of runs that were opened with one device; raises ValueError as `check`.

  Args:
    opened: the runs, with or without mirror images.
    normalised: windows are given as the networks see them, without normalisation in front.
    loops: several runs, and mirror images, are applied in a loop, which compiles once; else they
      are written out one after the other.
  """
  check(opened)
  first = opened.told[0]
  if normalised and any(
    p.normalisation != opened.preparations[0].normalisation for p in opened.preparations
  ):
    raise ValueError(
      f"{', '.join(map(str, opened.states))}: normalise scans by numbers of their own, so that no "
      "window can be given normalised for all; leave --normalised out, or export each alone."
    )
  aims = [task_of(one) for one in opened.told]
  output, channels = aims[0].output, len(first.channels)
  schemes = first.preparation.normalisation
  fixed = np.stack([intensities.numbers(opened.preparations[i].normalisation) for i in opened.own])
  restored = np.stack([_restored(aim) for aim in aims])
  options = {n: p.default for n, p in inspect.signature(opened.predict).parameters.items()}
  rank = len(first.config["data"]["patch"])
  margin = _per_axis(opened.network.margin(rank), rank)
  patch = tuple(options["patch"])
  if not any(margin):
    strides = _per_axis(opened.network.total_stride(rank), rank)
    patch = tuple(-(-p // s) * s for p, s in zip(patch, strides, strict=True))
  # a 2D network's windows of a volume are one slice thick
  axis = options.get("axis", 0) if first.rank > rank else None
  flips = _Flips(rank, **opened.flips)

  def of_run(image, statistics, item):
    weights, fixed, restored = item
    if not normalised:
      image = intensities.normalised(image, statistics, schemes, fixed)
    scores = opened.scheme.apply(_state(weights), {"image": image})[output]
    scores = scores.astype(jnp.float32)
    if output == "logits":
      return scores
    factor, shift = (jnp.reshape(row, (1,) * (scores.ndim - 1) + (-1,)) for row in restored)
    return scores * factor + shift

  def function(weights, image, statistics):
    items = (weights, fixed, restored)
    if axis is not None:
      image = jnp.squeeze(image, axis + 1)

    def of_flip(flags):
      turned = flips.image(image, flags)
      scores = _mean(lambda item: of_run(turned, statistics, item), items, loops)
      return flips.scores(scores, flags, classes=output == "logits")

    scores = _mean(of_flip, flips.flags, loops)
    outputs = {output: scores}
    if output == "logits":
      outputs[LABELS] = decoded(scores, first.labels)
    return {
      name: values if axis is None else jnp.expand_dims(values, axis + 1)
      for name, values in outputs.items()
    }

  def in_space(values, of_slice: int) -> tuple[int, ...]:
    values = tuple(int(v) for v in values)
    return values if axis is None else (*values[:axis], of_slice, *values[axis:])

  told = {
    "runs": [folder.name for folder in opened.states],
    "task": first.config["task"]["name"],
    "output": output,
    "channels": list(first.channels),
    "targets": list(first.targets) if makes_images(first.config) else [],
    "names": list(first.labels.names),
    "values": list(first.labels.written),
    "regions": first.labels.regions is not None,
    "patch": in_space(patch, 1),
    "margin": in_space(margin, 0),
    "window": in_space([p - 2 * m for p, m in zip(patch, margin, strict=True)], 1),
    "overlap": float(options["overlap"]),
    "weighting": options["weighting"],
    "padding": options["padding"],
    "mirror": [list(axes) for axes in flips.axes],
    "normalised": normalised,
    "normalisation": [[dict(s) for s in p.normalisation] for p in opened.preparations],
    "preparation": json.loads(first.preparation.to_json()),
    "labels": json.loads(first.labels.to_json()),
  }
  of_a_scan = not normalised and intensities.of_a_scan(schemes)
  return WindowProgram(function, _weights(opened), told["patch"], channels, of_a_scan, told)


def decoded(logits, labels: LabelSpec):
  """`LabelSpec.decode` of (b, *space, k) logits, to be traced."""
  written = [np.int32(value) for value in labels.written]
  if labels.regions:
    masks, out = [logits[..., k] > 0 for k in range(len(written))], np.int32(0)
  else:
    best = jnp.argmax(logits, -1)
    masks, out = [best == k for k in range(len(written))], written[0]
  # a choice per class, no look-up: every runtime has it
  for mask, value in zip(masks, written, strict=True):
    out = jnp.where(mask, value, out)
  return out


class _Flips:
  """Mirror images of windows, chosen by flags: traced ones in a loop, or known ones."""

  def __init__(self, rank: int, mirror_axes=(), swap=(), swap_axis: int = -1):
    self._axes, self._rank = tuple(mirror_axes), rank
    self._swap, self._swap_axis = tuple(swap), swap_axis % rank
    self.flags = np.array(list(itertools.product((False, True), repeat=len(self._axes))), bool)
    self.axes = [tuple(np.array(self._axes, int)[row].tolist()) for row in self.flags]

  def image(self, image, flags):
    return self._flipped(image, flags)

  def scores(self, scores, flags, *, classes: bool):
    """Back again: left and right change their names, too."""
    scores = self._flipped(scores, flags)
    if classes and self._swap and self._swap_axis in self._axes:
      flag = flags[self._axes.index(self._swap_axis)]
      scores = _chosen(flag, lambda: swap_classes(kind("logits"), scores, self._swap), scores)
    return scores

  def _flipped(self, values, flags):
    for axis, flag in zip(self._axes, flags, strict=True):
      values = _chosen(flag, lambda v=values, a=axis: jnp.flip(v, a + 1), values)
    return values


def _chosen(flag, changed: Callable, values):
  """`changed()` where the flag says so."""
  if isinstance(flag, bool | np.bool_):
    return changed() if flag else values
  return jnp.where(flag, changed(), values)


def _mean(of: Callable, items, loops: bool):
  """The mean of `of(item)`, items being along the first axis of every array."""
  leaves = jax.tree.leaves(items)
  number = len(leaves[0])
  if number == 1 or not loops:
    total = of(jax.tree.map(lambda x: x[0], items))
    for i in range(1, number):
      total = total + of(jax.tree.map(lambda x, i=i: x[i], items))
    return total if number == 1 else total / number
  items = jax.tree.map(jnp.asarray, items)
  like = jax.eval_shape(of, jax.tree.map(lambda x: x[0], items))
  start = jnp.zeros(like.shape, like.dtype)
  return jax.lax.scan(lambda total, item: (total + of(item), None), start, items)[0] / number


def _weights(opened: Opened) -> dict[str, np.ndarray]:
  """Path -> arrays of all runs, one after the other."""
  flat = [
    paths.flatten(
      {name: {"params": of.params, "stats": of.stats} for name, of in state.learners.items()}
    )
    for state in opened.states.values()
  ]
  return {name: np.stack([np.asarray(one[name]) for one in flat]) for name in flat[0]}


def _state(weights) -> State:
  learners = {
    name: Learner(of.get("params", {}), of.get("stats", {}), ())
    for name, of in paths.unflatten(weights).items()
  }
  return State(jnp.zeros((), jnp.int32), learners)


def _restored(aim) -> np.ndarray:
  """(2, channels) factor and shift from a network's image to intensities; 1 and 0 of logits."""
  none = np.zeros((1, aim.channels), np.float32)
  if aim.output == "logits":
    return np.concatenate([none + 1, none])
  shift = aim.decode(none)
  return np.concatenate([aim.decode(none + 1) - shift, shift])


def _per_axis(values, rank: int) -> tuple[int, ...]:
  return (values,) * rank if isinstance(values, int | np.integer) else tuple(values)
