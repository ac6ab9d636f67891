"""The operations that the edges of cells choose from; rank-free, channels last.

NAS-UNet's keep, halve or double the size by their name, DARTS' halve it with stride 2.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks.conv import Conv
from jaxseg.networks.blocks.norm import Norm
from jaxseg.networks.blocks.resample import interleave
from jaxseg.networks.blocks.resize import pool
from jaxseg.networks.blocks.squeeze_excitation import SqueezeExcitation
from jaxseg.networks.blocks.transposed import TransposedConv
from jaxseg.search.cells import NONE

# channels of a group of NAS-UNet's norms, hidden units of its channel weights are one for as many
SIXTEEN = 16


def spread(x, *, stride: int = 2):
  """Zeros between voxels: (b, *space, c) -> (b, *(space * stride), c)."""
  rank = x.ndim - 2
  window = jnp.zeros((*x.shape[:-1], stride**rank - 1, x.shape[-1]), x.dtype)
  return interleave(jnp.concatenate([x[..., None, :], window], -2), (stride,) * rank)


class NormOf(nn.Module):
  """The norm of a cell: `kind` "group" has groups of 16 channels, or one where these don't fit."""

  kind: str
  affine: bool = True
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    groups = x.shape[-1] // SIXTEEN if x.shape[-1] % SIXTEEN == 0 else 1
    return Norm(self.kind, groups, affine=self.affine, dtype=self.dtype, name="norm")(x)


class Convolution(nn.Module):
  """3x3x3 convolution (plain, dilated or depthwise and pointwise), norm, ReLU: (b, *space, c).

  `size` "down" is a stride of 2, "up" a transposed convolution of stride 2 that doubles the size:
  of the dilated one every kernel tap falls on the voxels that come from input voxels, so that the
  voxels between them are zeros, as in the published network.
  """

  features: int
  kind: str = "plain"
  size: str = "same"
  norm: str = "group"
  affine: bool = True
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    conv = functools.partial(Conv, use_bias=False, dtype=self.dtype)
    stride = 2 if self.size == "down" else 1
    if self.kind == "depthwise":
      x = spread(x) if self.size == "up" else x
      x = conv(x.shape[-1], 3, stride, groups=x.shape[-1], name="depthwise")(x)
      x = conv(self.features, 1, name="pointwise")(x)
    elif self.kind == "dilated":
      # between input voxels spread by 2, a kernel dilated by 2 is one of the input voxels
      x = conv(self.features, 3, stride, 1 if self.size == "up" else 2, name="conv")(x)
      x = spread(x) if self.size == "up" else x
    elif self.size == "up":
      x = TransposedConv(self.features, use_bias=False, dtype=self.dtype, name="conv")(x)
    else:
      x = conv(self.features, 3, stride, name="conv")(x)
    return jax.nn.relu(NormOf(self.norm, self.affine, self.dtype, name="norm")(x))


class ChannelWeights(nn.Module):
  """Squeeze and excitation; where the size changes, a convolution of stride 2 and a norm follow."""

  features: int
  size: str = "same"
  norm: str = "group"
  affine: bool = True
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    x = SqueezeExcitation(SIXTEEN, dtype=self.dtype, name="weights")(x)
    if self.size == "same":
      return x
    if self.size == "up":
      x = TransposedConv(self.features, use_bias=False, dtype=self.dtype, name="conv")(x)
    else:
      x = Conv(self.features, 3, 2, use_bias=False, dtype=self.dtype, name="conv")(x)
    return NormOf(self.norm, self.affine, self.dtype, name="norm")(x)


class Separable(nn.Module):
  """DARTS' ReLU, depthwise and pointwise convolution, norm; `times` of them, the first strided."""

  features: int
  kernel: int = 3
  stride: int = 1
  dilation: int = 1
  times: int = 1
  norm: str = "batch"
  affine: bool = True
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    for i in range(self.times):
      x, stride = jax.nn.relu(x), self.stride if i == 0 else 1
      conv = functools.partial(Conv, use_bias=False, dtype=self.dtype)
      depthwise = conv(
        x.shape[-1],
        self.kernel,
        stride,
        self.dilation,
        groups=x.shape[-1],
        name=f"depthwise{i + 1}",
      )
      x = conv(self.features, 1, name=f"pointwise{i + 1}")(depthwise(x))
      x = NormOf(self.norm, self.affine, self.dtype, name=f"norm{i + 1}")(x)
    return x


class Reduce(nn.Module):
  """Half the size by two 1x1 convolutions of stride 2, one of them a voxel further on every axis.

  (b, *space, c) -> (b, *space / 2, features); half of the features are of each.
  """

  features: int
  norm: str = "batch"
  affine: bool = True
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    x, half = jax.nn.relu(x), self.features // 2
    conv = functools.partial(Conv, kernel=1, stride=2, use_bias=False, dtype=self.dtype)
    further = x[(slice(None), *(slice(1, None),) * (x.ndim - 2))]
    first = conv(half, name="conv1")(x)
    x = jnp.concatenate([first, conv(self.features - half, name="conv2")(further)], -1)
    return NormOf(self.norm, self.affine, self.dtype, name="norm")(x)


class Pool(nn.Module):
  """DARTS' pooling over 3 voxels, averages of those that there are; `normed` has a norm after it.

  The norm has no scale and bias, as in the published supernet: no weight to learn.
  """

  kind: str
  stride: int = 1
  normed: bool = False
  norm: str = "batch"
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    window = {"kernel": 3, "stride": self.stride, "padding": 1}
    if self.kind == "max":
      x = pool(x, "max", **window)
    else:
      there = jnp.ones((1, *x.shape[1:-1], 1), x.dtype)
      x = pool(x, "average", **window) / pool(there, "average", **window)
    return NormOf(self.norm, False, self.dtype, name="norm")(x) if self.normed else x


def halved(x, kind: str):
  """Maximum or average over windows of 2 voxels."""
  return pool(x, kind, kernel=2)


def identity(x):
  """What it is given."""
  return x


# name -> a module that keeps, halves or doubles the size
_SIZED = {
  "conv": functools.partial(Convolution, kind="plain"),
  "dil": functools.partial(Convolution, kind="dilated"),
  "dep": functools.partial(Convolution, kind="depthwise"),
  "cweight": ChannelWeights,
}
_NAS_UNET: dict[str, Callable] = {
  f"{prefix}{name}": functools.partial(make, size=size)
  for size, prefix in (("same", ""), ("down", "down_"), ("up", "up_"))
  for name, make in _SIZED.items()
}
# the published network's shuffle is of one group, which is none
_NAS_UNET["shuffle"] = _NAS_UNET["conv"]
_WITHOUT_WEIGHTS = {
  "identity": identity,
  "avg": functools.partial(halved, kind="average"),
  "max": functools.partial(halved, kind="max"),
}
_SEPARABLE = {
  "sep3": dict(kernel=3, times=2),
  "sep5": dict(kernel=5, times=2),
  "dil3": dict(kernel=3, dilation=2),
  "dil5": dict(kernel=5, dilation=2),
}


def of_nas_unet(operation: str, features: int, **options) -> Callable | None:
  """NAS-UNet's operation, None for none; `options` are norm, affine, dtype and the module's name.

  What it gives is made inside a module.
  """
  if operation == NONE:
    return None
  if operation in _WITHOUT_WEIGHTS:
    return _WITHOUT_WEIGHTS[operation]
  return _NAS_UNET[operation](features, **options)


def of_darts(
  operation: str,
  features: int,
  *,
  stride: int,
  mixed: bool,
  norm: str,
  affine: bool,
  dtype: Any,
  name: str,
) -> Callable | None:
  """DARTS' operation, None for none; `mixed` tells that it is one of a supernet's.

  What it gives is made inside a module.
  """
  options = {"norm": norm, "dtype": dtype, "name": name}
  if operation == NONE:
    return None
  if operation in ("max3", "avg3"):
    return Pool(operation.removesuffix("3"), stride, normed=mixed, **options)
  if operation == "skip":
    return identity if stride == 1 else Reduce(features, affine=affine, **options)
  return Separable(features, stride=stride, affine=affine, **_SEPARABLE[operation], **options)
