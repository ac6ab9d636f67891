"""A kernel for another number of input channels, or for volumes instead of images."""

from collections.abc import Sequence

import numpy as np


def adapt(kernel: np.ndarray, channels: int, how: str, *, places: int = 1) -> np.ndarray:
  """A kernel (*kernel, in, out) for another number of input channels; `how` as `Weights.inputs`.

  `places`: of a dense layer of whole patches, whose inputs are the channels of that many voxels.
  """
  if places > 1:
    *space, inputs, features = kernel.shape
    of_voxels = kernel.reshape(*space, places, inputs // places, features)
    return adapt(of_voxels, channels, how).reshape(*space, places * channels, features)
  there = kernel.shape[-2]
  if how == "mean":
    return np.repeat(kernel.sum(-2, keepdims=True) / channels, channels, -2)
  if how == "cycle":
    return kernel[..., np.arange(channels) % there, :] * (there / channels)
  further = np.zeros((*kernel.shape[:-2], channels - there, kernel.shape[-1]), kernel.dtype)
  return np.concatenate([kernel, further], -2)


def check_inflation(theirs: Sequence[int], own: Sequence[int], how: str, where: str) -> None:
  """Raises ValueError, which `where` begins, for a kernel of images that cannot be one of `own`.

  Kernels of even size are those of up-sampling, each of whose voxels is a product of its own:
  neither a mean nor a centre is meant for them.
  """
  sizes = tuple(own[:3])
  fits = tuple(theirs[:2]) == sizes[1:] and all(n % 2 for n in sizes)
  if not fits or (how == "axial" and len(set(sizes)) > 1):
    odd = "equal and odd sizes" if how == "axial" else "the same odd sizes"
    raise ValueError(
      f"{where} has kernels of {sizes} here, {tuple(theirs[:2])} there; inflate='{how}' needs "
      f"{odd}: leave it with take, or choose another."
    )


def inflated(kernel: np.ndarray, depth: int, how: str) -> np.ndarray:
  """A kernel of images (y, x, in, out) as one of volumes (depth, y, x, in, out).

  `how` as `Weights.inflate`: "centre" keeps what a network makes of a volume whose slices are all
  alike, "mean" does so away from the first and last slices, which see the padding beyond them.
  """
  volume = np.zeros((depth, *kernel.shape), kernel.dtype)
  if how == "mean":
    volume[:] = kernel / depth
  elif how == "centre":
    volume[depth // 2] = kernel
  else:
    ends = [kernel.shape[-1] * third // 3 for third in range(4)]
    for axis, features in enumerate(map(slice, ends[:-1], ends[1:])):
      plane = [slice(None)] * 3
      plane[axis] = depth // 2
      volume[(*plane, slice(None), features)] = kernel[..., features]
  return volume
