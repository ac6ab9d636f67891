"""Scores class by class, so that a case with many classes never lies in memory as a whole.

A `ByClass` is a function: class or region -> its (*space) float32 scores. Each call may compute
them anew, for example by resampling what a network gave; a `Store` is where that waits.
"""

import math
import mmap
import tempfile
from collections.abc import Callable, Sequence

import numpy as np

from jaxseg.batch import LabelSpec
from jaxseg.inference.accumulation import Region

ByClass = Callable[[int], np.ndarray]

# from here on scores are kept in half precision, as nnU-Net always keeps them
_HALF = 2**30
# and from here on in a temporary file (TMPDIR says where)
_FILE = 4 * 2**30


def of_array(scores: np.ndarray) -> ByClass:
  """(*space, k) scores as a function of the class."""
  return lambda k: scores[..., k]


def probabilities(scores: ByClass, labels: LabelSpec) -> ByClass:
  """Softmax of logits over classes, or a sigmoid per region; computed when a class is asked for."""
  if labels.regions:

    def sigmoid(k):
      with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-scores(k)))

    return sigmoid
  highest = np.array(scores(0), np.float32)
  total = np.ones(highest.shape, np.float32)  # of exp(score - highest), over the classes so far
  for k in range(1, labels.channels):
    current = scores(k)
    higher = np.maximum(highest, current)
    total *= np.exp(highest - higher)
    total += np.exp(current - higher)
    highest = higher

  def softmax(k):
    return np.exp(scores(k) - highest) / total

  return softmax


def mean(members: Sequence[ByClass]) -> ByClass:
  """The mean over ensemble members."""

  def averaged(k):
    total = np.array(members[0](k), np.float32)
    for member in members[1:]:
      total += member(k)
    return total / len(members) if len(members) > 1 else total

  return averaged


class Store:
  """(k, *space) scores, filled part by part, in the least room that suits their number."""

  def __init__(self, space: Sequence[int]):
    self._space = tuple(space)
    self._scores: np.ndarray | None = None

  def put(self, region: Region, scores: np.ndarray) -> None:
    """Takes a finished part, (*region, k)."""
    if self._scores is None:
      self._scores = _allocated((scores.shape[-1], *self._space))
    self._scores[(slice(None), *region)] = np.moveaxis(scores, -1, 0)
    self._release()

  def channel(self, k: int) -> np.ndarray:
    """(*space) float32 scores of a class."""
    scores = np.array(self._scores[k], np.float32)
    self._release()
    return scores

  def _release(self) -> None:
    """Lets go of the file's pages; what was written stays with the system."""
    if isinstance(self._scores, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
      self._scores.base.madvise(mmap.MADV_DONTNEED)


def _allocated(shape: tuple[int, ...]) -> np.ndarray:
  values = math.prod(shape)
  if values * 4 < _HALF:
    return np.empty(shape, np.float32)
  if values * 2 < _FILE:
    return np.empty(shape, np.float16)
  # the file has no name and goes with the process, however that ends
  return np.memmap(tempfile.TemporaryFile(), np.float16, "w+", shape=shape)
