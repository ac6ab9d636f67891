"""Cutting an array into windows: patches of a transformer, windows of attention, pooling."""

from collections.abc import Sequence

from jaxseg.networks.blocks.options import per_axis


def windows(x, size: int | Sequence[int]):
  """Windows that tile the space: (b, *space, c) -> (b, *coarse, window voxels, c).

  The voxels of a window are in reading order, the last axis fastest; `resample.interleave` puts
  them back. Raises ValueError if `size` doesn't divide the space.
  """
  size = per_axis(size, x.ndim - 2, "window")
  batch, *space, channels = x.shape
  rank = len(space)
  if any(n % s for n, s in zip(space, size, strict=True)):
    raise ValueError(f"windows of {size} voxels do not tile an array of {tuple(space)}; pad it.")
  pairs = [n for length, s in zip(space, size, strict=True) for n in (length // s, s)]
  order = [0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2), 2 * rank + 1]
  x = x.reshape(batch, *pairs, channels).transpose(order)
  return x.reshape(*x.shape[: 1 + rank], -1, channels)
