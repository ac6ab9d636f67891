"""Images in the style of others: cheap ways from one domain's appearance to another's.

No transforms of one sample: each image needs another one, (b, *space, channels) both.
"""

import math

import jax
import jax.numpy as jnp

from jaxseg.batch import Array


def fourier(images: Array, styles: Array, *, band: float = 0.01) -> Array:
  """The images with the others' amplitudes at low frequencies, and their own phases.

  Around frequency 0, floor(band * shortest side) frequencies each way along every axis are taken,
  so that their number is odd: of a side of 128 and 0.01 a square of 3. A band that is too narrow
  for one frequency takes the mean alone. The mean is taken with its sign, so that images in
  [-1, 1] get what those in [0, 255], the paper's, do.

  Source: Yang and Soatto, FDA, 2004.05498, whose bands are 0.01, 0.05 and 0.09.
  """
  space = images.shape[1:-1]
  axes = tuple(range(1, images.ndim - 1))
  reach = math.floor(band * min(space))
  own, other = (jnp.fft.fftn(x.astype(jnp.float32), axes=axes) for x in (images, styles))
  low = jnp.ones((), bool)
  for axis, side in enumerate(space):
    near = jnp.abs(jnp.fft.fftfreq(side, 1 / side)) <= reach
    low = low & near.reshape([-1 if i == axis else 1 for i in range(len(space))])
  amplitude = jnp.where(low[None, ..., None], jnp.abs(other), jnp.abs(own))
  mixed = amplitude * jnp.exp(1j * jnp.angle(own))
  # frequency 0 is the mean: what would be its own phase is the sign of its own brightness
  middle = (slice(None), *(0,) * len(space))
  mixed = mixed.at[middle].set(other[middle])
  return jnp.fft.ifftn(mixed, axes=axes).real.astype(images.dtype)


def histogram(images: Array, styles: Array) -> Array:
  """The images with intensities changed so that each channel's histogram is that of the others.

  A value goes to the one that as great a share of the other image lies at or below, interpolated
  between its values; equal values stay equal, and the order stays.
  """
  return jax.vmap(lambda x, y: _of_channels(x, y))(images, styles)


def _of_channels(image: Array, style: Array) -> Array:
  matched = [_matched(image[..., c], style[..., c]) for c in range(image.shape[-1])]
  return jnp.stack(matched, -1).astype(image.dtype)


def _matched(image: Array, style: Array) -> Array:
  values, template = (jnp.sort(x.astype(jnp.float32).ravel()) for x in (image, style))
  number = jnp.searchsorted(values, image.astype(jnp.float32).ravel(), side="right")
  place = jnp.arange(1, len(template) + 1)
  # of equal values the last tells the share; the others stand where the value before them does
  last = jnp.append(template[1:] != template[:-1], True)
  at = jax.lax.cummax(jnp.where(last, place, 0))
  at = jnp.where(at == 0, jnp.argmax(last) + 1, at)
  shares, heights = at / len(template), template[at - 1]
  return jnp.interp(number / len(values), shares, heights).reshape(image.shape)


STYLES = {"fourier": fourier, "histogram": histogram}
