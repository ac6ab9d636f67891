"""Making any size fit a network that down-samples: zeros at the end, cropped off again."""

from collections.abc import Sequence

import jax.numpy as jnp


def pad_to_multiple(x, multiple: Sequence[int], *, mode: str = "constant"):
  """Appends to each spatial axis of (b, *space, c), up to a multiple of `multiple`.

  Zeros, or what another of numpy's modes of padding gives.
  """
  pads = [(0, -n % m) for n, m in zip(x.shape[1:-1], multiple, strict=True)]
  return jnp.pad(x, [(0, 0), *pads, (0, 0)], mode=mode) if any(p for _, p in pads) else x


def crop_to(x, space: Sequence[int]):
  """The first voxels of each spatial axis, (b, *larger, c) -> (b, *space, c)."""
  return x[(slice(None), *(slice(n) for n in space))]


def centre_crop(x, space: Sequence[int]):
  """The central voxels of each spatial axis, (b, *larger, c) -> (b, *space, c).

  Where the difference is odd, the extra voxel is cut at the end.
  """
  low = [(old - new) // 2 for old, new in zip(x.shape[1:-1], space, strict=True)]
  return x[(slice(None), *(slice(at, at + n) for at, n in zip(low, space, strict=True)))]
