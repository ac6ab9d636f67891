"""Pseudo-3D blocks: a 3D convolution as one in the plane and one across it."""

from collections.abc import Sequence
from typing import Any

from flax import linen as nn

from jaxseg.networks.blocks.activation import Activation
from jaxseg.networks.blocks.conv import Conv
from jaxseg.networks.blocks.options import choice, need_rank, per_axis
from jaxseg.networks.blocks.stage import ConvNormAct, Dropout


class P3D(nn.Module):
  """A stage whose 3x3x3 convolutions are replaced by S (1x3x3) and T (3x1x1), as P3D ResNet's.

  - kind "A": T(S(x)), serial;
  - kind "B": S(x) + T(x), parallel;
  - kind "C": S(x) + T(S(x)), serial with a shortcut.

  Shapes: (b, z, y, x, in) -> (b, *ceil(space / stride), features). S and T are each followed by
  norm and activation; z is the axis of T. 64 to 64 channels: 49,152 weights against 110,592.

  Attributes:
    kind: "A", "B" or "C", all of them in one network being `P3D ResNet`'s choice.
    residual: adds a 1x1x1 convolution of the input (with bias) and activates the sum; the last T
      then has no activation of its own.
    features, depth, kernel, stride, norm, norm_groups, activation, dropout, spatial_dropout,
    use_bias, dtype: as `Stage`'s.

  Raises ValueError for another kind or for inputs that aren't volumes.
  Source: Qiu, Yao, Mei, arXiv 1711.10305.
  """

  features: int
  depth: int = 2
  kernel: int | Sequence[int] = 3
  stride: int | Sequence[int] = 1
  kind: str = "A"
  residual: bool = False
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu"
  dropout: float = 0.0
  spatial_dropout: bool = False
  use_bias: bool = False
  dtype: Any = None

  def __post_init__(self):
    choice(self.kind, ("A", "B", "C"), "p3d: kind")
    super().__post_init__()

  @nn.compact
  def __call__(self, x):
    need_rank(x.ndim - 2, (3,), "block 'p3d'")
    inputs = x
    for i in range(self.depth):
      last = None if self.residual and i == self.depth - 1 else self.activation
      x = self._pair(x, i + 1, per_axis(self.stride if i == 0 else 1, 3, "stride"), last)
    if self.residual:
      shortcut = Conv(self.features, 1, self.stride, dtype=self.dtype, name="shortcut")
      x = Activation(self.activation, name="activation")(x + shortcut(inputs))
    if self.dropout:
      x = Dropout(self.dropout, self.spatial_dropout, name="dropout")(x)
    return x

  def _pair(self, x, number, stride, last):
    depth, *plane = per_axis(self.kernel, 3, "kernel")

    def layer(name, kernel, stride, activation):
      return ConvNormAct(
        self.features,
        kernel,
        stride,
        norm=self.norm,
        norm_groups=self.norm_groups,
        activation=activation,
        use_bias=self.use_bias,
        dtype=self.dtype,
        name=f"{name}{number}",
      )

    # serial, each factor takes the stride of its own axes; what is summed must have it all
    across, within = ((stride[0], 1, 1), (1, *stride[1:])) if self.kind == "A" else (1, stride)
    spatial = layer("spatial", (1, *plane), within, self.activation)(x)
    if self.kind == "B":
      return spatial + layer("temporal", (depth, 1, 1), stride, last)(x)
    temporal = layer("temporal", (depth, 1, 1), across, last)(spatial)
    return temporal if self.kind == "A" else spatial + temporal
