"""Distance of every voxel to what a user marked: to points, to strokes, and along the image.

(*space) float32, 0 at a mark, infinite where there is none; under jit and vmap, for any rank. To a
mask of voxels: `morphology.distance_transform`. Positions are in voxels, the middle of the first
one 0; distances in the unit of the spacing, which is 1 for each axis if it is None.
"""

import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.batch import Array

# GeodisTK's, so that where the image is flat a way costs a little, too
_FLAT = 1e-5


def distance_to_points(
  points: Array, there: Array, space: Sequence[int], spacing: Array | None = None
) -> jax.Array:
  """Euclidean distance to the nearest point.

  Args:
    points: (n, rank) positions.
    there: (n,) bool, which of them count: numbers of points differ, shapes do not.
    space: the image's size.
    spacing: (rank,) size of a voxel; may be traced.
  """
  axes, steps = _grid(space, spacing)
  points = jnp.asarray(points, jnp.float32)

  def squared(point):
    ways = (step * (axis - at) for axis, at, step in zip(axes, point, steps, strict=True))
    return sum(way**2 for way in ways)

  return _nearest(squared, points, there, space)


def distance_to_strokes(
  starts: Array,
  ends: Array,
  there: Array,
  space: Sequence[int],
  spacing: Array | None = None,
) -> jax.Array:
  """Euclidean distance to the nearest of straight strokes; a scribble is a chain of them.

  Args:
    starts, ends: (n, rank) positions; a stroke whose ends are one is a point.
    there, space, spacing: as of `distance_to_points`.
  """
  axes, steps = _grid(space, spacing)

  def squared(stroke):
    start, end = stroke
    along = [step * (b - a) for a, b, step in zip(start, end, steps, strict=True)]
    ways = [step * (axis - a) for axis, a, step in zip(axes, start, steps, strict=True)]
    length = sum(of**2 for of in along)
    share = sum(of * way for of, way in zip(along, ways, strict=True))
    share = jnp.clip(share / jnp.where(length > 0, length, 1), 0, 1)
    return sum((way - share * of) ** 2 for of, way in zip(along, ways, strict=True))

  strokes = tuple(jnp.asarray(of, jnp.float32) for of in (starts, ends))
  return _nearest(squared, strokes, there, space)


def _grid(space, spacing):
  """Of each axis its positions, to broadcast, and its step."""
  rank = len(space)
  spacing = jnp.ones(rank) if spacing is None else jnp.asarray(spacing, jnp.float32)
  if spacing.shape != (rank,):
    raise ValueError(
      f"interaction: the spacing has shape {spacing.shape}; expected ({rank},) for an image of "
      f"{rank} axes."
    )
  shapes = [[-1 if a == axis else 1 for a in range(rank)] for axis in range(rank)]
  sizes = zip(space, shapes, strict=True)
  return [jnp.arange(n, dtype=jnp.float32).reshape(shape) for n, shape in sizes], list(spacing)


def _nearest(squared: Callable, marks, there, space):
  there = jnp.asarray(there)

  def nearer(index, nearest):
    mark = jax.tree.map(lambda of: of[index], marks)
    return jnp.where(there[index], jnp.minimum(nearest, squared(mark)), nearest)

  far = jnp.full(tuple(space), jnp.inf, jnp.float32)
  if not len(there):
    return far
  # marks come first, and the room that is left after them costs nothing
  used = jnp.max(jnp.where(there, 1 + jnp.arange(len(there)), 0), initial=0)
  return jnp.sqrt(lax.fori_loop(0, used, nearer, far))


def geodesic_distance(
  image: Array,
  seeds: Array,
  spacing: Array | None = None,
  *,
  contrast: float = 1.0,
  rounds: int | None = None,
) -> jax.Array:
  """Length of the cheapest way from a seed, along which the image's differences cost.

  A step of length l between neighbours, corners included, over a difference d (of channels: the
  root of their squares' sum) costs l / ((1 - contrast) + contrast / (d + 1e-5)).

  Each round sweeps along every axis and back, a whole slice at a time, so that a way costs rounds
  by its turns and not by its length. At the end of all rounds, when nothing changes any more, the
  distances are exact, those of Dijkstra's algorithm, of which a fixed number of raster scans gives
  upper bounds.

  Args:
    image: (*space, channels). No gradient passes.
    seeds: (*space) bool.
    spacing: (rank,) size of a voxel; may be traced.
    contrast: lambda: 0 is the way's length alone, 1 the image's differences alone.
    rounds: at most so many, for a bound of the time; None is as many as needed.

  Source: Criminisi et al., "GeoS", ECCV 2008; Wang et al., "DeepIGeoS", arXiv 1707.00652; costs as
  GeodisTK's `geodesic3d_raster_scan`.
  """
  if not 0 <= contrast <= 1:
    raise ValueError(f"geodesic_distance: contrast is {contrast}; expected 0 to 1.")
  if rounds is not None and rounds < 1:
    raise ValueError(f"geodesic_distance: rounds is {rounds}; expected 1 or more, or None.")
  if image.shape[:-1] != seeds.shape:
    raise ValueError(
      f"geodesic_distance: an image of shape {image.shape} with seeds of shape {seeds.shape}; "
      "expected (*space, channels) and (*space)."
    )
  rank = seeds.ndim
  image = lax.stop_gradient(jnp.asarray(image, jnp.float32))
  _, steps = _grid(seeds.shape, spacing)
  # a cheapest way visits no voxel twice
  most = max(seeds.size, 1) if rounds is None else rounds
  sides = list(itertools.product((-1, 0, 1), repeat=rank - 1))

  def sweep(distance, axis, backwards):
    others = [steps[a] for a in range(rank) if a != axis]
    squares = [
      steps[axis] ** 2 + sum((side * step) ** 2 for side, step in zip(of, others, strict=True))
      for of in sides
    ]

    def to_next(before, here):
      (distance_before, image_before), (distance_here, image_here) = before, here
      for side, square in zip(sides, squares, strict=True):
        from_there = _shifted(distance_before, side, jnp.inf)
        seen = _shifted(image_before, (*side, 0), 0.0)
        difference = jnp.sqrt(((image_here - seen) ** 2).sum(-1)) + _FLAT
        speed = (1 - contrast) + contrast / difference
        distance_here = jnp.minimum(distance_here, from_there + jnp.sqrt(square) / speed)
      return (distance_here, image_here), distance_here

    slices = jnp.moveaxis(distance, axis, 0), jnp.moveaxis(image, axis, 0)
    nowhere = jnp.full_like(slices[0][0], jnp.inf), slices[1][0]
    _, new = lax.scan(to_next, nowhere, slices, reverse=backwards)
    return jnp.moveaxis(new, 0, axis)

  def one_round(state):
    old, _, number = state
    new = old
    for axis in range(rank):
      for backwards in (False, True):
        new = sweep(new, axis, backwards)
    return new, (new < old).any(), number + 1

  start = jnp.where(seeds, 0.0, jnp.inf), jnp.asarray(True), 0
  return lax.while_loop(lambda state: state[1] & (state[2] < most), one_round, start)[0]


def _shifted(values, sides, outside):
  """Of each voxel the value of its neighbour on that side."""
  config = [(max(-side, 0), max(side, 0), 0) for side in sides]
  padded = lax.pad(values, jnp.asarray(outside, values.dtype), config)
  first = [max(side, 0) for side in sides]
  return lax.slice(padded, first, [f + n for f, n in zip(first, values.shape, strict=True)])
