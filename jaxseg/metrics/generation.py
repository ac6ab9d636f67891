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

  Every place of every map is tried, and every turn of the sample: by Fourier transforms, exactly.

  Args:
    masks: real ones, (*space) class indices, each at least as large as a sample.
    classes: how many, background included.
  """

  def __init__(self, masks: Sequence[np.ndarray], classes: int):
    self._classes, self._of = classes, []
    for mask in masks:
      whole = _foreground(mask[None], classes)[0]
      self._of.append((whole.shape[:-1], _spectrum(whole), _spectrum(whole.sum(-1, keepdims=True))))

  def __call__(self, sample: np.ndarray) -> Nearest:
    """Of (*space) class indices; two maps without foreground are alike, 1."""
    best = Nearest(0, (0,) * sample.ndim, 0, -1.0)
    for turn, turned in enumerate(turns(sample, sample.ndim)):
      own = _foreground(turned[None], self._classes)[0]
      ones = np.ones((*own.shape[:-1], 1), np.float32)
      for case, (space, classes, inside) in enumerate(self._of):
        shared = _correlated(classes, own, space)
        total = _correlated(inside, ones, space) + own.sum()
        # what is less than half a voxel is none
        dice = np.where(total > 0.5, 2 * shared / np.maximum(total, 1), 1.0)
        place = np.unravel_index(dice.argmax(), dice.shape)
        if dice[place] > best.value:
          best = Nearest(case, tuple(map(int, place)), turn, float(dice[place]))
    return best


class NearestImage:
  """The window of some images that a sample is nearest to, by the root of the mean square.

  Args:
    images: real ones, (*space, channels), each at least as large as a sample.
  """

  def __init__(self, images: Sequence[np.ndarray]):
    # about zero, so that nothing is lost to a large mean
    self._shift = float(np.mean([image.mean() for image in images]))
    self._of = []
    for image in images:
      whole = image.astype(np.float64) - self._shift
      squares = (whole**2).sum(-1, keepdims=True)
      self._of.append((whole.shape[:-1], _spectrum(whole), _spectrum(squares)))

  def __call__(self, sample: np.ndarray) -> Nearest:
    """Of (*space, channels)."""
    rank, best = sample.ndim - 1, None
    for turn, turned in enumerate(turns(sample.astype(np.float64) - self._shift, rank)):
      ones = np.ones((*turned.shape[:-1], 1))
      for case, (space, channels, squares) in enumerate(self._of):
        apart = _correlated(squares, ones, space) - 2 * _correlated(channels, turned, space)
        apart += (turned**2).sum()
        place = np.unravel_index(apart.argmin(), apart.shape)
        value = float(np.sqrt(max(apart[place], 0) / turned.size))
        if best is None or value < best.value:
          best = Nearest(case, tuple(map(int, place)), turn, value)
    return best


def _foreground(masks: np.ndarray, classes: int) -> np.ndarray:
  """(n, *space) class indices -> (n, *space, classes - 1) float32."""
  return (np.asarray(masks)[..., None] == np.arange(1, classes)).astype(np.float32)


def _spectrum(array: np.ndarray) -> np.ndarray:
  """Of (*space, k), along its space."""
  return fft.rfftn(array, axes=range(array.ndim - 1))


def _correlated(spectrum: np.ndarray, sample: np.ndarray, space: Sequence[int]) -> np.ndarray:
  """The sum of products of a sample (*small, k) with each window of (*space, k) as large as it."""
  axes = range(sample.ndim - 1)
  product = (spectrum * np.conj(fft.rfftn(sample, space, axes=axes))).sum(-1)
  whole = fft.irfftn(product, space)
  return whole[tuple(slice(n - m + 1) for n, m in zip(space, sample.shape, strict=False))]
