"""Cases that nobody scanned: label maps from a run that makes them, images of them from another."""

import functools
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from jaxseg.batch import LabelSpec
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.data.sources.source import RawCase, Source, content, fingerprint

# part of the fingerprint: raise it when the same options give other voxels
_VERSION = 2
# in place of a run: the label maps of the cases that the run of images was trained on
TRAINING = "training"
_LABEL, _IMAGE, _PLACE = range(3)


class Makers(NamedTuple):
  """What makes cases; numbers of noise go in, so that each case is made alike anywhere.

  Attributes:
    labels: the classes.
    channels: names of the channels of the images.
    patch: voxels per axis.
    spacing: millimetres per axis.
    mask: number -> (*patch) stored values.
    image: ((*patch) stored values, number) -> (*patch, channels) float32 intensities.
    key: digests of the runs and what else decides what is made.
  """

  labels: LabelSpec
  channels: tuple[str, ...]
  patch: tuple[int, ...]
  spacing: tuple[float, ...]
  mask: Callable[[int], np.ndarray]
  image: Callable[[np.ndarray, int], np.ndarray]
  key: dict[str, str]


def synthetic(
  masks: str, images: str, *, cases: int = 64, seed: int = 0, checkpoint: str = "latest"
) -> Source:
  """Label maps of one run and images of another one, made when read.

  Each case is a patch as large as the runs' are, on the grid that their networks see: a stream of
  such cases is neither resampled nor turned (`resampling=dict()`, `spacing=()`). Only labels of
  the runs' data set come out.

  Args:
    masks: folder of a run of `mask_gan` or `mask_vae` (config.task "masks"); or "training": the
      label maps of the cases that the run of images was trained on, cut out at random, turned and
      mirrored.
    images: folder of a run that makes images of labels (config.task.inputs="label"), as one of
      `pix2pix`. Its noise is on.
    cases: how many are made.
    seed: a case is a function of (seed, its number) and the runs' weights.
    checkpoint: of both runs, "latest" or "best".

  Raises:
    FileNotFoundError: no run, or one without a checkpoint.
    ValueError: a run that segments, or makes something else; runs of other labels or sizes.
  """
  # loading a run needs what the sources are a part of
  from jaxseg.runs import makers

  made = makers.makers(masks, images, checkpoint=checkpoint)
  if cases < 1:
    raise ValueError(f"config.data.source.cases: {cases}; expected at least one.")
  names = tuple(f"synthetic_{i:04d}" for i in range(cases))
  options = {**made.key, "seed": seed, "cases": cases, "version": _VERSION}
  read = functools.partial(_read, made=made, seed=seed, names=names)
  return Source(
    name="synthetic",
    cases=names,
    channels=made.channels,
    labels=made.labels,
    rank=len(made.patch),
    read=read,
    fingerprint=fingerprint((), options),
  )


def draw(seed: int, case: int, what: int) -> int:
  """The number of the noise that one part of a case is made of, below 2^31."""
  return int(np.random.SeedSequence((seed, case, what)).generate_state(1)[0] >> 1)


def _read(case: str, *, made: Makers, seed: int, names: tuple[str, ...]) -> RawCase:
  if case not in names:
    raise ValueError(f"case '{case}' is not in this data set, which has {len(names)} cases.")
  number = names.index(case)
  label = made.mask(draw(seed, number, _LABEL))
  image = made.image(label, draw(seed, number, _IMAGE))
  return RawCase(image, label, None, plain_geometry(label.shape, made.spacing))


class TurnedMasks:
  """Label maps of real cases, cut out, turned and mirrored at random.

  Args:
    read: case -> (*space) stored values on the network's grid.
    cases: of which one is drawn.
    labels: those with sides are neither mirrored nor turned.
    patch: what is cut out.
  """

  def __init__(
    self,
    read: Callable[[str], np.ndarray],
    cases: tuple[str, ...],
    labels: LabelSpec,
    patch: tuple[int, ...],
  ):
    # whole cases are read once each
    self._read, self._cases = functools.lru_cache(maxsize=64)(read), cases
    self._labels, self._patch = labels, patch

  def __call__(self, number: int) -> np.ndarray:
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence((number, _PLACE))))
    label = self._read(self._cases[random.integers(len(self._cases))])
    inside = np.argwhere(label != self._labels.background)
    centre = inside[random.integers(len(inside))] if len(inside) else np.array(label.shape) // 2
    turns = not self._labels.mirror_pairs
    # room for turning by any angle in the plane of the last two axes
    side = int(np.ceil(np.hypot(*self._patch[-2:]))) + 2
    size = (*self._patch[:-2], side, side) if turns else self._patch
    cut = _around(label, centre, size, self._labels.background)
    if turns:
      angle = random.uniform(0, 360)
      cut = ndimage.rotate(cut, angle, (-2, -1), reshape=False, order=0, mode="nearest")
      if random.integers(2):
        cut = cut[..., ::-1]
      cut = _around(cut, np.array(size) // 2, self._patch, self._labels.background)
    return np.ascontiguousarray(cut)


def _around(label: np.ndarray, centre, size: tuple[int, ...], outside: int) -> np.ndarray:
  """A window of some size, moved into the label where it fits, else padded on both sides alike."""
  start = [
    int(np.clip(c - n // 2, 0, max(0, whole - n)))
    for c, n, whole in zip(centre, size, label.shape, strict=True)
  ]
  cut = label[tuple(slice(s, s + n) for s, n in zip(start, size, strict=True))]
  # the label stays in the middle, as in training: a window is turned about its own
  pads = [((n - have) // 2, -(-(n - have) // 2)) for n, have in zip(size, cut.shape, strict=True)]
  return np.pad(cut, pads, constant_values=outside)


def sum_of(source: Source, cases: tuple[str, ...]) -> str:
  """Hash of what some cases hold, wherever their files lie."""
  return fingerprint((), {case: content(source.read(case)) for case in cases})


def run_of(option: str) -> pathlib.Path | None:
  """The run folder that an option names; None where it names none."""
  return None if option == TRAINING else pathlib.Path(option)
