"""Transposed convolution with any kernel, stride and padding."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks.conv import convolve
from jaxseg.networks.blocks.initializers import he_normal
from jaxseg.networks.blocks.options import per_axis
from jaxseg.networks.blocks.resample import interleave


class TransposedConv(nn.Module):
  """PyTorch's `ConvTranspose`: (b, *space, in) -> (b, *space', features).

  An axis of n voxels becomes (n - 1) stride - 2 padding + kernel + output_padding. The kernel is
  (*kernel, in, features): PyTorch's (in, out, *kernel) moved, not flipped. Computed as one
  convolution that gives every phase of the stride, then a rearrangement, because XLA's own
  transposed convolution is slow; for kernel = stride use `UpConv`.
  """

  features: int
  kernel: int | Sequence[int] = 3
  stride: int | Sequence[int] = 2
  padding: int | Sequence[int] = 1
  output_padding: int | Sequence[int] = 1
  use_bias: bool = True
  dtype: Any = None
  kernel_init: Callable = he_normal(fan="out")

  @nn.compact
  def __call__(self, x):
    rank, channels, dtype = x.ndim - 2, x.shape[-1], self.dtype or x.dtype
    kernel = per_axis(self.kernel, rank, "kernel")
    stride = per_axis(self.stride, rank, "stride")
    padding = per_axis(self.padding, rank, "padding")
    extra = per_axis(self.output_padding, rank, "output_padding")
    weights = self.param(
      "kernel", self.kernel_init, (*kernel, channels, self.features), jnp.float32
    )
    size = [
      (n - 1) * s - 2 * p + k + e
      for n, s, p, k, e in zip(x.shape[1:-1], stride, padding, kernel, extra, strict=True)
    ]

    # output voxel s m + t is the sum over j of x[m - j] w[s j + t]
    taps = [-(-k // s) for k, s in zip(kernel, stride, strict=True)]
    missing = [(0, t * s - k) for t, s, k in zip(taps, stride, kernel, strict=True)]
    weights = jnp.pad(weights.astype(dtype), [*missing, (0, 0), (0, 0)])
    split = [n for pair in zip(taps, stride, strict=True) for n in pair]
    weights = weights.reshape(*split, channels, self.features)
    order = [*range(0, 2 * rank, 2), 2 * rank, *range(1, 2 * rank, 2), 2 * rank + 1]
    weights = jnp.flip(weights.transpose(order), range(rank))
    weights = weights.reshape(*taps, channels, math.prod(stride) * self.features)
    x = convolve(
      x.astype(dtype),
      weights,
      stride=(1,) * rank,
      padding=tuple((t - 1, t - 1) for t in taps),
      dilation=(1,) * rank,
    )
    x = interleave(x.reshape(*x.shape[:-1], math.prod(stride), self.features), stride)
    short = [max(0, p + n - m) for p, n, m in zip(padding, size, x.shape[1:-1], strict=True)]
    x = jnp.pad(x, [(0, 0), *((0, s) for s in short), (0, 0)])
    x = x[(slice(None), *(slice(p, p + n) for p, n in zip(padding, size, strict=True)))]
    if self.use_bias:
      bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
      x += bias.astype(dtype).reshape((1,) * (x.ndim - 1) + (-1,))
    return x
