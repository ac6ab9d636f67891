"""Interpolation to any size, and pooling with any window; rank-free, channels last.

For whole-numbered factors `blocks.resample` is faster.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.morphology import largest_along
from jaxseg.networks.blocks.options import choice, per_axis


def resize(x, size: Sequence[int], *, align_corners: bool = False):
  """Linear interpolation without anti-aliasing, as PyTorch's `interpolate`, up and down.

  Shapes: (b, *space, c) -> (b, *size, c). With `align_corners` the first and last voxels of both
  grids coincide; otherwise their outer edges do, and positions outside the first and last voxel
  centre take the edge's value.
  """
  for axis, new in enumerate(size, start=1):
    old = x.shape[axis]
    if new != old:
      low, fraction = _positions(old, new, align_corners)
      shape = [1] * x.ndim
      shape[axis] = new
      fraction = jnp.asarray(fraction, x.dtype).reshape(shape)
      before = jnp.take(x, low, axis)
      after = jnp.take(x, np.minimum(low + 1, old - 1), axis)
      x = before * (1 - fraction) + after * fraction
  return x


def _positions(old: int, new: int, align_corners: bool):
  """Of each new voxel: the old voxel before it, and how far it lies towards the next one."""
  if align_corners:
    at = np.arange(new) * ((old - 1) / (new - 1) if new > 1 else 0.0)
  else:
    at = np.maximum((np.arange(new) + 0.5) * (old / new) - 0.5, 0.0)
  at = np.minimum(at, old - 1)
  low = np.floor(at).astype(np.int32)
  return low, at - low


def nearest_up(x, *, stride: int | Sequence[int] = 2):
  """Repeats each voxel: (b, *space, c) -> (b, *(space * stride), c)."""
  for axis, s in enumerate(per_axis(stride, x.ndim - 2, "stride"), start=1):
    if s > 1:
      x = jnp.repeat(x, s, axis)
  return x


def pool(x, kind: str, *, kernel, stride=None, padding=0):
  """Pooling with windows that may overlap: (b, *space, c) -> (b, *pooled, c).

  `kind` is "max" or "average" (padding counts as zeros, as PyTorch's default); `kernel`, `stride`
  (the kernel if None) and `padding` (voxels on each side) are an integer or one per axis. An axis
  of n voxels becomes floor((n + 2 padding - kernel) / stride) + 1. For windows that tile the image
  `max_pool` is faster.
  """
  choice(kind, ("max", "average"), "pool")
  rank = x.ndim - 2
  kernel = per_axis(kernel, rank, "kernel")
  stride = kernel if stride is None else per_axis(stride, rank, "stride")
  padding = [(p, p) for p in per_axis(padding, rank, "padding")]
  if kind == "max" and set(stride) == {1}:
    for axis in reversed(range(rank)):
      x = largest_along(x, axis + 1, size=kernel[axis], padding=padding[axis])
    return x
  window, steps = (1, *kernel, 1), (1, *stride, 1)
  pads = [(0, 0), *padding, (0, 0)]
  if kind == "max":
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, steps, pads)
  total = jax.lax.reduce_window(x, 0.0, jax.lax.add, window, steps, pads)
  return total / int(np.prod(kernel))


def largest(x, axis: int | Sequence[int], *, keepdims: bool = False):
  """The maximum over some axes; its gradient goes to the first of equal values, as PyTorch's.

  `jnp.max` shares the gradient among the values that equal the maximum, and finds these by
  comparing again: where XLA computes x anew for that and rounds it differently, there is none, and
  0 / 0.
  """
  axes = (axis,) if isinstance(axis, int) else tuple(axis)
  axes = tuple(sorted(a % x.ndim for a in axes))
  last = jnp.moveaxis(x, axes, range(-len(axes), 0))
  last = last.reshape(*last.shape[: x.ndim - len(axes)], -1)
  where = jax.nn.one_hot(jnp.argmax(last, -1), last.shape[-1], dtype=bool)
  found = jnp.where(where, last, 0).sum(-1)
  return jnp.expand_dims(found, axes) if keepdims else found


def adaptive_pool(x, bins: int | Sequence[int], *, kind: str = "average"):
  """Pools to a fixed number of bins per axis: (b, *space, c) -> (b, *bins, c).

  Bin k of b covers floor(k n / b) to ceil((k + 1) n / b) of an axis of n voxels, as PyTorch's
  adaptive pooling, so that bins overlap where the size does not divide. `kind` is "average" or
  "max". Raises ValueError if an axis has fewer voxels than bins.
  """
  choice(kind, ("average", "max"), "adaptive_pool")
  reduce = jnp.mean if kind == "average" else largest
  for axis, b in enumerate(per_axis(bins, x.ndim - 2, "bins"), start=1):
    n = x.shape[axis]
    if n < b:
      raise ValueError(f"adaptive_pool: {b} bins need at least {b} voxels, the axis has {n}.")
    edges = [(k * n // b, -(-(k + 1) * n // b)) for k in range(b)]
    parts = [
      reduce(jax.lax.slice_in_dim(x, lo, hi, axis=axis), axis, keepdims=True) for lo, hi in edges
    ]
    x = jnp.concatenate(parts, axis)
  return x
