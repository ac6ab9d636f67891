"""MultiResUNet's two parts: the MultiRes block and the ResPath."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks.activation import Activation
from jaxseg.networks.blocks.norm import Norm
from jaxseg.networks.blocks.stage import ConvNormAct, Dropout


def multires_widths(features: int, alpha: float = 1.67) -> tuple[int, int, int]:
  """Filters of the three chained convolutions: a sixth, a third and half of alpha x features.

  Rounded down, as published: 32 gives (8, 17, 26). Raises ValueError if one of them is 0.
  """
  widths = tuple(int(features * alpha * share) for share in (0.167, 0.333, 0.5))
  if not all(widths):
    raise ValueError(
      f"multires: features={features} and alpha={alpha} leave a convolution without filters "
      f"{widths}; take more features."
    )
  return widths


class MultiRes(nn.Module):
  """MultiRes block: three chained 3x3 convolutions see 3x3, 5x5 and 7x7, all three are kept.

      x -> conv 3x3 -> conv 3x3 -> conv 3x3
              |           |           |
              +--- concatenation, norm ---> + 1x1 convolution of x, norm -> norm, activation

  Shapes: (b, *space, in) -> (b, *ceil(space / stride), out), where out is not `features` but the
  sum of `multires_widths(features, alpha)`: 51 for the 32 filters of a U-Net's stage.

  Attributes:
    features, alpha: see `multires_widths`.
    stride: of the first convolution and of the 1x1.
    use_bias: of all four convolutions.
    kernel, norm, norm_groups, activation, dropout, spatial_dropout, conv, dtype: as `Stage`'s; the
      1x1 convolution is always a plain one.

  Raises ValueError for fewer features than the three convolutions need.
  Source: Ibtehaz, Rahman, "MultiResUNet", arXiv 1902.04049, in the order of its PyTorch code.
  """

  features: int
  alpha: float = 1.67
  kernel: int | Sequence[int] = 3
  stride: int | Sequence[int] = 1
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu"
  dropout: float = 0.0
  spatial_dropout: bool = False
  use_bias: bool = False
  conv: str | Mapping[str, Any] = "plain"
  dtype: Any = None

  def __post_init__(self):
    multires_widths(self.features, self.alpha)  # its own check, before anything is traced
    super().__post_init__()

  @nn.compact
  def __call__(self, x):
    norm = {"norm": self.norm, "norm_groups": self.norm_groups}
    layer = {**norm, "use_bias": self.use_bias, "dtype": self.dtype}
    widths = multires_widths(self.features, self.alpha)
    shortcut = ConvNormAct(sum(widths), 1, self.stride, activation=None, name="shortcut", **layer)(
      x
    )

    seen = []
    for i, width in enumerate(widths):
      x = ConvNormAct(
        width,
        self.kernel,
        self.stride if i == 0 else 1,
        activation=self.activation,
        conv=self.conv,
        name=f"layer{i + 1}",
        **layer,
      )(x)
      seen.append(x)
    x = jnp.concatenate(seen, -1)
    x = Norm(self.norm, self.norm_groups, dtype=self.dtype, name="norm")(x)
    x = Norm(self.norm, self.norm_groups, dtype=self.dtype, name="sum_norm")(x + shortcut)
    x = Activation(self.activation, name="activation")(x)
    if self.dropout:
      x = Dropout(self.dropout, self.spatial_dropout, name="dropout")(x)
    return x


class ResPath(nn.Module):
  """A skip whose encoder features pass `length` residual 3x3 convolutions, then concatenation.

  Each: activation(norm(activation(norm(conv 3x3)) + norm(conv 1x1))).
  Shapes: the encoder's (b, *space, c) and the decoder's (b, *space, c') -> (b, *space,
  features + c').

  Attributes:
    features: those of the corresponding U-Net, as published; None keeps c, as later versions of the
      public code do.
    length: number of residual convolutions.
    kernel: of the 3x3 convolutions.
    reuse_norm: applies the norm of the sum also to the 3x3 convolution's features before the sum,
      as the published PyTorch code does: two different distributions then share one set of running
      statistics, so it is off by default. The parameters are the same.
    norm, norm_groups, activation, use_bias, dtype: as `Stage`'s.

  Source: Ibtehaz, Rahman, "MultiResUNet", arXiv 1902.04049.
  """

  features: int | None
  length: int = 4
  kernel: int | Sequence[int] = 3
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu"
  use_bias: bool = False
  reuse_norm: bool = False
  dtype: Any = None

  @nn.compact
  def __call__(self, skip, up, coarse):
    x, features = skip, self.features or skip.shape[-1]
    layer = {"norm": self.norm, "norm_groups": self.norm_groups}
    layer |= {"use_bias": self.use_bias, "dtype": self.dtype}
    activate = Activation(self.activation, name="activation")
    for i in range(self.length):
      norm = Norm(self.norm, self.norm_groups, dtype=self.dtype, name=f"sum_norm{i + 1}")
      shortcut = ConvNormAct(features, 1, activation=None, name=f"shortcut{i + 1}", **layer)(x)
      x = ConvNormAct(
        features, self.kernel, activation=self.activation, name=f"layer{i + 1}", **layer
      )(x)
      if self.reuse_norm:
        x = activate(norm(x))
      x = activate(norm(x + shortcut))
    return jnp.concatenate([x, up], -1), None
