"""Changing the resolution: pooling, un-pooling, linear interpolation, transposed convolution.

Every factor is one integer per axis or one for all; an axis with factor 1 is left alone.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks.initializers import he_normal
from jaxseg.networks.blocks.options import per_axis


def _windows(x, stride):
  """(b, *space, c) -> (b, *coarse, window voxels, c); voxels that fill no window are dropped."""
  rank = x.ndim - 2
  coarse = tuple(size // s for size, s in zip(x.shape[1:-1], stride, strict=True))
  if not all(coarse):
    raise ValueError(f"an input of size {x.shape[1:-1]} is smaller than the pooling {stride}.")
  x = x[(slice(None), *(slice(n * s) for n, s in zip(coarse, stride, strict=True)))]
  pairs = [n for pair in zip(coarse, stride, strict=True) for n in pair]
  x = x.reshape(x.shape[0], *pairs, x.shape[-1])
  outer = [1 + 2 * axis for axis in range(rank)]
  x = x.transpose(0, *outer, *(axis + 1 for axis in outer), 2 * rank + 1)
  return x.reshape(x.shape[0], *coarse, math.prod(stride), x.shape[-1])


def _interleave(x, stride):
  """The reverse of `_windows`: (b, *coarse, window voxels, c) -> (b, *space, c)."""
  batch, *coarse, _, channels = x.shape
  rank = len(coarse)
  x = x.reshape(batch, *coarse, *stride, channels)
  pairs = [axis for i in range(rank) for axis in (1 + i, 1 + rank + i)]
  x = x.transpose(0, *pairs, 2 * rank + 1)
  return x.reshape(batch, *(n * s for n, s in zip(coarse, stride, strict=True)), channels)


def max_pool(x, *, stride: int | Sequence[int] = 2):
  """Maximum over windows of size `stride`: (b, *space, c) -> (b, *floor(space / stride), c)."""
  rank = x.ndim - 2
  stride = per_axis(stride, rank, "stride")
  coarse = tuple(size // s for size, s in zip(x.shape[1:-1], stride, strict=True))
  if not all(coarse):
    raise ValueError(f"an input of size {x.shape[1:-1]} is smaller than the pooling {stride}.")
  x = x[(slice(None), *(slice(n * s) for n, s in zip(coarse, stride, strict=True)))]
  x = x.reshape(
    x.shape[0], *(n for pair in zip(coarse, stride, strict=True) for n in pair), x.shape[-1]
  )
  return jnp.max(x, tuple(2 + 2 * axis for axis in range(rank)))


def max_pool_with_positions(x, *, stride: int | Sequence[int] = 2):
  """`max_pool` and where in its window each maximum lies: two (b, *coarse, c), the second int32."""
  windows = _windows(x, per_axis(stride, x.ndim - 2, "stride"))
  return jnp.max(windows, -2), jnp.argmax(windows, -2).astype(jnp.int32)


def max_unpool(x, positions, *, stride: int | Sequence[int] = 2):
  """Puts each value back where `max_pool_with_positions` found it, zeros elsewhere.

  Shapes: x and positions (b, *coarse, c) -> (b, *(coarse * stride), c). Source: SegNet,
  arXiv 1511.00561.
  """
  stride = per_axis(stride, x.ndim - 2, "stride")
  window = jnp.arange(math.prod(stride), dtype=positions.dtype)
  window = window.reshape((1,) * (x.ndim - 1) + (-1, 1))
  x = jnp.where(positions[..., None, :] == window, x[..., None, :], jnp.zeros((), x.dtype))
  return _interleave(x, stride)


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
    x = jnp.tensordot(x.astype(dtype), kernel, 1)
    if self.use_bias:
      bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
      x += bias.astype(dtype).reshape((1,) * (x.ndim - 1) + (-1,))
    return _interleave(x, stride)
