"""What the transforms share: checked options, numbers from ranges, acting on images by chance."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.batch import Array, Batch, kind


def checked_range(
  where: str, bounds: Sequence[float], least: float = -jnp.inf, most: float = jnp.inf
) -> tuple[float, float]:
  """(low, high) as floats; raises ValueError unless least <= low <= high <= most."""
  wanted = "(low, high) with low <= high"
  if least > -jnp.inf or most < jnp.inf:
    wanted += f", both between {least:g} and {most:g}"
  try:
    low, high = (float(value) for value in bounds)
  except (TypeError, ValueError):
    raise ValueError(f"{where}: {bounds!r} must be {wanted}.") from None
  if not least <= low <= high <= most:
    raise ValueError(f"{where}: range {tuple(bounds)} must be {wanted}.")
  return low, high


def checked_probability(where: str, p: float) -> float:
  """A probability; raises ValueError unless 0 <= p <= 1."""
  if not 0 <= p <= 1:
    raise ValueError(f"{where}: probability {p} must lie between 0 and 1.")
  return p


def checked_axes(where: str, axes: Sequence[int] | None, rank: int) -> tuple[int, ...]:
  """Spatial axes counted from the front, all for None; raises ValueError if one is not there."""
  chosen = tuple(range(rank)) if axes is None else tuple(axes)
  if not chosen or any(not -rank <= axis < rank for axis in chosen):
    raise ValueError(
      f"{where}: axes {chosen} must be one or more of the sample's {rank} spatial axes."
    )
  return tuple(axis % rank for axis in chosen)


def within(numbers: Array, bounds: tuple[float, float]) -> Array:
  """Uniform numbers in 0..1 -> uniform in `bounds`."""
  return bounds[0] + numbers * (bounds[1] - bounds[0])


def around_one(numbers: Array, bounds: tuple[float, float]) -> Array:
  """Uniform numbers in 0..1 -> factors in `bounds`: half of them below 1, half above."""
  low, high = bounds
  if not low < 1 < high:
    return within(numbers, bounds)
  return jnp.where(
    numbers < 0.5, within(2 * numbers, (low, 1.0)), within(2 * numbers - 1, (1.0, high))
  )


def over_space(reduce: Callable, image: Array) -> Array:
  """(*space, channels) -> (1, ..., 1, channels): the minimum, maximum or mean of each channel.

  One axis after the other, which XLA would join: on a CPU only the reduction of a leading axis
  becomes vector instructions, ten times as fast.
  """
  ndim = image.ndim
  for _ in range(ndim - 1):
    image = lax.optimization_barrier(reduce(image, 0))
  return image.reshape((1,) * (ndim - 1) + (-1,))


def deviation(image: Array, mean: Array) -> Array:
  """The standard deviation of each channel, (1, ..., 1, channels)."""
  centred = (image - mean).reshape(-1, image.shape[-1])
  # as a product: on a CPU a fused sum of squares is not vectorised
  squares = jnp.einsum("nc,nc->c", centred, centred, precision="highest")
  return jnp.sqrt(squares / centred.shape[0]).reshape(mean.shape)


def images_of(sample: Batch) -> Batch:
  """The fields that intensity transforms act on."""
  return {field: x for field, x in sample.items() if kind(field).intensity}


def on_images(
  key,
  sample: Batch,
  change: Callable[[Array, jax.Array, Array], Array],
  *,
  where: str,
  p: float,
  per_channel: bool,
) -> Batch:
  """Applies `change(numbers, key, image)` to every image of the sample, all or none, with `p`.

  The numbers, uniform in 0..1, broadcast over the image's space: one per channel, or one for all.
  Images are float32 inside and keep their dtype outside.
  """
  checked_probability(f"{where}.p", p)
  images = images_of(sample)
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


def on_channels(
  key,
  sample: Batch,
  change: Callable[[Array, Array], Array],
  *,
  where: str,
  p: float,
  p_channel: float,
  numbers: int = 1,
) -> Batch:
  """With `p`, applies `change(numbers, channel)` to each channel with `p_channel`.

  A channel is (*space) float32; it gets `numbers` uniform numbers of its own. A channel that
  isn't drawn costs nothing.
  """
  checked_probability(f"{where}.p", p)
  checked_probability(f"{where}.p_channel", p_channel)
  images = images_of(sample)
  channels = max((x.shape[-1] for x in images.values()), default=1)
  draw = jax.random.uniform(key, (1 + channels * (1 + numbers),))
  chosen = draw[1 : 1 + channels] < p_channel
  values = draw[1 + channels :].reshape(channels, numbers)

  def one(item):
    drawn, given, channel = item
    return lax.cond(drawn, change, lambda _, x: x, given, channel)

  def changed(fields):
    out = {}
    for field, x in fields.items():
      count = x.shape[-1]
      apart = jnp.moveaxis(x.astype(jnp.float32), -1, 0)
      apart = (
        change(values[0], apart[0])[None]
        if channels == 1
        else lax.map(one, (chosen[:count], values[:count], apart))
      )
      out[field] = jnp.moveaxis(apart, 0, -1).astype(x.dtype)
    return out

  drawn = (draw[0] < p) & chosen.any()
  return {**sample, **lax.cond(drawn, changed, lambda fields: fields, images)}
