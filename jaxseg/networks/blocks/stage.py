"""The stage that encoder and decoder share: convolutions, each with norm and activation."""

from collections.abc import Mapping, Sequence
from typing import Any

from flax import linen as nn

from jaxseg.build import bind
from jaxseg.networks.blocks.activation import Activation
from jaxseg.networks.blocks.conv import Conv
from jaxseg.networks.blocks.dsts import DSTS
from jaxseg.networks.blocks.initializers import he_normal
from jaxseg.networks.blocks.norm import Norm
from jaxseg.networks.blocks.options import named
from jaxseg.networks.blocks.regularisers import DropBlock, StochasticDepth
from jaxseg.networks.blocks.separable import SeparableConv

# convolutions by name; each has `Conv`'s first attributes and may have more
CONVS = {"plain": Conv, "separable": SeparableConv, "dsts": DSTS}


class ConvNormAct(nn.Module):
  """Convolution, normalisation, activation: (b, *space, in) -> (b, *space', features).

  `use` counts the applications of one and the same layer, see `Norm`.
  """

  features: int
  kernel: int | Sequence[int] = 3
  stride: int | Sequence[int] = 1
  norm: str = "batch"
  norm_groups: int = 8
  affine: bool = True
  activation: str | None = "relu"
  use_bias: bool = False
  conv: str | Mapping[str, Any] = "plain"
  dtype: Any = None

  @nn.compact
  def __call__(self, x, use: int = 0):
    slope = 0.01 if self.activation == "leaky_relu" else 0.0
    spec = named(self.conv)
    conv = bind(CONVS, spec, "network.conv", dtype=self.dtype, kernel_init=he_normal(slope))
    x = conv(self.features, self.kernel, self.stride, use_bias=self.use_bias, name="conv")(x)
    norm = {"affine": self.affine, "dtype": self.dtype}
    x = Norm(self.norm, self.norm_groups, name="norm", **norm)(x, use)
    return x if self.activation is None else Activation(self.activation, name="activation")(x)


class Dropout(nn.Module):
  """Dropout, on exactly if the caller gives a "dropout" key; `spatial` drops whole channels."""

  rate: float
  spatial: bool = False

  @nn.compact
  def __call__(self, x):
    broadcast = tuple(range(1, x.ndim - 1)) if self.spatial else ()
    off = not self.has_rng("dropout")
    return nn.Dropout(self.rate, broadcast_dims=broadcast, deterministic=off)(x)


class Stage(nn.Module):
  """`depth` times convolution, norm, activation; the first takes the stride.

  Shapes: (b, *space, in) -> (b, *ceil(space / stride), features).

  Attributes:
    features, depth: channels; number of convolutions.
    kernel, stride: of a convolution, one integer or one per axis.
    residual: adds a 1x1 convolution (with bias) of the input and activates the sum; the last layer
      then has no activation of its own (unless it is the only one).
    norm, norm_groups: a name of `NORMS`; groups of "group".
    affine: the norms learn a scale and a bias per channel.
    activation: a name of `ACTIVATIONS`.
    dropout: rate of dropout at the end of the stage, none if 0.
    spatial_dropout: it drops whole channels instead of voxels.
    drop_block, drop_block_ramp: it drops cubes instead: `block` and `ramp` of `DropBlock`.
    stochastic_depth: rate at which a sample's convolutions are dropped, so that only the shortcut
      is left; needs `residual`.
    use_bias: of the convolutions.
    conv: what they are, a name of `CONVS` or a dict with its options.
    dtype: compute dtype, None for the input's.

  Raises ValueError for stochastic depth without a shortcut.
  """

  features: int
  depth: int = 2
  kernel: int | Sequence[int] = 3
  stride: int | Sequence[int] = 1
  residual: bool = False
  norm: str = "batch"
  norm_groups: int = 8
  affine: bool = True
  activation: str = "relu"
  dropout: float = 0.0
  spatial_dropout: bool = False
  drop_block: int | Sequence[int] = 0
  drop_block_ramp: int = 0
  stochastic_depth: float = 0.0
  use_bias: bool = False
  conv: str | Mapping[str, Any] = "plain"
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    if self.stochastic_depth and not self.residual:
      raise ValueError(
        f"stochastic_depth={self.stochastic_depth} drops residual branches; set residual=True."
      )
    inputs = x
    for i in range(self.depth):
      bare = self.residual and i == self.depth - 1 and self.depth > 1
      x = ConvNormAct(
        self.features,
        self.kernel,
        self.stride if i == 0 else 1,
        norm=self.norm,
        norm_groups=self.norm_groups,
        affine=self.affine,
        activation=None if bare else self.activation,
        use_bias=self.use_bias,
        conv=self.conv,
        dtype=self.dtype,
        name=f"layer{i + 1}",
      )(x)
    if self.residual:
      shortcut = Conv(self.features, 1, self.stride, dtype=self.dtype, name="shortcut")
      x = StochasticDepth(self.stochastic_depth, name="stochastic_depth")(x)
      x = Activation(self.activation, name="activation")(x + shortcut(inputs))
    if self.dropout and self.drop_block:
      x = DropBlock(self.dropout, self.drop_block, self.drop_block_ramp, name="dropout")(x)
    elif self.dropout:
      x = Dropout(self.dropout, self.spatial_dropout, name="dropout")(x)
    return x
