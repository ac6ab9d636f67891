"""How like, and how unlike, made samples are to real ones: numbers of sets, not of pairs.

Label maps are (n, *space) class indices, background 0. What is compared has the same voxels.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy import fft


def pairwise_dice(masks: np.ndarray, classes: int) -> np.ndarray:
  """Dice of every pair of label maps, of all foreground voxels, (pairs,); NaN of two empty ones.

  A voxel is shared where both have the same class. The more alike all are, the less there is to
  learn from them: 1 is one map, many times over.
  """
  flat = _foreground(masks, classes).reshape(len(masks), -1)
  shared, size = flat @ flat.T, flat.sum(1)
  total = size[:, None] + size
  pairs = np.triu_indices(len(masks), 1)
  with np.errstate(invalid="ignore"):
    return (2 * shared / total)[pairs]


def shares(masks: np.ndarray, classes: int) -> np.ndarray:
  """The share of the voxels that each class has, (n, classes)."""
  flat = np.reshape(masks, (len(masks), -1))
  return np.stack([(flat == k).mean(1) for k in range(classes)], 1)


def earth_movers_distance(a: np.ndarray, b: np.ndarray) -> float:
  """How far values (n,) and (m,) lie apart, each set as a heap of earth: in their own unit.

  The area between the two cumulative distributions (1-Wasserstein).
  """
  values = np.sort(np.concatenate([a, b]))
  below = [np.searchsorted(np.sort(x), values[:-1], side="right") / len(x) for x in (a, b)]
  return float((np.abs(below[0] - below[1]) * np.diff(values)).sum())


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
  """Distance of two sets of features (n, d), (m, d), each taken for a normal distribution.

  |mean_a - mean_b|^2 + trace(cov_a + cov_b - 2 (cov_a cov_b)^1/2), as in FID (Heusel et al.,
  1706.08500), with covariances of n - 1. It grows as samples get fewer: compare numbers of equal n.
  """
  a, b = (np.asarray(x, np.float64) for x in (a, b))
  if min(len(a), len(b)) < 2:
    raise ValueError("frechet_distance: one sample has no covariance; expected at least two.")
  means = a.mean(0) - b.mean(0)
  covariances = [np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b)]
  # the root of a product has the trace of the root of root(a) b root(a), which is symmetric
  values, vectors = np.linalg.eigh(covariances[0])
  root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
  inner = np.linalg.eigvalsh(root @ covariances[1] @ root)
  shared = np.sqrt(np.maximum(inner, 0)).sum()
  return float(means @ means + sum(np.trace(c) for c in covariances) - 2 * shared)


class Nearest(NamedTuple):
  """Where a sample lies nearest to real cases.

  Attributes:
    case: number of the case.
    start: (rank,) first voxel of the window.
    turn: number of `turns` that the sample was turned by.
    value: its Dice, or its distance.
  """

  case: int
  start: tuple[int, ...]
  turn: int
  value: float


def turns(array: np.ndarray, rank: int) -> Iterator[np.ndarray]:
  """Mirror images and quarter turns of (*space, ...) in the last two axes of space, itself first.

  Eight of a square; four of a rectangle, which a quarter turn would not fit.
  """
  last = (rank - 2, rank - 1)
  square = array.shape[last[0]] == array.shape[last[1]]
  for mirrored, quarters in itertools.product((False, True), (0, 1, 2, 3) if square else (0, 2)):
    turned = np.rot90(array, quarters, last)
    yield np.flip(turned, last[1]) if mirrored else turned


class NearestMask:
  """The window of some label maps that a sample shares most foreground with, by Dice.

  Every place of every map is tried, and every turn of the sample: by Fourier transforms.

  Args:
    masks: real ones, (*space) class indices, each at least as large as a sample.
    classes: how many, background included.
  """

  def __init__(self, masks: Sequence[np.ndarray], classes: int):
    self._classes, self._masks = classes, [_foreground(mask[None], classes)[0] for mask in masks]
    self._search = _Search(self._masks, [mask.sum(-1) for mask in self._masks])

  def __call__(self, sample: np.ndarray) -> Nearest:
    """Of (*space) class indices; two maps without foreground are alike, 1."""
    best = Nearest(0, (0,) * sample.ndim, 0, -1.0)
    for turn, turned in enumerate(turns(sample, sample.ndim)):
      own = _foreground(turned[None], self._classes)[0]
      for case, shared, inside in self._search(own):
        total = inside + own.sum()
        # what is less than half a voxel is none
        dice = np.where(total > 0.5, 2 * shared / np.maximum(total, 1), 1.0)
        place = tuple(map(int, np.unravel_index(dice.argmax(), dice.shape)))
        if dice[place] > best.value:
          best = Nearest(case, place, turn, self._exactly(case, place, own))
    return best

  def _exactly(self, case: int, place: tuple[int, ...], own: np.ndarray) -> float:
    window = _window(self._masks[case], place, own.shape[:-1])
    total = window.sum() + own.sum()
    return float(2 * (window * own).sum() / total) if total else 1.0


class NearestImage:
  """The window of some images that a sample is nearest to, by the root of the mean square.

  Every place of every image is tried, and every turn of the sample: by Fourier transforms.

  Args:
    images: real ones, (*space, channels), each at least as large as a sample.
  """

  def __init__(self, images: Sequence[np.ndarray]):
    # about zero, so that little is lost to a large mean
    self._shift = np.float32(np.mean([image.mean() for image in images]))
    self._images = [image.astype(np.float32) - self._shift for image in images]
    self._search = _Search(self._images, [(image**2).sum(-1) for image in self._images])

  def __call__(self, sample: np.ndarray) -> Nearest:
    """Of (*space, channels)."""
    rank, best = sample.ndim - 1, None
    for turn, turned in enumerate(turns(sample.astype(np.float32) - self._shift, rank)):
      for case, products, squares in self._search(turned):
        apart = squares - 2 * products + (turned**2).sum()
        place = tuple(map(int, np.unravel_index(apart.argmin(), apart.shape)))
        window = _window(self._images[case], place, turned.shape[:-1])
        value = float(np.sqrt(np.mean((window - turned) ** 2, dtype=np.float64)))
        if best is None or value < best.value:
          best = Nearest(case, place, turn, value)
    return best


class _Search:
  """Sums of products of samples with all windows of some arrays, and of what lies in the windows.

  What a sample's turns, or arrays of one size, have in common is transformed once.

  Args:
    arrays: (*space, k).
    masses: (*space), of which the sum over each window is given, too.
  """

  def __init__(self, arrays: Sequence[np.ndarray], masses: Sequence[np.ndarray]):
    self._spaces = [array.shape[:-1] for array in arrays]
    self._spectra = [_spectrum(array, array.shape[:-1]) for array in arrays]
    self._masses = masses
    self._sums: dict[tuple[int, ...], list[np.ndarray]] = {}

  def __call__(self, sample: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(case, sums of products, sums of masses) for a sample (*small, k), by the window's place."""
    small = sample.shape[:-1]
    if small not in self._sums:
      self._sums[small] = [_sums(mass, small) for mass in self._masses]
    spectra = {space: np.conj(_spectrum(sample, space)) for space in dict.fromkeys(self._spaces)}
    for case, (space, spectrum) in enumerate(zip(self._spaces, self._spectra, strict=True)):
      whole = fft.irfftn((spectrum * spectra[space]).sum(-1), space)
      places = tuple(slice(n - m + 1) for n, m in zip(space, small, strict=True))
      yield case, whole[places], self._sums[small][case]


def _sums(mass: np.ndarray, small: Sequence[int]) -> np.ndarray:
  """The sum of each window, (*(space - small + 1)), by differences of running sums."""
  for axis, size in enumerate(small):
    running = np.cumsum(mass, axis, dtype=np.float64)
    running = np.concatenate([np.zeros_like(running.take([0], axis)), running], axis)
    last = running.shape[axis]
    mass = running.take(range(size, last), axis) - running.take(range(last - size), axis)
  return mass


def _window(array: np.ndarray, place: Sequence[int], small: Sequence[int]) -> np.ndarray:
  return array[tuple(slice(p, p + n) for p, n in zip(place, small, strict=True))]


def _foreground(masks: np.ndarray, classes: int) -> np.ndarray:
  """(n, *space) class indices -> (n, *space, classes - 1) float32."""
  return (np.asarray(masks)[..., None] == np.arange(1, classes)).astype(np.float32)


def _spectrum(array: np.ndarray, space: Sequence[int]) -> np.ndarray:
  """Of (*small, k), along its space, zeros appended up to `space`."""
  return fft.rfftn(array, space, axes=range(array.ndim - 1))
