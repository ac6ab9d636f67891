"""Where the scores of a case are kept until they are resampled, class by class."""

import math
import mmap
import tempfile
from collections.abc import Sequence

import numpy as np

from jaxseg.inference.accumulation import Region

# from here on scores are kept in half precision, as nnU-Net always keeps them
_HALF = 2**30
# and from here on in a temporary file (TMPDIR says where)
_FILE = 4 * 2**30


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
