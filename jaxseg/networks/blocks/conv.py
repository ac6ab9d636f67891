"""The convolution that every network uses: rank-free, and fast on CPU too."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks.acceleration import by_platform
from jaxseg.networks.blocks.cpu_conv import convolve_on_cpu
from jaxseg.networks.blocks.initializers import he_normal
from jaxseg.networks.blocks.options import choice, per_axis


class Conv(nn.Module):
  """Convolution, (b, *space, in) -> (b, *space', features).

  The parameters have `nn.Conv`'s layout: kernel (*kernel, in / groups, features) and bias.
  `kernel`, `stride` and `dilation` are an integer or one per axis. "same" pads
  `dilation * (kernel - 1)` voxels, half on each side whatever the stride (as PyTorch does and XLA's
  SAME doesn't), so that the output has ceil(size / stride) voxels; "valid" pads nothing.

  Raises ValueError if an option has another number of axes than the input, or if `groups` divides
  neither channels nor features.
  """

  features: int
  kernel: int | Sequence[int] = 3
  stride: int | Sequence[int] = 1
  dilation: int | Sequence[int] = 1
  groups: int = 1
  padding: str = "same"
  use_bias: bool = True
  dtype: Any = None
  kernel_init: Callable = he_normal()
  bias_init: Callable = nn.initializers.zeros

  @nn.compact
  def __call__(self, x):
    rank, channels = x.ndim - 2, x.shape[-1]
    kernel = per_axis(self.kernel, rank, "kernel")
    stride = per_axis(self.stride, rank, "stride")
    dilation = per_axis(self.dilation, rank, "dilation")
    choice(self.padding, ("same", "valid"), "padding")
    if channels % self.groups or self.features % self.groups:
      raise ValueError(
        f"groups={self.groups} must divide the {channels} input channels and the "
        f"{self.features} features of the convolution '{self.name}'."
      )
    dtype = self.dtype or x.dtype
    shape = (*kernel, channels // self.groups, self.features)
    weights = self.param("kernel", self.kernel_init, shape, jnp.float32)
    span = [
      d * (k - 1) if self.padding == "same" else 0 for k, d in zip(kernel, dilation, strict=True)
    ]
    padding = tuple((s // 2, s - s // 2) for s in span)
    x = convolve(
      x.astype(dtype),
      weights.astype(dtype),
      stride=stride,
      padding=padding,
      dilation=dilation,
      groups=self.groups,
    )
    if self.use_bias:
      bias = self.param("bias", self.bias_init, (self.features,), jnp.float32)
      x += bias.astype(dtype).reshape((1,) * (x.ndim - 1) + (-1,))
    return x


def convolve(x, kernel, *, stride, padding, dilation, groups=1):
  """`lax.conv_general_dilated` for channels-last arrays of any rank, as each platform likes it.

  Shapes: x (b, *space, in), kernel (*kernel, in / groups, out); `stride` and `dilation` one integer
  per axis, `padding` one (low, high) per axis, none negative or beyond the kernel's reach of
  dilation * (kernel - 1), where XLA's CPU compiler computes some gradients of x wrong.
  """
  options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
  native = functools.partial(_native, **options)
  if x.ndim not in (4, 5):
    return native(x, kernel)
  on_cpu = functools.partial(convolve_on_cpu, **options)
  return by_platform(x, kernel, cpu=on_cpu, plain=native)


def multiply_channels(x, matrix):
  """Product of each voxel's channels with a matrix: x (b, *space, in), matrix (in, out).

  As a 1x1 convolution on CPU, because the gradient of that is faster there.
  """

  def on_cpu(x, matrix):
    flat = x.reshape(x.shape[0], -1, 1, x.shape[-1])
    options = {"stride": (1, 1), "padding": ((0, 0),) * 2, "dilation": (1, 1), "groups": 1}
    return convolve_on_cpu(flat, matrix[None, None], **options).reshape(*x.shape[:-1], -1)

  return by_platform(x, matrix, cpu=on_cpu, plain=lambda x, matrix: jnp.tensordot(x, matrix, 1))


def _native(x, kernel, *, stride, padding, dilation, groups):
  space = "DHW"[-len(stride) :]
  return jax.lax.conv_general_dilated(
    x,
    kernel,
    stride,
    padding,
    rhs_dilation=dilation,
    dimension_numbers=(f"N{space}C", f"{space}IO", f"N{space}C"),
    feature_group_count=groups,
  )
