"""Transforms that take detail from images: blur and low resolution.

Source: nnU-Net (arXiv 1809.10486), numbers of its version 2.
"""

import math
from collections.abc import Sequence

import jax.numpy as jnp

from jaxseg.augment.draws import checked_axes, checked_range, on_channels, within
from jaxseg.batch import Array, Batch, space_of


def _convolved(x: Array, kernel: Array, axis: int) -> Array:
  """Correlation along one axis; beyond its border the image is mirrored, as torch's `reflect`."""
  radius, size = kernel.shape[0] // 2, x.shape[axis]
  # an axis too short to be mirrored repeats its edge
  mode = "reflect" if size > radius else "edge"
  width = [(radius, radius) if a == axis else (0, 0) for a in range(x.ndim)]
  padded = jnp.pad(x, width, mode=mode)
  out = 0.0
  for tap in range(kernel.shape[0]):
    window = tuple(slice(tap, tap + size) if a == axis else slice(None) for a in range(x.ndim))
    out = out + kernel[tap] * padded[window]
  return out


def blur(
  key,
  sample: Batch,
  *,
  p: float = 0.2,
  sigma: tuple[float, float] = (0.5, 1.0),
  p_channel: float = 0.5,
) -> Batch:
  """Convolves with a Gaussian, of another width along every axis.

  Args:
    key: random key.
    sample: fields without batch axis.
    p: probability.
    sigma: range of the Gaussian's standard deviation in voxels, drawn per channel and axis; the
      kernel ends at three times the largest.
    p_channel: probability of each channel, where the sample is drawn.
  """
  bounds = checked_range("blur.sigma", sigma, least=0.0)
  radius = math.ceil(3 * bounds[1])
  offsets = jnp.arange(-radius, radius + 1, dtype=jnp.float32)

  def change(numbers, channel):
    for axis in range(channel.ndim):
      width = jnp.maximum(within(numbers[axis], bounds), 1e-3)
      kernel = jnp.exp(-0.5 * (offsets / width) ** 2)
      channel = _convolved(channel, kernel / kernel.sum(), axis)
    return channel

  rank = len(space_of(sample))
  return on_channels(key, sample, change, where="blur", p=p, p_channel=p_channel, numbers=rank)


def _shrunk_and_enlarged(x: Array, zoom: Array, axis: int) -> Array:
  """Nearest to round(size * zoom) voxels along one axis, and linearly back."""
  size = x.shape[axis]
  coarse = jnp.maximum(jnp.round(size * zoom), 1.0)
  at = jnp.clip((jnp.arange(size) + 0.5) * coarse / size - 0.5, 0.0, coarse - 1)
  first = jnp.floor(at)
  share = (at - first).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
  # the voxel that a coarse one is: the nearest to its centre
  lower, upper = (
    jnp.clip(((n + 0.5) * size / coarse).astype(jnp.int32), 0, size - 1)
    for n in (first, jnp.minimum(first + 1, coarse - 1))
  )
  low, high = (jnp.take(x, index, axis, mode="clip") for index in (lower, upper))
  return low + (high - low) * share


def low_resolution(
  key,
  sample: Batch,
  *,
  p: float = 0.25,
  zoom: tuple[float, float] = (0.5, 1.0),
  p_channel: float = 0.5,
  axes: Sequence[int] | None = None,
) -> Batch:
  """Shows the image as if scanned at a lower resolution: nearest down, linear up.

  Args:
    key: random key.
    sample: fields without batch axis.
    p: probability.
    zoom: range of the factor on the number of voxels per axis, one for all axes of a channel.
    p_channel: probability of each channel, where the sample is drawn.
    axes: spatial axes that lose resolution; None for all.
  """
  bounds = checked_range("low_resolution.zoom", zoom, 0.0, 1.0)
  rank = len(space_of(sample))
  chosen = checked_axes("low_resolution.axes", axes, rank)

  def change(numbers, channel):
    for axis in chosen:
      channel = _shrunk_and_enlarged(channel, within(numbers[0], bounds), axis)
    return channel

  return on_channels(key, sample, change, where="low_resolution", p=p, p_channel=p_channel)
