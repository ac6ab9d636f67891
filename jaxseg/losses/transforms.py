"""Distances on the device: the exact Euclidean distance transform, for any rank and spacing."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.batch import Array


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
