"""Changing the resolution: pooling, un-pooling, linear interpolation, transposed convolution.

Every factor is one integer per axis or one for all; an axis with factor 1 is left alone.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxseg.networks.blocks.conv import multiply_channels
from jaxseg.networks.blocks.initializers import he_normal
from jaxseg.networks.blocks.options import per_axis


def interleave(x, stride):
  """Lays out windows in space: (b, *coarse, window voxels, c) -> (b, *space, c)."""
  batch, *coarse, _, channels = x.shape
  rank = len(coarse)
  x = x.reshape(batch, *coarse, *stride, channels)
  pairs = [axis for i in range(rank) for axis in (1 + i, 1 + rank + i)]
  x = x.transpose(0, *pairs, 2 * rank + 1)
  return x.reshape(batch, *(n * s for n, s in zip(coarse, stride, strict=True)), channels)


def max_pool(x, *, stride: int | Sequence[int] = 2):
  """Maximum over windows of size `stride`: (b, *space, c) -> (b, *floor(space / stride), c).

  Voxels that fill no window are dropped; among equal maxima the first one gets the gradient (both
  as PyTorch). Raises ValueError if the input is smaller than a window.
  """
  return max_pool_with_positions(x, stride=stride)[0]


def max_pool_with_positions(x, *, stride: int | Sequence[int] = 2):
  """`max_pool` and where in its window each maximum lies: two (b, *coarse, c), the second int32."""
  stride = per_axis(stride, x.ndim - 2, "stride")
  coarse = tuple(size // s for size, s in zip(x.shape[1:-1], stride, strict=True))
  if not all(coarse):
    raise ValueError(f"an input of size {x.shape[1:-1]} is smaller than the pooling {stride}.")
  x = x[(slice(None), *(slice(n * s) for n, s in zip(coarse, stride, strict=True)))]
  pairs = [n for pair in zip(coarse, stride, strict=True) for n in pair]
  return _maximum(x.reshape(x.shape[0], *pairs, x.shape[-1]))


@jax.custom_jvp
def _maximum(x):
  """(b, z, window z, y, window y, ..., c) -> maximum over the window and its position.

  Its derivative takes the voxel at that position: one pass over the fine array, where the
  derivative of `jnp.max` compares, counts ties and divides.
  """
  stride = x.shape[2:-1:2]
  parts = [
    x[(slice(None), *(i for offset in window for i in (slice(None), offset)))]
    for window in np.ndindex(*stride)
  ]
  largest = functools.reduce(jnp.maximum, parts)
  position = jnp.full(largest.shape, len(parts) - 1, jnp.int32)
  for index, part in reversed(list(enumerate(parts[:-1]))):
    position = jnp.where(part == largest, index, position)
  return largest, position


@_maximum.defjvp
def _maximum_jvp(primals, tangents):
  largest, position = _maximum(*primals)
  window_axes = tuple(range(2, primals[0].ndim - 1, 2))
  stride = tuple(primals[0].shape[axis] for axis in window_axes)
  shape = [1] * primals[0].ndim
  for axis, s in zip(window_axes, stride, strict=True):
    shape[axis] = s
  window = jnp.arange(math.prod(stride), dtype=jnp.int32).reshape(shape)
  chosen = jnp.expand_dims(position, window_axes) == window
  tangent = jnp.sum(jnp.where(chosen, tangents[0], jnp.zeros((), largest.dtype)), window_axes)
  return (largest, position), (tangent, np.zeros(position.shape, jax.dtypes.float0))


def max_unpool(x, positions, *, stride: int | Sequence[int] = 2):
  """Puts each value back where `max_pool_with_positions` found it, zeros elsewhere.

  Shapes: x and positions (b, *coarse, c) -> (b, *(coarse * stride), c). Source: SegNet,
  arXiv 1511.00561.
  """
  stride = per_axis(stride, x.ndim - 2, "stride")
  window = jnp.arange(math.prod(stride), dtype=positions.dtype)
  window = window.reshape((1,) * (x.ndim - 1) + (-1, 1))
  x = jnp.where(positions[..., None, :] == window, x[..., None, :], jnp.zeros((), x.dtype))
  return interleave(x, stride)


def linear_up(x, *, stride: int | Sequence[int] = 2):
  """Linear interpolation to `stride` times the size, corners not aligned, edges repeated.

  Shapes: (b, *space, c) -> (b, *(space * stride), c). Equals `jax.image.resize(..., "linear")`;
  one axis after the other, with constant weights for each of the `stride` phases of an axis.
  """
  for axis, s in enumerate(per_axis(stride, x.ndim - 2, "stride"), start=1):
    if s > 1:
      x = _linear_up_axis(x, axis, s)
  return x


def _linear_up_axis(x, axis, stride):
  size = x.shape[axis]

  def take(start, stop):
    return x[(slice(None),) * axis + (slice(start, stop),)]

  before = jnp.concatenate([take(0, 1), take(0, size - 1)], axis)
  after = jnp.concatenate([take(1, size), take(size - 1, size)], axis)
  phases = []
  for phase in range(stride):
    offset = (phase + 0.5) / stride - 0.5  # of the fine voxel's centre, in coarse voxels
    neighbour = before if offset < 0 else after
    phases.append(x * (1 - abs(offset)) + neighbour * abs(offset))
  x = jnp.stack(phases, axis + 1)
  return x.reshape(*x.shape[:axis], size * stride, *x.shape[axis + 2 :])


class UpConv(nn.Module):
  """Transposed convolution with kernel = stride.

  Shapes: (b, *space, in) -> (b, *(space * stride), features).
  Each voxel becomes a window of `stride` voxels, by one matrix product and a rearrangement:
  XLA's own transposed convolution is 30 times slower on CPU and slow on GPU too. The kernel is
  (*stride, in, features): PyTorch's (in, out, *kernel) moved, not flipped. It is initialised as
  PyTorch's `kaiming_normal_` does, with the output channels as fan.
  """

  features: int
  stride: int | Sequence[int] = 2
  use_bias: bool = True
  dtype: Any = None
  kernel_init: Callable = he_normal(fan="out")

  @nn.compact
  def __call__(self, x):
    stride = per_axis(self.stride, x.ndim - 2, "stride")
    dtype = self.dtype or x.dtype
    channels, window = x.shape[-1], math.prod(stride)
    shape = (*stride, channels, self.features)
    kernel = self.param("kernel", self.kernel_init, shape, jnp.float32).astype(dtype)
    kernel = kernel.reshape(window, channels, self.features).transpose(1, 0, 2)
    x = multiply_channels(x.astype(dtype), kernel.reshape(channels, -1))
    x = x.reshape(*x.shape[:-1], window, self.features)
    if self.use_bias:
      bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
      x += bias.astype(dtype).reshape((1,) * (x.ndim - 1) + (-1,))
    return interleave(x, stride)
