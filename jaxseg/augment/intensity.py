"""Transforms that change the values of images and leave every voxel where it is.

They act on the fields whose kind says `intensity`, channel by channel, in float32, and keep the
dtype. Source, where none is named: nnU-Net (arXiv 1809.10486), numbers of its version 2.
"""

import math

import jax
import jax.numpy as jnp

from jaxseg.augment.draws import around_one, checked_range, deviation, on_images, over_space, within
from jaxseg.batch import Batch


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
  bounds = checked_range("brightness.factor", factor)

  def change(numbers, _, image):
    return image * around_one(numbers, bounds)

  return on_images(key, sample, change, where="brightness", p=p, per_channel=per_channel)


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
  bounds = checked_range("contrast.factor", factor)

  def change(numbers, _, image):
    mean = over_space(jnp.mean, image)
    out = (image - mean) * around_one(numbers, bounds) + mean
    if keep_range:
      out = jnp.clip(out, over_space(jnp.min, image), over_space(jnp.max, image))
    return out

  return on_images(key, sample, change, where="contrast", p=p, per_channel=per_channel)


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
    invert: act on the negative image; `gamma_inverted` does so in nnU-Net's order.
    keep_stats: restore the channel's mean and standard deviation; else its range is kept.
    per_channel: one exponent per channel, or one for all.
  """
  bounds = checked_range("gamma.exponent", exponent, least=1e-3)

  def change(numbers, _, image):
    power = around_one(numbers, bounds)
    x = -image if invert else image
    low = over_space(jnp.min, x)
    extent = over_space(jnp.max, x) - low
    # a power by logarithm takes a third of the time; that of 0 is -inf, whose exponential is 0
    unit = jnp.maximum(x - low, 0.0) / jnp.maximum(extent, 1e-7)
    out = jnp.exp(power * jnp.log(unit)) * extent + low
    if keep_stats:
      mean, reached = over_space(jnp.mean, x), over_space(jnp.mean, out)
      ratio = deviation(x, mean) / jnp.maximum(deviation(out, reached), 1e-7)
      out = (out - reached) * ratio + mean
    return -out if invert else out

  return on_images(key, sample, change, where="gamma", p=p, per_channel=per_channel)


def gamma_inverted(
  key,
  sample: Batch,
  *,
  p: float = 0.1,
  exponent: tuple[float, float] = (0.7, 1.5),
  keep_stats: bool = True,
  per_channel: bool = True,
) -> Batch:
  """`gamma` of the negative image, which nnU-Net draws apart from, and before, the plain one.

  Args:
    key: random key.
    sample: fields without batch axis.
    p, exponent, keep_stats, per_channel: see `gamma`.
  """
  return gamma(
    key,
    sample,
    p=p,
    exponent=exponent,
    invert=True,
    keep_stats=keep_stats,
    per_channel=per_channel,
  )


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
  bounds = checked_range("noise.sigma", sigma, least=0.0)

  def change(numbers, key, image):
    shape = (*image.shape[:-1], numbers.shape[-1])
    # drawn flat: XLA compiles random numbers of a 3D shape up to ten times slower
    values = jax.random.normal(key, (math.prod(shape),)).reshape(shape)
    return image + values * within(numbers, bounds)

  return on_images(key, sample, change, where="noise", p=p, per_channel=per_channel)


def intensity_window(
  key,
  sample: Batch,
  *,
  p: float = 0.2,
  lower: tuple[float, float] = (0.0, 0.2),
  upper: tuple[float, float] = (0.8, 1.0),
  stretch: bool = True,
) -> Batch:
  """Looks at the image through a random window, as radiologists do with CT: clips it.

  Args:
    key: random key.
    sample: fields without batch axis.
    p: probability.
    lower: range of the window's lower end, as a share of each channel's own range.
    upper: range of its upper end.
    stretch: map the window to the channel's range; else values keep their meaning.
  """
  bounds = checked_range("intensity_window.lower", lower, 0.0, 1.0)
  ends = checked_range("intensity_window.upper", upper, 0.0, 1.0)
  if bounds[1] >= ends[0]:
    raise ValueError(
      f"intensity_window: lower {tuple(lower)} must end below where upper {tuple(upper)} begins."
    )

  def change(numbers, key, image):
    low = over_space(jnp.min, image)
    extent = over_space(jnp.max, image) - low
    first = within(numbers, bounds)
    last = within(jax.random.uniform(key, numbers.shape), ends)
    out = jnp.clip(image, low + first * extent, low + last * extent)
    return (out - low - first * extent) / (last - first) + low if stretch else out

  return on_images(key, sample, change, where="intensity_window", p=p, per_channel=True)
