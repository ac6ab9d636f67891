"""A scan and the runs that are to be explained on it: what they predict, and what a target is."""

import functools
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxseg.batch import LabelSpec
from jaxseg.build import suggestion
from jaxseg.data import RawCase
from jaxseg.data.formats.images import read_label
from jaxseg.data.prepared.grids import Grid
from jaxseg.data.sources.source import on_image_grid
from jaxseg.explain.noise import noisy
from jaxseg.explain.target import Apply
from jaxseg.inference.case import Case
from jaxseg.inference.segmentation import prepared_case, seen_by
from jaxseg.runs.load import Model, Opened

CLASS, VOXEL, REGION, MASK = "class", "voxel", "region", "mask"
TARGETS = (CLASS, VOXEL, REGION, MASK)


class Subject(NamedTuple):
  """Runs of one configuration, ready to be explained.

  Attributes:
    opened, model: the runs.
    apply: (params, image) -> outputs, one patch; params are a run's state and the fields of the
      batch beside the image.
  """

  opened: Opened
  model: Model
  apply: Apply

  @property
  def labels(self) -> LabelSpec:
    return self.model.described.labels


def subject(opened: Opened, model: Model) -> Subject:
  """The runs with their method's `apply` as the methods of this package take it."""

  def apply(params, image):
    state, further = params
    return opened.scheme.apply(state, {**further, "image": image})

  return Subject(opened, model, apply)


class Scan(NamedTuple):
  """A scan as the runs see it.

  Attributes:
    subject: the runs.
    raw, where: the scan as read, and what messages call it.
    case, grid: it on the network's grid, and the way back.
    logits: (*space, k) on the network's grid, the mean of the runs'.
  """

  subject: Subject
  raw: RawCase
  where: str
  case: Case
  grid: Grid
  logits: np.ndarray

  @property
  def members(self) -> list[tuple[Any, Case]]:
    """Each run's state, and the case as it sees it."""
    opened = self.subject.opened
    return [
      (state, Case(seen_by(own, self.case.fields)))
      for state, own in zip(opened.states.values(), opened.own, strict=True)
    ]


def prepare(subject: Subject, raw: RawCase, where: str) -> Scan:
  """A scan that is not predicted yet: without logits."""
  case, grid = prepared_case(subject.model.configuration, raw, where)
  return Scan(subject, raw, where, case, grid, np.zeros((0,), np.float32))


def scan(subject: Subject, raw: RawCase, where: str) -> Scan:
  """Prepares and predicts a scan."""
  ready = prepare(subject, raw, where)
  logits = subject.model.configuration.logits(ready.case)
  return ready._replace(logits=np.asarray(logits, np.float32))


@functools.partial(jax.jit, static_argnames=("apply", "noise"))
def _logits(apply: Apply, params, image, key, noise: bool):
  return (noisy(apply, key) if noise else apply)(params, image)["logits"]


def answer(scan: Scan, member: int, key: jax.Array | None = None) -> np.ndarray:
  """One run's logits of the whole scan, (*space, k); with a key its dropout is on."""
  opened, (state, case) = scan.subject.opened, scan.members[member]
  calls = itertools.count()

  def apply(batch):
    further = {name: values for name, values in batch.items() if name != "image"}
    noise = key is not None
    now = jax.random.fold_in(key, next(calls)) if noise else jax.random.key(0)
    return {"logits": _logits(scan.subject.apply, (state, further), batch["image"], now, noise)}

  return np.asarray(opened.predict(apply, case, **opened.flips), np.float32)


def channel_of(labels: LabelSpec, name: str) -> int:
  """The channel of a class or region, by name or stored value; raises ValueError in words."""
  values = [str(value) for value in labels.written]
  for known in (list(labels.names), values):
    if name in known:
      return known.index(name)
  raise ValueError(
    f"--class {name}: no such class{suggestion(name, labels.names)}; choices: "
    f"{', '.join(labels.names)}."
  )


class Target(NamedTuple):
  """What is explained.

  Attributes:
    channel: of the logits.
    inside: (*space) bool on the network's grid.
    words: for a reader: "class lesion, 812 voxels".
  """

  channel: int
  inside: np.ndarray
  words: str


def prediction(scan: Scan, channel: int) -> np.ndarray:
  """(*space) bool: where the runs see a class or region."""
  classes = scan.subject.labels.classes(scan.logits)
  return classes[..., channel] > 0 if scan.subject.labels.regions else classes == channel


def present(scan: Scan) -> dict[str, int]:
  """Voxels of each class or region that counts and is predicted, the most first."""
  labels = scan.subject.labels
  counts = {
    labels.names[k]: int(prediction(scan, k).sum()) for k in range(labels.first, labels.channels)
  }
  return {k: n for k, n in sorted(counts.items(), key=lambda item: -item[1]) if n}


def target(
  scan: Scan,
  kind: str,
  *,
  label: str | None = None,
  at: Sequence[int] | None = None,
  region: Sequence[tuple[int, int]] | None = None,
  mask=None,
) -> Target:
  """The target on the network's grid.

  Args:
    scan: what it is of.
    kind: one of `TARGETS`.
    label: name (or stored value) of the class or region; None is, of a class, the one with the most
      voxels, else the one that is predicted in most of the target.
    at: of a voxel: its place in the file, as (z, y, x) or (y, x).
    region: of a box: [start, stop) along each of these axes.
    mask: of a mask: a label file on the scan's grid; what is not 0 counts.

  Raises ValueError for a class that is not predicted, and a target outside of the scan.
  """
  labels = scan.subject.labels
  if kind == CLASS:
    channel = _present_channel(scan, label)
    inside = prediction(scan, channel)
    return Target(channel, inside, _words(labels, channel, inside, "predicted"))
  stored, words = _drawn(scan, kind, at, region, mask)
  inside = scan.grid.mask(stored)
  if not inside.any():
    raise ValueError(
      f"{scan.where}: the {kind} lies outside of what the network is shown of the scan; choose "
      "another."
    )
  channel = _most(scan, inside) if label is None else channel_of(labels, label)
  return Target(channel, inside, _words(labels, channel, inside, words))


def _present_channel(scan: Scan, label: str | None) -> int:
  labels, known = scan.subject.labels, present(scan)
  if label is None:
    if not known:
      raise ValueError(
        f"{scan.where}: the run predicts no class in this scan but the background; ask why by "
        "--target voxel, region or mask with --class."
      )
    return labels.names.index(next(iter(known)))
  channel = channel_of(labels, label)
  if not prediction(scan, channel).any():
    there = ", ".join(known) or "the background alone"
    raise ValueError(
      f"{scan.where}: class '{labels.names[channel]}' is absent: the run predicts no voxel of it, "
      f"but {there}; choose one of these, or a place by --target voxel, region or mask."
    )
  return channel


def _most(scan: Scan, inside: np.ndarray) -> int:
  """The channel that scores highest in most of a target."""
  best = scan.logits[inside].argmax(-1)
  return int(np.bincount(best).argmax())


def _words(labels: LabelSpec, channel: int, inside: np.ndarray, words: str) -> str:
  count = int(inside.sum())
  return f"{labels.names[channel]}, {words}: {count} voxel{'s' * (count != 1)}"


def _drawn(scan: Scan, kind: str, at, region, mask) -> tuple[np.ndarray, str]:
  """(*space) bool on the scan's own grid, and what it is."""
  shape = scan.raw.geometry.shape
  if kind == MASK:
    values, geometry = read_label(mask)
    how = {"what": "mask", "unless": ""}
    stored = on_image_grid(values, geometry, scan.raw.geometry, str(mask), **how) != 0
    if not stored.any():
      raise ValueError(f"--mask {mask}: is 0 everywhere; mark the voxels that are to be explained.")
    return stored, f"mask {getattr(mask, 'name', mask)}"
  spans = [(i, i + 1) for i in at] if kind == VOXEL else list(region)
  option = "--at" if kind == VOXEL else "--region"
  if len(spans) != len(shape):
    raise ValueError(
      f"{option}: {len(spans)} axes; expected {len(shape)}, the scan's {'zyx'[-len(shape) :]} in "
      "this order."
    )
  for (low, high), size in zip(spans, shape, strict=True):
    if not 0 <= low < high <= size:
      asked = low if kind == VOXEL else f"{low}:{high}"
      raise ValueError(
        f"{option}: {asked} lies outside of the scan, whose size is {shape} ("
        f"{', '.join('zyx'[-len(shape) :])}); indices count from 0."
      )
  stored = np.zeros(shape, bool)
  stored[tuple(slice(*span) for span in spans)] = True
  words = ":".join(map(str, at)) if kind == VOXEL else " ".join(f"{a}:{b}" for a, b in spans)
  return stored, f"{kind} {words}"


def on_scan(scan: Scan, values: np.ndarray) -> np.ndarray:
  """(*network's grid) float -> (*own grid) float32; 0 where the network was shown nothing."""
  return np.asarray(scan.grid.restore(np.asarray(values, np.float32)), np.float32)
