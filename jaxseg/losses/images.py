"""Losses of images: (image, target) -> float32 scalar; the target's labels are the true image.

Both are (b, *space, channels) in the network's units; voxels of weight 0 are ignored.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.batch import Array, Target
from jaxseg.losses.voxels import weighted_mean

_SIGMA, _RADIUS = 1.5, 5


def l1(image: Array, target: Target) -> jax.Array:
  """Mean absolute difference."""
  difference, weight = _difference(image, target)
  return weighted_mean(jnp.abs(difference) * weight, weight)


def l2(image: Array, target: Target) -> jax.Array:
  """Mean squared difference."""
  difference, weight = _difference(image, target)
  return weighted_mean(difference**2 * weight, weight)


def ssim(
  image: Array,
  target: Target,
  *,
  data_range: float | None = None,
  k1: float = 0.01,
  k2: float = 0.03,
) -> jax.Array:
  """1 - structural similarity, as `metrics.image.ssim` has it (doi 10.1109/TIP.2003.819861).

  Args:
    image, target: see above.
    data_range: of the true image's values; None is that of each sample and channel.
    k1, k2: of the constants (k * range)^2.
  """
  _, weight = _difference(image, target)
  x, y = (jnp.asarray(of, jnp.float32) for of in (image, target.labels))
  space = x.shape[1:-1]
  axes = tuple(axis for axis, n in enumerate(space, start=1) if n > 2 * _RADIUS)
  everywhere = tuple(range(1, x.ndim - 1))
  width = jnp.ptp(y, everywhere, keepdims=True) if data_range is None else jnp.float32(data_range)
  mean_x, mean_y = _smooth(x, axes), _smooth(y, axes)
  var_x, var_y = _smooth(x * x, axes) - mean_x**2, _smooth(y * y, axes) - mean_y**2
  shared = _smooth(x * y, axes) - mean_x * mean_y
  # a sample of one value has no range
  c1, c2 = (jnp.maximum((k * width) ** 2, 1e-12) for k in (k1, k2))
  above = (2 * mean_x * mean_y + c1) * (2 * shared + c2)
  below = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
  for axis in axes:
    weight = jax.lax.slice_in_dim(weight, _RADIUS, weight.shape[axis] - _RADIUS, axis=axis)
  return weighted_mean((1 - above / below) * weight, weight)


IMAGE_LOSSES = {"l1": l1, "l2": l2, "ssim": ssim}


def _difference(image: Array, target: Target) -> tuple[jax.Array, jax.Array]:
  """The difference, and the weight (b, *space, 1); raises ValueError where shapes don't match."""
  truth, weight = target.labels, target.weight
  if tuple(truth.shape) != tuple(image.shape):
    raise ValueError(
      f"loss: the target image has shape {tuple(truth.shape)}, the network's {tuple(image.shape)}; "
      "expected the same."
    )
  weight = jnp.ones(image.shape[:-1], jnp.float32) if weight is None else weight
  difference = jnp.asarray(image, jnp.float32) - jnp.asarray(truth, jnp.float32)
  return difference, jnp.asarray(weight, jnp.float32)[..., None]


def _smooth(values: jax.Array, axes: tuple[int, ...]) -> jax.Array:
  """The Gaussian mean along axes, where the whole window lies inside."""
  taps = np.exp(-0.5 * (np.arange(-_RADIUS, _RADIUS + 1) / _SIGMA) ** 2)
  taps = (taps / taps.sum()).astype(np.float32)
  for axis in axes:
    size = values.shape[axis] - 2 * _RADIUS
    parts = [jax.lax.slice_in_dim(values, i, i + size, axis=axis) for i in range(len(taps))]
    values = sum(tap * part for tap, part in zip(taps, parts, strict=True))
  return values
