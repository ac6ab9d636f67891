"""Boxes of one image that are pasted into another, for methods that know what to do inside.

`mixing.cutmix` is the augmentation that mixes samples and labels alike.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxseg.batch import Array


def box(space: Sequence[int], start: Array, size: Array) -> jax.Array:
  """(*space) bool: True from voxel `start`, (rank,), over `size` voxels along each axis."""
  inside = jnp.ones(space, bool)
  for axis, length in enumerate(space):
    at = jnp.arange(length) - start[axis]
    line = (at >= 0) & (at < size[axis])
    inside &= line.reshape([-1 if a == axis else 1 for a in range(len(space))])
  return inside


def random_boxes(
  key, count: int, space: Sequence[int], *, p: float, share: tuple[float, float], ratio: float
) -> jax.Array:
  """(count, *space) bool: in each a box that lies inside of the space whole, or none.

  Args:
    key: random key.
    count: how many.
    space: voxels along each axis.
    p: probability that there is a box.
    share: range of its share of the space's voxels, drawn evenly.
    ratio: the longest side may be so many times as long as the shortest, both as shares of their
      axes. A side that would be longer than its axis is as long as that.
  """
  drawing, sharing, shaping, placing = jax.random.split(key, 4)
  rank, length = len(space), jnp.asarray(space)[None]
  volume = jax.random.uniform(sharing, (count, 1), minval=share[0], maxval=share[1])
  sides = ratio ** jax.random.uniform(shaping, (count, rank))
  sides /= jnp.exp(jnp.log(sides).mean(-1, keepdims=True))
  size = jnp.clip(jnp.round(sides * volume ** (1 / rank) * length), 1, length).astype(jnp.int32)
  size *= jax.random.bernoulli(drawing, p, (count, 1))
  free = jax.random.uniform(placing, (count, rank))
  start = jnp.floor(free * (length - size + 1)).astype(jnp.int32)
  return jax.vmap(lambda a, n: box(space, a, n))(start, size)


def fixed_box(key, space: Sequence[int], *, share: float) -> jax.Array:
  """(*space) bool: a box of int(share * side) voxels along each axis, or 1, anywhere inside."""
  size = jnp.asarray([max(1, int(share * n + 1e-6)) for n in space])
  start = jax.random.randint(key, (len(space),), 0, jnp.asarray(space) - size + 1)
  return box(space, start, size)


def pasted(inside: Array, own: Array, other: Array) -> jax.Array:
  """`other` where `inside`, (b, *space) or (1, *space), else `own`: (b, *space) or with channels.

  Arrays on a smaller grid, which valid convolutions give, are those of the middle.
  """
  for axis, size in enumerate(own.shape[1 : inside.ndim], start=1):
    first = (inside.shape[axis] - size) // 2
    inside = jax.lax.slice_in_dim(inside, first, first + size, axis=axis)
  return jnp.where(inside.reshape(inside.shape + (1,) * (own.ndim - inside.ndim)), other, own)
