"""Volumes that are made up: a config runs without its data, and without packages that read files.

Cases are ellipsoids of the config's classes on noise, which a network can learn. They are prepared,
fed and augmented as any others.
"""

import argparse
import hashlib
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxseg import feeding
from jaxseg.batch import LabelSpec
from jaxseg.build import plain
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.data.sources.source import RawCase, Source
from jaxseg.experiment import Experiment, experiment

CASES = 6
NAME = "made_"  # and a number: a case
# voxels of a case over those of a patch, per axis; slices of a volume that is sliced
_ROOM, _SLICES = 1.25, 8
# brightness between neighbouring classes, and the noise upon it
_STEP, _NOISE = 100.0, 40.0
_VERSION = 1
OWN, MADE = "own", "made"


def add_options(parser: argparse.ArgumentParser) -> None:
  from jaxseg.config.ranges import COUNT, FROM_2
  from jaxseg.verbs.arguments import number

  add = parser.add_argument
  add(
    "--data",
    choices=(OWN, MADE),
    default=OWN,
    help="the config's own data (default), or volumes that are made up in their place",
  )
  add("--channels", type=number(int, COUNT), help="of made data, without the config's own")
  add("--classes", type=number(int, FROM_2), help="the same, the background counted")


def made_experiment(
  config,
  folder,
  *,
  channels: int | None = None,
  classes: int | None = None,
  cases: int = CASES,
  size: Sequence[int] | None = None,
  devices: Sequence | None = None,
) -> Experiment:
  """A config's experiment on volumes that are made up.

  Args:
    config: a ConfigDict, or plain data (`jaxseg.defaults.fields`).
    folder: where they are prepared.
    channels, classes: of the cases, the background counted; None takes names and labels of the
      config's own data, which must be there then.
    cases: how many, of which half validate.
    size: voxels of a case on the network's grid, per axis; None is a quarter more than a patch.
    devices: of the layout, see `experiment`.

  Raises ValueError where the config's own data would tell, but are not there; for a config that
  needs further fields of its own cases.
  """
  values = plain(config)
  options = values["data"]
  for field in ("prior", "fields"):
    if options[field]:
      raise ValueError(
        f"config.data.{field}: {options[field]!r}, which cases that are made up don't have; "
        "measure with the config's own data, or leave it out."
      )
  if cases < 2:
    raise ValueError(f"made data: {cases} case(s); expected 2 or more, for some validate.")
  values["data"] = {**options, "folder": str(folder), "workers": 1, "split": _halves(options)}
  values["streams"] = {
    name: {**of, "split": _halves(of)} if of and "split" in of else of
    for name, of in values["streams"].items()
  }

  def sources(view: Mapping[str, Any]) -> Source:
    return source(view, channels=channels, classes=classes, cases=cases, size=size)

  with warnings.catch_warnings():
    # a second source is said to lie where the first one does: both are made up
    warnings.filterwarnings("ignore", message=r"config\.streams\..*: lies where")
    return experiment(values, sources=sources, devices=devices)


def _halves(options: Mapping[str, Any]) -> dict[str, Any]:
  """Two folds, with as large a share of labels."""
  split = options.get("split") or {}
  labelled = split.get("labelled")
  if labelled is not None and not isinstance(labelled, int | float):
    labelled = 0.5  # names of cases that there are not
  share = {} if labelled is None else {"labelled": labelled}
  return {"name": "kfold", "folds": 2, "fold": 0, **share}


def source(
  config: Mapping[str, Any],
  *,
  channels: int | None = None,
  classes: int | None = None,
  cases: int = CASES,
  size: Sequence[int] | None = None,
) -> Source:
  """Cases that are made up for a config, see `made_experiment`."""
  options = config["data"]
  names, labels = _meaning(config, channels, classes)
  rank = len(options["patch"]) + (options["slices"] is not None)
  size = _size(options) if size is None else tuple(size)
  if len(size) != rank or min(size) < 1:
    raise ValueError(
      f"made data: a size of {size}; expected {rank} whole numbers above 0, as many as the cases "
      "have axes."
    )
  spacing = tuple(1.0 if s is None else float(s) for s in options["spacing"] or (None,) * rank)
  order = np.argsort(options["transpose"] or range(rank))
  stored = [tuple(of[axis] for axis in order) for of in (size, spacing)]
  known = tuple(f"{NAME}{i:04d}" for i in range(cases))
  told = json.dumps([_VERSION, *stored, names, labels.to_json(), cases, config["seed"]])

  def read(name: str) -> RawCase:
    return case(labels, len(names), *stored, seed=(config["seed"], known.index(name)))

  return Source(
    name=MADE,
    cases=known,
    channels=names,
    labels=labels,
    rank=rank,
    read=read,
    fingerprint=hashlib.sha256(told.encode()).hexdigest()[:16],
  )


def _meaning(
  config, channels: int | None, classes: int | None
) -> tuple[tuple[str, ...], LabelSpec]:
  """Names of the channels, and the labels."""
  if channels is None or classes is None:
    try:
      own = feeding.source_of(config)
    except (ValueError, OSError, ImportError) as error:
      raise ValueError(
        "made data: channels and classes are those of the config's own data, which cannot be read "
        f"({str(error).rstrip('.')}); expected the data there, or both numbers given."
      ) from error
    names, labels = own.channels, own.labels
  if channels is not None:
    names = tuple(f"channel_{i}" for i in range(channels))
    names = tuple(_of_task(config, names))
  if classes is not None:
    told = ("background", *(f"class_{k}" for k in range(1, classes)))
    labels = LabelSpec(told, tuple(range(classes)))
  return names, labels


def _of_task(config, names: tuple[str, ...]) -> Sequence[str]:
  """The names that a config which makes images gives to its channels."""
  task = config["task"]
  asked = (task.get("inputs", ()), task.get("targets", ()))
  listed = [name for of in asked if not isinstance(of, str) for name in of]
  return [*listed, *names[len(listed) :]] if listed else names


def _size(options: Mapping[str, Any]) -> tuple[int, ...]:
  size = [math.ceil(_ROOM * n) for n in options["patch"]]
  if options["slices"] is not None:
    size.insert(options["slices"], _SLICES)
  return tuple(size)


def case(
  labels: LabelSpec,
  channels: int,
  size: Sequence[int],
  spacing: Sequence[float],
  *,
  seed: Sequence[int] | int = 0,
) -> RawCase:
  """A case of ellipsoids, one for each stored value; where values are ignored, a slab of these.

  Args:
    labels: the classes.
    channels: of the image, each with the classes in another order of brightness.
    size, spacing: voxels and millimetres per axis.
    seed: of all that is drawn.
  """
  random = np.random.default_rng(seed)
  size, values = tuple(int(n) for n in size), np.array(labels.stored_values)
  place = np.zeros(size, np.uint16)
  # together they fill a fifth of the case, however many they are
  share = 0.45 * (1 / max(2, len(values))) ** (1 / len(size))
  for number in range(1, len(values)):
    radii = [max(0.6, share * n * random.uniform(0.8, 1.2)) for n in size]
    centre = [random.uniform(0.25, 0.75) * (n - 1) for n in size]
    spans, distance = [], 0.0
    for axis, (c, r, n) in enumerate(zip(centre, radii, size, strict=True)):
      # the voxel of the centre is always inside
      at = np.arange(max(0, math.floor(c - r)), min(n, math.ceil(c + r) + 1))
      spans.append(slice(int(at[0]), int(at[-1]) + 1))
      square = ((at - c) / r) ** 2
      distance = distance + square.reshape([-1 if a == axis else 1 for a in range(len(size))])
    place[tuple(spans)][distance <= max(1.0, float(np.min(distance)))] = number
  image = np.empty((*size, channels), np.float32)
  for channel in range(channels):
    bright = _STEP * (1 + np.roll(np.arange(len(values), dtype=np.float32), -channel))
    image[..., channel] = bright[place]
    image[..., channel] += np.float32(_NOISE) * random.standard_normal(size, np.float32)
  label = values[place].astype(np.int32)
  if labels.ignore is not None:
    label[: max(1, size[0] // 8)] = labels.ignore
  return RawCase(image, label, None, plain_geometry(size, spacing))
