"""Scribbles of a simulated user: lines, centre lines and contours, broken and warped.

Each is made of the (*space) mask of what is to be marked, and lies inside of it. Of one sample,
under jit and vmap; a volume is scribbled on in one of its planes. Source: Wong et al.,
"ScribblePrompt", arXiv 2312.07381, whose three kinds and ranges these are.
"""

import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.batch import Array
from jaxseg.interaction.distances import distance_to_strokes
from jaxseg.interaction.simulate import somewhere
from jaxseg.morphology import dilate, thin

# voxels between the knots of random breaks and warps
WAVELENGTH = (4.0, 16.0)
MAGNITUDE = (1.0, 6.0)  # of a warp, in voxels
BLUR = (5.0, 20.0)  # sigma, with which contours are made round
REACH = 16  # of the blur, half of its 33 voxels


def noise(key: jax.Array, space: Sequence[int], wavelength: Array) -> jax.Array:
  """Perlin's gradient noise, (*space) float32, about -1 to 1, 0 on average.

  `wavelength`: voxels between the knots, at least that of WAVELENGTH; may be traced.
  """
  at_gradients, at_shift = jax.random.split(key)
  rank = len(space)
  knots = tuple(int(n / WAVELENGTH[0]) + 3 for n in space)
  gradients = jax.random.normal(at_gradients, (*knots, rank))
  gradients /= jnp.linalg.norm(gradients, axis=-1, keepdims=True)
  shift = jax.random.uniform(at_shift, (rank,))
  places = [jnp.arange(n) / wavelength + shift[axis] for axis, n in enumerate(space)]
  cells = [jnp.floor(place).astype(jnp.int32) for place in places]
  parts = [place - cell for place, cell in zip(places, cells, strict=True)]
  smooth = [t**3 * (t * (6 * t - 15) + 10) for t in parts]

  def along(values, axis):
    return values.reshape([-1 if a == axis else 1 for a in range(rank)])

  total = jnp.zeros(tuple(space))
  for corner in itertools.product((0, 1), repeat=rank):
    own = gradients
    for axis, side in enumerate(corner):
      own = jnp.take(own, cells[axis] + side, axis)
    rise = sum(along(parts[a] - corner[a], a) * own[..., a] for a in range(rank))
    for axis, side in enumerate(corner):
      rise = rise * along(smooth[axis] if side else 1 - smooth[axis], axis)
    total += rise
  return jnp.sqrt(4 / rank) * total


def line(key: jax.Array, mask: Array, *, most: int = 3) -> jax.Array:
  """1 to `most` straight lines between voxels of the mask, (*space) bool; parts lie outside."""
  counting, at = jax.random.split(key)
  ends = somewhere(at, mask, 2 * most).astype(jnp.float32)
  number = jax.random.randint(counting, (), 1, most + 1)
  distance = distance_to_strokes(ends[:most], ends[most:], jnp.arange(most) < number, mask.shape)
  return distance <= 0.5


def centre_line(key: jax.Array, mask: Array) -> jax.Array:
  """The mask thinned to its middle: (height, width) bool."""
  del key
  inner = jnp.pad(jnp.ones([n - 2 for n in mask.shape], bool), 1)
  return thin(mask & inner)


def contour(key: jax.Array, mask: Array) -> jax.Array:
  """A round line along the mask's edge, at a random depth: (*space) bool.

  The edge of where the blurred mask is above a random threshold.
  """
  at_sigma, at_threshold = jax.random.split(key)
  sigma = jax.random.uniform(at_sigma, (), minval=BLUR[0], maxval=BLUR[1])
  blurred = mask.astype(jnp.float32)
  for axis, n in enumerate(mask.shape):
    offset = np.arange(n)[:, None] - np.arange(n)
    taps = jnp.where(np.abs(offset) <= REACH, jnp.exp(-0.5 * (offset / sigma) ** 2), 0)
    taps /= jnp.exp(-0.5 * (jnp.arange(-REACH, REACH + 1) / sigma) ** 2).sum()
    blurred = jnp.moveaxis(jnp.tensordot(taps, blurred, (1, axis), precision="highest"), 0, axis)
  blurred = jnp.where(mask, blurred, 0)
  lowest = jnp.where(mask, blurred, 1).min()
  share = jax.random.uniform(at_threshold, ())
  inside = mask & (blurred >= lowest + share * (blurred.max() - lowest))
  return inside & ~_eroded(inside)


def _eroded(mask):
  """Without the voxels that touch others by their faces; what lies outside of the image counts."""
  out = mask
  for axis in range(mask.ndim):
    padded = jnp.pad(mask, [(1, 1) if a == axis else (0, 0) for a in range(mask.ndim)])
    for first in (0, 2):
      out &= jax.lax.slice_in_dim(padded, first, first + mask.shape[axis], axis=axis)
  return out


def broken(key: jax.Array, drawn: Array) -> jax.Array:
  """A (*space) mask where smooth noise is positive; all of it, where none would be left."""
  at_length, at_noise = jax.random.split(key)
  length = jax.random.uniform(at_length, (), minval=WAVELENGTH[0], maxval=WAVELENGTH[1])
  parts = drawn & (noise(at_noise, drawn.shape, length) > 0)
  return jnp.where(parts.any(), parts, drawn)


def warped(key: jax.Array, drawn: Array) -> jax.Array:
  """A (*space) mask, shifted smoothly by a few voxels, to the nearest voxel."""
  at_length, at_size, at_noise = jax.random.split(key, 3)
  rank = drawn.ndim
  length = jax.random.uniform(at_length, (), minval=WAVELENGTH[0], maxval=WAVELENGTH[1])
  size = jax.random.uniform(at_size, (), minval=MAGNITUDE[0], maxval=MAGNITUDE[1])
  keys = jax.random.split(at_noise, rank)
  shifts = size * jax.vmap(lambda own: noise(own, drawn.shape, length))(keys)
  source = []
  for axis, n in enumerate(drawn.shape):
    place = jnp.arange(n).reshape([-1 if a == axis else 1 for a in range(rank)])
    moved = jnp.round(place + shifts[axis]).astype(jnp.int32)
    source.append(jnp.clip(moved, 0, n - 1))
  return drawn[tuple(source)]


KINDS: dict[str, Callable[[jax.Array, Array], jax.Array]] = {
  "line": line,
  "centre_line": centre_line,
  "contour": contour,
}


# these have breaks
BROKEN = ("centre_line", "contour")


def scribble(
  key: jax.Array, mask: Array, *, kinds: Sequence[str] = tuple(KINDS), thickness: int = 1
) -> jax.Array:
  """A scribble of a random kind on an image, (height, width) bool, inside of the mask.

  Where the warp pushes all of it out of the mask it is not warped, and a mask too thin for its
  kind gets a line. Empty if the mask is.
  """
  at_kind, at_draw, at_breaks, at_warp = jax.random.split(key, 4)
  chosen = jax.random.randint(at_kind, (), 0, len(kinds))
  drawn = jnp.stack([KINDS[kind](at_draw, mask) for kind in kinds])[chosen]
  breaks = jnp.array([kind in BROKEN for kind in kinds])[chosen]
  drawn = jnp.where(drawn.any(), drawn, line(at_draw, mask))
  drawn = jnp.where(breaks, broken(at_breaks, drawn), drawn)
  moved = warped(at_warp, drawn)
  drawn = jnp.where((moved & mask).any(), moved, drawn)
  if thickness > 1:
    radius = thickness / 2
    drawn = dilate(drawn, radius, reach=int(radius))
  return drawn & mask


def lasso(key: jax.Array, mask: Array, *, most: int = 3) -> jax.Array:
  """What a user encircles: the mask, up to `most` voxels wider, its edge warped; (*space) bool."""
  at_width, at_warp = jax.random.split(key)
  wide = dilate(mask, jax.random.uniform(at_width, (), maxval=float(most)), reach=most)
  moved = warped(at_warp, wide)
  return jnp.where(moved.any(), moved, wide) & mask.any()


def in_a_plane(
  key: jax.Array, draw: Callable[[jax.Array, Array], jax.Array], mask: Array, point: Array
) -> jax.Array:
  """`draw` on the image itself, or on one of a volume's planes through a point: (*space) bool.

  Args:
    draw: (key, (height, width) bool) -> the same shape.
    mask: (*space) bool, of two or three axes.
    point: (rank,) int32.
  """
  if mask.ndim == 2:
    return draw(key, mask)
  at_axis, at_draw = jax.random.split(key)
  side, shapes, planes, heres = max(mask.shape), [], [], []
  for axis, n in enumerate(mask.shape):
    plane = jax.lax.dynamic_index_in_dim(mask, point[axis], axis, keepdims=False)
    shapes.append(plane.shape)
    planes.append(jnp.pad(plane, [(0, side - m) for m in plane.shape]))
    heres.append(jnp.arange(n).reshape([-1 if a == axis else 1 for a in range(3)]) == point[axis])
  # drawn once, on squares: a program of three would take three times as long to compile
  chosen = jax.random.randint(at_axis, (), 0, 3)
  drawn = draw(at_draw, jnp.stack(planes)[chosen])
  made = [
    jnp.expand_dims(drawn[: shape[0], : shape[1]], axis) & here
    for axis, (shape, here) in enumerate(zip(shapes, heres, strict=True))
  ]
  return jnp.stack(made)[chosen]
