"""Transforms that change the values of images and leave every voxel where it is.

They act on the fields whose kind says `intensity`, channel by channel, in float32, and keep the
dtype. Source: nnU-Net (arXiv 1809.10486), numbers of its version 2.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.batch import Array, Batch, kind


def _around_one(numbers: Array, bounds: tuple[float, float]) -> Array:
  """Uniform numbers in 0..1 -> factors in `bounds`: half of them below 1, half above."""
  low, high = bounds
  if not low <= high:
    raise ValueError(f"augmentation: range {bounds} must be (low, high) with low <= high.")
  if not low < 1 < high:
    return low + numbers * (high - low)
  below = low + 2 * numbers * (1 - low)
  return jnp.where(numbers < 0.5, below, 1 + (2 * numbers - 1) * (high - 1))


def _on_images(
  key,
  sample: Batch,
  p: float,
  per_channel: bool,
  change: Callable[[Array, jax.Array, Array], Array],
) -> Batch:
  """Applies `change(numbers, key, image)` to every image of the sample, all or none, with `p`.

  The numbers, uniform in 0..1, broadcast over the image's space: one per channel, or one for all.
  """
  images = {field: x for field, x in sample.items() if kind(field).intensity}
  channels = max((x.shape[-1] for x in images.values()), default=1) if per_channel else 1
  # one draw for all, because each costs compile time
  draw = jax.random.uniform(key, (1 + channels,))

  def changed(fields):
    out = {}
    for field, x in fields.items():
      numbers = draw[1 : 1 + x.shape[-1]].reshape((1,) * (x.ndim - 1) + (-1,))
      fresh = jax.random.fold_in(key, 1)
      out[field] = change(numbers, fresh, x.astype(jnp.float32)).astype(x.dtype)
    return out

  return {**sample, **lax.cond(draw[0] < p, changed, lambda fields: fields, images)}


def _space(image: Array) -> tuple[int, ...]:
  return tuple(range(image.ndim - 1))


def brightness(
  key,
  sample: Batch,
  *,
  p: float = 0.15,
  factor: tuple[float, float] = (0.75, 1.25),
  per_channel: bool = True,
) -> Batch:
  """Multiplies the image by a factor.

  Args:
    key: random key.
    sample: fields without batch axis.
    p: probability.
    factor: range; one that spans 1 is drawn half below, half above 1.
    per_channel: one factor per channel, or one for all.
  """

  def change(numbers, _, image):
    return image * _around_one(numbers, factor)

  return _on_images(key, sample, p, per_channel, change)


def contrast(
  key,
  sample: Batch,
  *,
  p: float = 0.15,
  factor: tuple[float, float] = (0.75, 1.25),
  keep_range: bool = True,
  per_channel: bool = True,
) -> Batch:
  """Multiplies each channel's deviation from its mean by a factor.

  Args:
    key: random key.
    sample: fields without batch axis.
    p: probability.
    factor: range; one that spans 1 is drawn half below, half above 1.
    keep_range: clip to the minimum and maximum that the channel had.
    per_channel: one factor per channel, or one for all.
  """

  def change(numbers, _, image):
    mean = image.mean(_space(image), keepdims=True)
    out = (image - mean) * _around_one(numbers, factor) + mean
    if keep_range:
      low, high = (f(image, _space(image), keepdims=True) for f in (jnp.min, jnp.max))
      out = jnp.clip(out, low, high)
    return out

  return _on_images(key, sample, p, per_channel, change)


def gamma(
  key,
  sample: Batch,
  *,
  p: float = 0.3,
  exponent: tuple[float, float] = (0.7, 1.5),
  invert: bool = False,
  keep_stats: bool = True,
  per_channel: bool = True,
) -> Batch:
  """Raises each channel, mapped to 0..1, to a power.

  Args:
    key: random key.
    sample: fields without batch axis.
    p: probability.
    exponent: range; one that spans 1 is drawn half below, half above 1.
    invert: act on the negative image (nnU-Net does so first with p = 0.1, then plainly with 0.3).
    keep_stats: restore the channel's mean and standard deviation; else its range is kept.
    per_channel: one exponent per channel, or one for all.
  """

  def change(numbers, _, image):
    axes = _space(image)
    power = _around_one(numbers, exponent)
    x = -image if invert else image
    low = x.min(axes, keepdims=True)
    extent = x.max(axes, keepdims=True) - low
    out = ((x - low) / jnp.maximum(extent, 1e-7)) ** power * extent + low
    if keep_stats:
      ratio = x.std(axes, keepdims=True) / jnp.maximum(out.std(axes, keepdims=True), 1e-7)
      out = (out - out.mean(axes, keepdims=True)) * ratio + x.mean(axes, keepdims=True)
    return -out if invert else out

  return _on_images(key, sample, p, per_channel, change)


def noise(
  key,
  sample: Batch,
  *,
  p: float = 0.1,
  sigma: tuple[float, float] = (0.0, 0.1),
  per_channel: bool = False,
) -> Batch:
  """Adds Gaussian noise.

  Args:
    key: random key.
    sample: fields without batch axis.
    p: probability.
    sigma: range of the noise's standard deviation, in units of the (normalised) image.
    per_channel: a deviation and a noise field per channel; else, as nnU-Net, one for all.
  """

  def change(numbers, key, image):
    shape = (*image.shape[:-1], numbers.shape[-1])
    # drawn flat: XLA compiles random numbers of a 3D shape up to ten times slower
    values = jax.random.normal(key, (math.prod(shape),)).reshape(shape)
    return image + values * (sigma[0] + numbers * (sigma[1] - sigma[0]))

  return _on_images(key, sample, p, per_channel, change)
