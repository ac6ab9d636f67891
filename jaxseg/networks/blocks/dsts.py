"""Depthwise and spatio-temporal separate (DSTS) convolution."""

from collections.abc import Callable, Sequence
from typing import Any

from flax import linen as nn

from jaxseg.networks.blocks.conv import Conv
from jaxseg.networks.blocks.initializers import he_normal
from jaxseg.networks.blocks.options import need_rank, per_axis


class DSTS(nn.Module):
  """A 3D convolution in three factors: depthwise 1x3x3 in the plane, depthwise 3x1x1, pointwise.

  Shapes: (b, z, y, x, in) -> (b, z', y', x', features), as `Conv`'s, of which it takes the
  attributes but `groups`. The first spatial axis, z, is the "temporal" one. 64 to 64 channels:
  9 x 64 + 3 x 64 + 64^2 = 4,864 weights, where a dense convolution has 110,592. A factor whose
  kernel and stride are 1 would only scale, and is left out. The bias is the pointwise factor's.

  Raises ValueError for inputs that aren't volumes: depthwise separable convolutions of images have
  no z to separate.
  Source: Zhang et al., "Light-Weight Hybrid Convolutional Network for Liver Tumor Segmentation",
  IJCAI 2019, doi 10.24963/ijcai.2019/593 (not on arXiv); the order of the factors is a reading of
  it (the code is not public).
  """

  features: int
  kernel: int | Sequence[int] = 3
  stride: int | Sequence[int] = 1
  dilation: int | Sequence[int] = 1
  padding: str = "same"
  use_bias: bool = True
  dtype: Any = None
  kernel_init: Callable = he_normal()

  @nn.compact
  def __call__(self, x):
    need_rank(x.ndim - 2, (3,), "conv 'dsts'")
    kernel = per_axis(self.kernel, 3, "kernel")
    stride = per_axis(self.stride, 3, "stride")
    dilation = per_axis(self.dilation, 3, "dilation")
    for name, axes in (("spatial", (0, 1, 1)), ("temporal", (1, 0, 0))):
      size, step = ([n if a else 1 for n, a in zip(o, axes, strict=True)] for o in (kernel, stride))
      if max(*size, *step) > 1:
        x = Conv(
          x.shape[-1],
          size,
          step,
          [n if a else 1 for n, a in zip(dilation, axes, strict=True)],
          groups=x.shape[-1],
          padding=self.padding,
          use_bias=False,
          dtype=self.dtype,
          # no activation follows: the variance is kept, not doubled
          kernel_init=he_normal(slope=1.0),
          name=name,
        )(x)
    return Conv(
      self.features,
      1,
      use_bias=self.use_bias,
      dtype=self.dtype,
      kernel_init=self.kernel_init,
      name="pointwise",
    )(x)
