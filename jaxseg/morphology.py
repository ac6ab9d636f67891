"""Shapes of masks on the device: components, exact distances, growing and shrinking by a ball.

For one, two or three axes, under jit and vmap, with static shapes. Without gradients, which masks
have none of; `largest_along` alone has them.
"""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.batch import Array

_FAR = float("inf")


def components(mask: Array, *, connectivity: int | None = None) -> jax.Array:
  """One number per connected component, that of its last voxel in the order of storage, from 1.

  Each round takes the largest number around and then that number's own, which halves the way that
  is left: some ten rounds, exact at the end.

  Args:
    mask: (*space) bool.
    connectivity: voxels touch that differ along so many axes at most: 1 by faces, the rank (None)
      at corners too, as scipy.ndimage.generate_binary_structure has it.

  Returns:
    (*space) int32, 0 outside of the mask. Numbers are not consecutive.
  """
  rank = mask.ndim
  touching = rank if connectivity is None else connectivity
  if not 1 <= touching <= rank:
    raise ValueError(
      f"components: connectivity={connectivity}; expected 1 to {rank} for a mask of {rank} axes."
    )
  numbers = jnp.where(mask, 1 + jnp.arange(mask.size, dtype=jnp.int32).reshape(mask.shape), 0)

  def around(numbers, axes):
    # a maximum over a cube is one over each axis in turn; a window of XLA's is slow on CPU
    for axis in axes:
      size = numbers.shape[axis]
      width = [(1, 1) if a == axis else (0, 0) for a in range(rank)]
      padded = jnp.pad(numbers, width)
      sides = (lax.slice_in_dim(padded, first, first + size, axis=axis) for first in (0, 2))
      numbers = jnp.maximum(numbers, jnp.maximum(*sides))
    return numbers

  def spread(state):
    numbers, _ = state
    each = [around(numbers, axes) for axes in itertools.combinations(range(rank), touching)]
    largest = each[0]
    for other in each[1:]:
      largest = jnp.maximum(largest, other)
    new = jnp.where(mask, largest, 0)
    new = jnp.concatenate([jnp.zeros(1, new.dtype), new.reshape(-1)])
    new = new[new][1:].reshape(mask.shape)
    return new, (new != numbers).any()

  return lax.while_loop(lambda state: state[1], spread, (numbers, mask.any()))[0]


def largest_component(mask: Array, *, connectivity: int | None = None) -> jax.Array:
  """The component with the most voxels; of equals the one that comes first in storage.

  (*space) bool -> the same shape; an empty mask stays empty. `connectivity`: of `components`.
  """
  numbers = components(mask, connectivity=connectivity).reshape(-1)
  voxels = jax.ops.segment_sum(mask.reshape(-1).astype(jnp.int32), numbers, mask.size + 1)
  largest = numbers[jnp.argmax(jnp.where(numbers > 0, voxels[numbers], 0))]
  return mask & (numbers == largest).reshape(mask.shape)


def distance_transform(sources: Array, spacing: Array | Sequence[float] | None = None) -> jax.Array:
  """Distance of every voxel to the nearest source, 0 at a source, infinite where there is none.

  Exact, axis by axis: the squared distance to the nearest source is the smallest over a line of
  the squared way to a voxel plus what that voxel has from the axes before. Takes the memory of a
  few arrays of this size, and time in proportion to the voxels times their lines' length.

  Args:
    sources: (*space) bool.
    spacing: (rank,) size of a voxel; None is 1 for each axis. May be traced.

  Returns:
    (*space) float32, in the unit of the spacing. Equal to scipy.ndimage.distance_transform_edt of
    what is no source. Source of the separable form: Felzenszwalb and Huttenlocher 2012,
    "Distance transforms of sampled functions".
  """
  rank = sources.ndim
  if rank == 0:
    raise ValueError("distance_transform: the sources have no axes; expected a (*space) mask.")
  spacing = jnp.ones(rank) if spacing is None else jnp.asarray(spacing, jnp.float32)
  if spacing.shape != (rank,):
    raise ValueError(
      f"distance_transform: the spacing has shape {spacing.shape}; expected ({rank},) for sources "
      f"of {rank} axes."
    )
  squared = (spacing[0] * _along_first(sources)) ** 2
  for axis in range(1, rank):
    squared = _nearer_along(squared, axis, spacing[axis])
  return jnp.sqrt(squared)


def _along_first(sources):
  """Voxels to the nearest source along the first axis."""
  size = sources.shape[0]
  index = jnp.arange(size, dtype=jnp.float32).reshape(-1, *(1,) * (sources.ndim - 1))
  index = jnp.broadcast_to(index, sources.shape)
  before = lax.cummax(jnp.where(sources, index, -jnp.inf), 0)
  after = lax.cummin(jnp.where(sources, index, jnp.inf), 0, reverse=True)
  return jnp.minimum(index - before, after - index)


def _nearer_along(squared, axis: int, step):
  """The smallest of squared[j] + (step * (i - j))^2 over the voxels j of i's line."""
  lines = jnp.moveaxis(squared, axis, 0)
  size = lines.shape[0]
  index = jnp.arange(size, dtype=jnp.float32).reshape(-1, *(1,) * (lines.ndim - 1))

  def nearer(j, nearest):
    there = lax.dynamic_slice_in_dim(lines, j, 1)
    way = (step * (index - j.astype(jnp.float32))) ** 2
    return jnp.minimum(nearest, there + way)

  # all voxels j at once would be size times the memory, wherever XLA doesn't fuse the sum with
  # the minimum; eight of them make one pass over memory out of eight
  nearest = lax.fori_loop(0, size, nearer, jnp.full_like(lines, jnp.inf), unroll=min(8, size))
  return jnp.moveaxis(nearest, 0, axis)


def dilate(mask: Array, radius: Array | float, *, reach: int) -> jax.Array:
  """Grows a mask by a ball; exact.

  Squared distances to the mask, one axis after the other, no farther than the ball reaches.

  Args:
    mask: (*space) bool. What lies beyond the border does not grow inwards.
    radius: of the ball in voxels, at most `reach`; may be traced.
    reach: the largest radius in whole voxels, static: the work grows with it.
  """
  squared = jnp.where(mask, 0.0, _FAR)
  for axis in range(mask.ndim):
    size = mask.shape[axis]
    width = [(reach, reach) if a == axis else (0, 0) for a in range(mask.ndim)]
    padded = jnp.pad(squared, width, constant_values=_FAR)
    for offset in range(-reach, reach + 1):
      first = reach + offset
      shifted = lax.slice_in_dim(padded, first, first + size, axis=axis)
      squared = jnp.minimum(squared, shifted + float(offset**2))
  return squared <= radius**2


def erode(mask: Array, radius: Array | float, *, reach: int) -> jax.Array:
  """Shrinks a mask by a ball: grows its complement. What lies beyond the border does not erode."""
  return ~dilate(~mask, radius, reach=reach)


def largest_along(
  x: Array, axis: int, *, size: int = 3, padding: tuple[int, int] = (1, 1)
) -> Array:
  """The maximum of each window of `size` voxels along one axis; nothing lies beyond its ends.

  (..., n, ...) -> (..., n + sum(padding) - size + 1, ...). Of equals the first one has the
  gradient. By shifts: XLA's gradient of overlapping `reduce_window`s is wrong where GSPMD splits
  the axis.
  """
  config = [(0, 0, 0)] * x.ndim
  config[axis] = (*padding, 0)
  padded = lax.pad(x, jnp.asarray(-jnp.inf, x.dtype), config)
  count = padded.shape[axis] - size + 1
  out = lax.slice_in_dim(padded, size - 1, size - 1 + count, axis=axis)
  for first in reversed(range(size - 1)):
    before = lax.slice_in_dim(padded, first, first + count, axis=axis)
    out = jnp.where(before >= out, before, out)
  return out


def thin(mask: Array) -> jax.Array:
  """The middle of a mask, one voxel wide and as connected as the mask: (height, width) bool.

  Takes voxels from its edge, in two turns by side, until none can go. What lies outside of the
  image is outside of the mask. Source: Zhang and Suen, "A fast parallel algorithm for thinning
  digital patterns", 1984.
  """
  # clockwise from above
  sides = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
  height, width = mask.shape

  def without_edge(mask, first: bool):
    padded = jnp.pad(mask, 1)
    around = [lax.slice(padded, (1 + y, 1 + x), (1 + y + height, 1 + x + width)) for y, x in sides]
    number = sum(of.astype(jnp.int32) for of in around)
    begins = zip(around, [*around[1:], around[0]], strict=True)
    runs = sum((~a & b).astype(jnp.int32) for a, b in begins)
    up, right, down, left = around[::2]
    if first:
      inside = (up & right & down) | (right & down & left)
    else:
      inside = (up & right & left) | (up & down & left)
    return mask & ~((number >= 2) & (number <= 6) & (runs == 1) & ~inside)

  def turn(state):
    mask, _ = state
    new = without_edge(without_edge(mask, True), False)
    return new, (new != mask).any()

  return lax.while_loop(lambda state: state[1], turn, (mask, mask.any()))[0]
