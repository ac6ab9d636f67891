"""The recurrent residual block of R2U-Net."""

from collections.abc import Mapping, Sequence
from typing import Any

from flax import linen as nn

from jaxseg.networks.blocks.conv import Conv
from jaxseg.networks.blocks.stage import ConvNormAct, Dropout


def recur(layer: nn.Module, x, steps: int):
  """Recurrent convolutional layer: o_0 = f(x), o_k = f(x + o_(k-1)); gives o_steps.

  `layer` is one module instance, so that all applications share its parameters. Each has running
  batch statistics of its own, unlike in the public code: a network that was evaluated with one
  average over all steps segmented next to nothing.
  """
  out = layer(x)
  for step in range(steps):
    out = layer(x + out, use=step + 1)
  return out


class RecurrentBlock(nn.Module):
  """R2U-Net's RRCNN block: 1x1 convolution to the width, recurrent layers, residual addition.

  Shapes: (b, *space, in) -> (b, *ceil(space / stride), features). A recurrent layer is convolution,
  norm, activation, applied t + 1 times with the same weights. The 1x1 convolution has a bias.

  Attributes:
    t: recurrent steps; 0 is an ordinary layer.
    depth: number of recurrent layers; the paper has two.
    stride: of the 1x1 convolution.
    residual: adds the 1x1 convolution's output; on in `r2unet`, `unet`'s option elsewhere.
    features, kernel, norm, norm_groups, activation, dropout, spatial_dropout, use_bias, conv,
    dtype: as `Stage`'s.

  Raises ValueError if t is negative. Source: Alom et al., arXiv 1802.06955.
  """

  features: int
  t: int = 2
  depth: int = 2
  kernel: int | Sequence[int] = 3
  stride: int | Sequence[int] = 1
  residual: bool = True
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu"
  dropout: float = 0.0
  spatial_dropout: bool = False
  use_bias: bool = True
  conv: str | Mapping[str, Any] = "plain"
  dtype: Any = None

  def __post_init__(self):
    if self.t < 0:
      raise ValueError(f"recurrent block: t={self.t} recurrent steps; expected 0 or more.")
    super().__post_init__()

  @nn.compact
  def __call__(self, x):
    x = inputs = Conv(self.features, 1, self.stride, dtype=self.dtype, name="width")(x)
    for i in range(self.depth):
      layer = ConvNormAct(
        self.features,
        self.kernel,
        norm=self.norm,
        norm_groups=self.norm_groups,
        activation=self.activation,
        use_bias=self.use_bias,
        conv=self.conv,
        dtype=self.dtype,
        name=f"recurrent{i + 1}",
      )
      x = recur(layer, x, self.t)
    if self.residual:
      x += inputs
    if self.dropout:
      x = Dropout(self.dropout, self.spatial_dropout, name="dropout")(x)
    return x
