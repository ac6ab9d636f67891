"""Canny's edges of an image, on the device."""

import jax
import jax.numpy as jnp

from jaxseg import samples
from jaxseg.morphology import components

# tan(22.5 degrees) in steps of 2^-15, as OpenCV rounds it
_TANGENT = 13573


def canny(image, *, low: float = 10.0, high: float = 100.0):
  """(b, y, x, channels) of any intensities -> (b, y, x, 1) float32, 1 on edges. No gradient passes.

  The mean of the channels, its range in each image made 0 to 255 in whole numbers, then OpenCV's
  `Canny(image, low, high)`, bit for bit: Sobel's gradients with the border repeated, their sum of
  absolute values as magnitude, maxima across the edge, of which those above `high` stay, and those
  above `low` that touch these, at corners too. Unlike `uint8(mean)`, which has nothing to see in
  normalised intensities, it does not depend on their offset and scale. A constant image has none.

  Source: Canny, IEEE TPAMI 1986; OpenCV's modules/imgproc/src/canny.cpp.
  """
  grey = jnp.mean(jax.lax.stop_gradient(image).astype(jnp.float32), -1)
  lowest, highest = (of(grey, (1, 2), keepdims=True) for of in (jnp.min, jnp.max))
  scale = 255 / jnp.where(highest > lowest, highest - lowest, 1)
  levels = jnp.round((grey - lowest) * scale).astype(jnp.int32)
  return samples.each(lambda of: _edges(of, low, high), levels)[..., None].astype(jnp.float32)


def _edges(levels, low, high):
  """(y, x) whole numbers -> bool."""
  padded = jnp.pad(levels, 1, mode="edge")
  smooth_y = padded[:-2] + 2 * padded[1:-1] + padded[2:]
  smooth_x = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
  along_x = smooth_y[:, 2:] - smooth_y[:, :-2]
  along_y = smooth_x[2:] - smooth_x[:-2]
  magnitude = jnp.abs(along_x) + jnp.abs(along_y)
  around = jnp.pad(magnitude, 1)
  height, width = levels.shape

  def beside(y, x):
    return around[1 + y : 1 + y + height, 1 + x : 1 + x + width]

  # of equals that follow one another the first is the maximum, but none across a diagonal
  horizontal = (magnitude > beside(0, -1)) & (magnitude >= beside(0, 1))
  vertical = (magnitude > beside(-1, 0)) & (magnitude >= beside(1, 0))
  falling = (magnitude > beside(-1, -1)) & (magnitude > beside(1, 1))
  rising = (magnitude > beside(-1, 1)) & (magnitude > beside(1, -1))
  diagonal = jnp.where((along_x < 0) == (along_y < 0), falling, rising)
  x, y = jnp.abs(along_x), jnp.abs(along_y) << 15
  shallow, steep = x * _TANGENT, x * _TANGENT + (x << 16)
  largest = jnp.where(y < shallow, horizontal, jnp.where(y > steep, vertical, diagonal))
  return _touching(largest & (magnitude > low), largest & (magnitude > high))


def _touching(weak, strong):
  """What of `weak`, which holds `strong`, is in one piece with some of `strong`."""
  numbers = components(weak).reshape(-1)
  kept = jnp.zeros(weak.size + 1, bool).at[numbers].max(strong.reshape(-1))
  return weak & kept[numbers].reshape(weak.shape)
