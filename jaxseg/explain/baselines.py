"""Images in which there is nothing to see, to compare with or to cover voxels by."""

from collections.abc import Callable

import jax.numpy as jnp

from jaxseg.batch import Array


def zero(image: Array) -> Array:
  """0 everywhere: the mean of images that are normalised by mean and deviation."""
  return jnp.zeros_like(image)


def minimum(image: Array) -> Array:
  """The lowest value of each channel: black, air."""
  return jnp.broadcast_to(image.min(tuple(range(1, image.ndim - 1)), keepdims=True), image.shape)


def mean(image: Array) -> Array:
  """The mean of each channel."""
  return jnp.broadcast_to(image.mean(tuple(range(1, image.ndim - 1)), keepdims=True), image.shape)


def blur(image: Array) -> Array:
  """The image through three box filters of an eighth of each side: nearly a Gaussian."""
  for axis in range(1, image.ndim - 1):
    width = 2 * (image.shape[axis] // 16) + 1
    if width == 1:
      continue
    for _ in range(3):
      image = _box(image, axis, width)
  return image


def _box(image: Array, axis: int, width: int) -> Array:
  """The mean of `width` neighbours along an axis, the edge repeated."""
  pads = [(0, 0)] * image.ndim
  pads[axis] = (width // 2 + 1, width // 2)
  sums = jnp.cumsum(jnp.pad(image, pads, mode="edge"), axis)
  size = image.shape[axis]
  ends = [jnp.take(sums, jnp.arange(start, start + size), axis) for start in (width, 0)]
  return (ends[0] - ends[1]) / width


BASELINES: dict[str, Callable[[Array], Array]] = {
  "zero": zero,
  "mean": mean,
  "minimum": minimum,
  "blur": blur,
}
