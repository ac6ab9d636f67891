"""The largest batch and the largest patch that a memory holds, by an estimate of the peak."""

import re
from collections.abc import Callable, Sequence

# bytes of a batch and a patch
Peak = Callable[[int, tuple[int, ...]], int]

_UNITS = {"MB": 10**6, "MIB": 2**20, "GB": 10**9, "GIB": 2**30, "TB": 10**12, "TIB": 2**40}
_LEAST, _MOST = 2**20, 2**50
MOST_BATCH = 4096
MOST_VOXELS = 4096  # along an axis


def size(text: str) -> int:
  """Bytes that a text such as "8GB" or "24 GiB" says; raises ValueError for anything else."""
  match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", text)
  unit = _UNITS.get(match[2].upper()) if match else None
  if match is None or unit is None:
    raise ValueError(f"{text!r}; expected a size with its unit, as 8GB, 24GiB or 500MB.")
  number = float(match[1]) * unit
  if not _LEAST <= number <= _MOST:
    raise ValueError(f"{text!r}; expected the memory of a device, from 1MiB to 1024TiB.")
  return int(number)


def largest_batch(peak: Peak, patch: Sequence[int], memory: int) -> int:
  """The most patches of that size that fit, 0 if not even one does; at most MOST_BATCH."""
  return _largest(lambda batch: peak(batch, tuple(patch)) <= memory, MOST_BATCH)


def largest_patch(
  peak: Peak, patch: Sequence[int], stride: Sequence[int], memory: int, *, batch: int = 2
) -> tuple[int, ...] | None:
  """The largest patch in the shape of `patch`, in steps of `stride`, of which a batch fits.

  None if not even one step along each axis does. The sides are those of `patch` times a factor,
  rounded down to multiples of the stride, one at least.
  """
  longest = max(range(len(patch)), key=lambda axis: patch[axis] / stride[axis])

  def scaled(steps: int) -> tuple[int, ...]:
    factor = steps * stride[longest] / patch[longest]
    return tuple(max(1, int(n * factor / s + 1e-9)) * s for n, s in zip(patch, stride, strict=True))

  steps = _largest(
    lambda steps: peak(batch, scaled(steps)) <= memory, max(1, MOST_VOXELS // stride[longest])
  )
  return scaled(steps) if steps else None


def _largest(fits: Callable[[int], bool], most: int) -> int:
  """The largest number from 1 to `most` that fits, where every smaller one does; 0 if none."""
  low, high = 0, 1
  while high <= most and fits(high):
    low, high = high, 2 * high
  high = min(high, most + 1)
  while high - low > 1:
    middle = (low + high) // 2
    low, high = (middle, high) if fits(middle) else (low, middle)
  return low
