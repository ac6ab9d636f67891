"""What a network sees of marks: maps of points, boxes and strokes, made on the device.

`disk`, `gaussian`, `tanh` and `clipped` make a map of any distance (`interaction.distances`, or
`morphology.distance_transform` of a mask). Where there are no marks, and the distance is infinite,
a map is as it is far from all: 0 of disks and Gaussians, 1 of tanh, the limit of clipped ones.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxseg.batch import Array
from jaxseg.morphology import distance_transform


def disk(distance: Array, *, radius: float = 5.0) -> jax.Array:
  """1 up to the radius, a point's disk or ball, else 0; RITM's is 5 voxels (2102.06583)."""
  _positive("disk: radius", radius, at_least=True)
  return (distance <= radius).astype(jnp.float32)


def gaussian(distance: Array, *, sigma: float = 2.0) -> jax.Array:
  """exp(-d^2 / (2 sigma^2)), 1 at a mark; DeepGrow's sigma is 2 voxels (1903.08205)."""
  _positive("gaussian: sigma", sigma)
  return jnp.exp(-0.5 * (distance / sigma) ** 2).astype(jnp.float32)


def tanh(distance: Array, *, radius: float = 5.0) -> jax.Array:
  """tanh(2 d / radius), 0 at a mark and 1 far from all (f-BRS, 2001.10331)."""
  _positive("tanh: radius", radius)
  return jnp.tanh(2 * distance / radius).astype(jnp.float32)


def clipped(distance: Array, *, limit: float) -> jax.Array:
  """min(d, limit) / limit, for distances without a scale of their own, as geodesic ones."""
  _positive("clipped: limit", limit)
  return jnp.minimum(distance / limit, 1).astype(jnp.float32)


def _positive(what, value, *, at_least=False):
  if not (value >= 0 if at_least else value > 0):
    raise ValueError(f"{what} is {value}; expected {'0 or more' if at_least else 'more than 0'}.")


def ball(
  points: Array, there: Array, space: Sequence[int], *, radius: int | Sequence[int] = 4
) -> jax.Array:
  """Balls that fade outwards: how deep a voxel lies in the ball around a point, over its centre's.

  (n, rank) whole positions, (n,) bool which of them count -> (*space) float32, 1 at a point, 0
  outside; of several balls the larger value. The depth is the distance to the nearest voxel outside
  of the ball, of whose voxels the centres are inside the radius.

  Args:
    points, there, space: as of `interaction.distance_to_points`.
    radius: in voxels, one or one per axis: then an ellipsoid, and depths are in voxels all the
      same.

  Source: nnInteractive, arXiv 2503.08373, whose `point_radius` is 4.
  """
  rank = len(space)
  radii = (radius,) * rank if isinstance(radius, int) else tuple(radius)
  if len(radii) != rank or min(radii) < 0:
    raise ValueError(
      f"ball: radius is {radius}; expected 0 or more, one whole number or {rank} of them."
    )
  stamp = _stamp(radii)
  first = jnp.round(jnp.asarray(points, jnp.float32)).astype(jnp.int32)

  def put(maps, mark):
    at, counts = mark
    old = lax.dynamic_slice(maps, at, stamp.shape)
    new = jnp.where(counts, jnp.maximum(old, stamp), old)
    return lax.dynamic_update_slice(maps, new, at), None

  around = [n + 2 * r for n, r in zip(space, radii, strict=True)]
  maps, _ = lax.scan(put, jnp.zeros(around, jnp.float32), (first, jnp.asarray(there)))
  return maps[tuple(slice(r, r + n) for n, r in zip(space, radii, strict=True))]


def _stamp(radii: tuple[int, ...]) -> jax.Array:
  """The map of one point in the box of its ball."""
  rank = len(radii)
  squares = [(np.arange(-r - 1, r + 2) / max(r, 0.5)) ** 2 for r in radii]
  inside = sum(np.ix_(*squares)) <= 1
  depth = distance_transform(~inside)
  return (depth / depth[tuple(r + 1 for r in radii)])[(slice(1, -1),) * rank]


def boxes(lows: Array, highs: Array, there: Array, space: Sequence[int]) -> jax.Array:
  """1 inside any of the boxes, else 0: (n, rank) first voxels and those after the last -> (*space).

  `there` is (n,) bool, which of them count.
  """
  shapes = [[-1 if a == axis else 1 for a in range(len(space))] for axis in range(len(space))]
  axes = [jnp.arange(n).reshape(shape) for n, shape in zip(space, shapes, strict=True)]

  def add(mask, box):
    low, high, inside = box
    for axis, at in enumerate(axes):
      inside = inside & (at >= low[axis]) & (at < high[axis])
    return mask | inside, None

  given = tuple(jnp.asarray(of) for of in (lows, highs, there))
  return lax.scan(add, jnp.zeros(tuple(space), bool), given)[0].astype(jnp.float32)


def faded(old: Array, new: Array, *, decay: float = 0.98) -> jax.Array:
  """The map of older marks, weaker by `decay`, and that of a new one: the larger value.

  nnInteractive's interaction decay (arXiv 2503.08373): each new mark makes all older ones of all
  channels weaker. A map without a new mark fades, too: `new` is then 0. For maps that are 0 far
  from all marks: not for tanh's.
  """
  if not 0 < decay <= 1:
    raise ValueError(f"faded: decay is {decay}; expected more than 0, at most 1.")
  return jnp.maximum(decay * old, new)
