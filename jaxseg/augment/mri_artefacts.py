"""Artefacts of magnetic resonance: bias field, Gibbs ringing, ghosts of motion.

Source: TorchIO (arXiv 2003.04696), and the papers that each names.
"""

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.augment.draws import checked_axes, checked_range, on_images, over_space, within
from jaxseg.batch import Array, Batch, space_of


def _along(values: Array, axis: int, ndim: int) -> Array:
  return values.reshape([-1 if a == axis else 1 for a in range(ndim)])


def bias_field(
  key, sample: Batch, *, p: float = 0.2, coefficient: float = 0.5, order: int = 3
) -> Batch:
  """Multiplies the image by a smooth field: the exponential of a random polynomial.

  The field of an uneven receive coil, one for all channels. It acts on what lies above the
  channel's minimum, because normalised images have no zero of their own.

  Args:
    key: random key.
    sample: fields without batch axis.
    p: probability.
    coefficient: the coefficients are drawn from -coefficient..coefficient; the coordinates run
      from -1 to 1 along each axis, and the polynomial has no constant term.
    order: degree of the polynomial.

  Source: Van Leemput et al. 1999 (IEEE TMI 18(10)); Sudre et al. 2017.
  """
  if coefficient < 0 or order < 1:
    raise ValueError(
      f"bias_field: coefficient {coefficient} must not be negative, order {order} at least 1."
    )

  def change(_, key, image):
    rank = image.ndim - 1
    powers = [n for n in itertools.product(range(order + 1), repeat=rank) if 0 < sum(n) <= order]
    drawn = coefficient * (2 * jax.random.uniform(key, (len(powers),)) - 1)
    axes = [_along(jnp.linspace(-1, 1, n), a, rank) for a, n in enumerate(image.shape[:-1])]
    exponent = jnp.zeros(image.shape[:-1])
    for number, exponents in enumerate(powers):
      terms = [axis**n for axis, n in zip(axes, exponents, strict=True)]
      exponent = exponent + math.prod(terms[1:], start=terms[0]) * drawn[number]
    low = over_space(jnp.min, image)
    return (image - low) * jnp.exp(exponent)[..., None] + low

  return on_images(key, sample, change, where="bias_field", p=p, per_channel=False)


def gibbs(
  key,
  sample: Batch,
  *,
  p: float = 0.1,
  keep: tuple[float, float] = (0.5, 0.9),
  axes: Sequence[int] | None = None,
) -> Batch:
  """Rings at edges, as an acquisition does that ends too early in k-space.

  Args:
    key: random key.
    sample: fields without batch axis.
    p: probability.
    keep: range of the share of spatial frequencies that is kept along every axis.
    axes: spatial axes; None for all.

  Source: Gibbs 1899; Czervionke et al. 1988 (truncation in MRI).
  """
  bounds = checked_range("gibbs.keep", keep, 0.0, 1.0)
  chosen = checked_axes("gibbs.axes", axes, len(space_of(sample)))

  def change(numbers, _, image):
    spectrum = jnp.fft.fftn(image, axes=chosen)
    # the shape of a number per image: all channels come from one acquisition
    largest = within(numbers, bounds).reshape(()) / 2
    for axis in chosen:
      frequency = jnp.abs(jnp.fft.fftfreq(image.shape[axis]))
      spectrum = spectrum * _along(frequency <= largest, axis, image.ndim)
    return jnp.fft.ifftn(spectrum, axes=chosen).real

  return on_images(key, sample, change, where="gibbs", p=p, per_channel=False)


def ghosting(
  key,
  sample: Batch,
  *,
  p: float = 0.1,
  ghosts: tuple[int, int] = (2, 6),
  intensity: tuple[float, float] = (0.2, 0.6),
  centre: float = 0.02,
  axes: Sequence[int] | None = None,
) -> Batch:
  """Shows ghosts along a phase-encoding axis, as periodic motion does: weakens every n-th line.

  Args:
    key: random key.
    sample: fields without batch axis.
    p: probability.
    ghosts: range of n, the number of ghosts, whole.
    intensity: range of what the lines lose, 0 nothing, 1 all.
    centre: share of the lowest frequencies that are left alone, so that the mean stays.
    axes: spatial axes from which the direction is drawn; None for all.

  Source: Axel et al. 1986 (respiratory ghosts); as in TorchIO (arXiv 2003.04696).
  """
  low, high = (int(n) for n in checked_range("ghosting.ghosts", ghosts, least=2))
  bounds = checked_range("ghosting.intensity", intensity, 0.0, 1.0)
  chosen = checked_axes("ghosting.axes", axes, len(space_of(sample)))

  def along(axis, image, count, lost):
    size = image.shape[axis]
    line = jnp.round(jnp.fft.fftfreq(size) * size).astype(jnp.int32)
    weakened = (line % count == 0) & (jnp.abs(line) > centre * size / 2)
    factor = _along(jnp.where(weakened, 1 - lost, 1.0), axis, image.ndim)
    return jnp.fft.ifft(jnp.fft.fft(image, axis=axis) * factor, axis=axis).real

  def change(numbers, key, image):
    direction, count = jax.random.randint(
      key, (2,), jnp.array([0, low]), jnp.array([len(chosen), high + 1])
    )
    branches = [lambda *operands, axis=axis: along(axis, *operands) for axis in chosen]
    return lax.switch(direction, branches, image, count, within(numbers, bounds).reshape(()))

  return on_images(key, sample, change, where="ghosting", p=p, per_channel=False)
