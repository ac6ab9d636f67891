"""Depthwise separable convolution: a drop-in for `Conv`."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from flax import linen as nn

from jaxseg.networks.blocks.activation import Activation
from jaxseg.networks.blocks.conv import Conv
from jaxseg.networks.blocks.initializers import he_normal
from jaxseg.networks.blocks.norm import Norm


class SeparableConv(nn.Module):
  """A convolution of each channel by itself, then a 1x1 convolution across channels.

  Shapes: (b, *space, in) -> (b, *space', features), as `Conv` with the same options. Without bias
  it has kernel voxels x in x multiplier + in x multiplier x features parameters, 1 / features +
  1 / kernel voxels of `Conv`'s (with multiplier 1).

  Attributes:
    features, kernel, stride, dilation, padding, use_bias, dtype, kernel_init: as `Conv`'s; the
      depthwise convolution takes the spatial ones, the pointwise one the initialiser.
    multiplier: depthwise outputs per input channel.
    norm, norm_groups, activation: between the two convolutions; none by default. The depthwise
      convolution has a bias only where an activation without a norm follows: otherwise the norm
      or the pointwise bias takes its place.

  Source: Chollet, "Xception", arXiv 1610.02357; MobileNets, arXiv 1704.04861.
  """

  features: int
  kernel: int | Sequence[int] = 3
  stride: int | Sequence[int] = 1
  dilation: int | Sequence[int] = 1
  padding: str = "same"
  use_bias: bool = True
  dtype: Any = None
  kernel_init: Callable = he_normal()
  multiplier: int = 1
  norm: str = "none"
  norm_groups: int = 8
  activation: str | None = None

  @nn.compact
  def __call__(self, x):
    channels = x.shape[-1]
    between = channels * self.multiplier
    x = Conv(
      between,
      self.kernel,
      self.stride,
      self.dilation,
      groups=channels,
      padding=self.padding,
      use_bias=self.use_bias and self.norm == "none" and self.activation is not None,
      dtype=self.dtype,
      kernel_init=he_normal(slope=1.0 if self.activation is None else 0.0),
      name="depthwise",
    )(x)
    groups = math.gcd(self.norm_groups, between)
    x = Norm(self.norm, groups, dtype=self.dtype, name="norm")(x)
    if self.activation is not None:
      x = Activation(self.activation, name="activation")(x)
    options = {"use_bias": self.use_bias, "dtype": self.dtype, "kernel_init": self.kernel_init}
    return Conv(self.features, 1, name="pointwise", **options)(x)
