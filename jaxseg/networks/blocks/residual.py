"""Residual blocks of He et al. with the shortcut of ResNet or of ResNet-D, and stages of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks.activation import Activation
from jaxseg.networks.blocks.conv import Conv
from jaxseg.networks.blocks.norm import Norm
from jaxseg.networks.blocks.options import choice, per_axis
from jaxseg.networks.blocks.padding import pad_to_multiple
from jaxseg.networks.blocks.regularisers import DropBlock, StochasticDepth
from jaxseg.networks.blocks.resample import UpConv
from jaxseg.networks.blocks.stage import ConvNormAct, Dropout
from jaxseg.networks.blocks.windows import windows


class ResidualBlock(nn.Module):
  """act(norm(conv(...)) + shortcut(x)): (b, *space, in) -> (b, *ceil(space / stride), features).

  Attributes:
    kind: "basic", two convolutions of `kernel`, the first with the stride; or "bottleneck", 1x1 to
      features / 4 channels, `kernel` with the stride, 1x1 to `features`.
    shortcut: "pool" averages over the stride and has a 1x1 convolution and norm only where the
      channels change (ResNet-D); "conv" has a strided 1x1 convolution and norm wherever channels
      or size change (ResNet); "before" averages over the stride too, and a 1x1 convolution with
      bias, where the channels change, comes before both ways. Without a change the shortcut is the
      identity.
    norm_first: the norms of the branch come before their convolutions instead of after them.
    affine: the norms learn a scale and a bias per channel.
    zero_init: the last norm's scale starts at zero, so that the block starts as its shortcut.
    stochastic_depth: rate at which a sample's convolutions are dropped.
    features, kernel, stride, norm, norm_groups, activation, use_bias, conv, dtype: as `Stage`'s;
      the shortcut's convolution has a bias with "before" alone.

  With `kind="basic"`, `norm="instance"`, `activation="leaky_relu"` nnU-Net's `BasicBlockD`, and at
  stride 1, without `affine` and `zero_init`, MONAI's `UnetResBlock`.
  Raises ValueError for unknown names, and for a bottleneck whose features 4 does not divide.
  Source: He et al., arXiv 1512.03385; ResNet-D: He et al., arXiv 1812.01187.
  """

  features: int
  kernel: int | Sequence[int] = 3
  stride: int | Sequence[int] = 1
  kind: str = "basic"
  shortcut: str = "pool"
  norm: str = "batch"
  norm_groups: int = 8
  norm_first: bool = False
  activation: str = "relu"
  use_bias: bool = False
  affine: bool = True
  zero_init: bool = True
  stochastic_depth: float = 0.0
  conv: str | Mapping[str, Any] = "plain"
  dtype: Any = None

  def __post_init__(self):
    choice(self.kind, ("basic", "bottleneck"), "residual block: kind")
    choice(self.shortcut, ("pool", "conv", "before"), "residual block: shortcut")
    if self.kind == "bottleneck" and self.features % 4:
      raise ValueError(
        f"residual block: features={self.features} of kind='bottleneck'; expected a multiple of 4."
      )
    super().__post_init__()

  @nn.compact
  def __call__(self, x):
    stride = per_axis(self.stride, x.ndim - 2, "stride")
    if self.shortcut == "before" and x.shape[-1] != self.features:
      x = Conv(self.features, 1, dtype=self.dtype, name="shortcut")(x)
    y = x
    if self.kind == "basic":
      layers = [(self.features, self.kernel, stride), (self.features, self.kernel, 1)]
    else:
      inner = self.features // 4
      layers = [(inner, 1, 1), (inner, self.kernel, stride), (self.features, 1, 1)]
    for i, (features, kernel, step) in enumerate(layers, start=1):
      last = i == len(layers)
      options = {"use_bias": self.use_bias, "conv": self.conv, "dtype": self.dtype}
      conv = ConvNormAct(
        features, kernel, step, norm="none", activation=None, name=f"layer{i}", **options
      )
      norm = self._norm(f"norm{i}", zero=last and self.zero_init)
      y = conv(norm(y)) if self.norm_first else norm(conv(y))
      if not last:
        y = Activation(self.activation, name=f"activation{i}")(y)
    y = StochasticDepth(self.stochastic_depth, name="stochastic_depth")(y)
    return Activation(self.activation, name="activation")(y + self._shortcut(x, stride))

  def _shortcut(self, x, stride):
    smaller, wider = any(s > 1 for s in stride), x.shape[-1] != self.features
    if smaller and self.shortcut != "conv":
      x = jnp.mean(windows(pad_to_multiple(x, stride), stride), -2)
      stride, smaller = 1, False
    if smaller or wider:
      conv = Conv(self.features, 1, stride, use_bias=False, dtype=self.dtype, name="shortcut")
      x = self._norm("shortcut_norm")(conv(x))
    return x

  def _norm(self, name, *, zero=False):
    scale = nn.initializers.zeros if zero else nn.initializers.ones
    options = {"affine": self.affine, "scale_init": scale, "dtype": self.dtype}
    return Norm(self.norm, self.norm_groups, name=name, **options)


class ResidualBlocks(nn.Module):
  """A stage of `depth` residual blocks, the first with the stride; dropout, if any, ends it.

  Shapes: (b, *space, in) -> (b, *ceil(space / stride), features).

  Attributes:
    depth: number of blocks.
    features, kernel, kind, shortcut, norm_first, affine, zero_init: as `ResidualBlock`'s.
    stride, norm, norm_groups, activation, dropout, spatial_dropout, drop_block, drop_block_ramp,
    stochastic_depth, use_bias, conv, dtype: as `Stage`'s; each block drops its own branch.

  Raises ValueError, and has its source, as `ResidualBlock`: arXiv 1512.03385, arXiv 1812.01187.
  """

  features: int
  depth: int = 2
  kernel: int | Sequence[int] = 3
  stride: int | Sequence[int] = 1
  kind: str = "basic"
  shortcut: str = "pool"
  norm: str = "batch"
  norm_groups: int = 8
  norm_first: bool = False
  activation: str = "relu"
  dropout: float = 0.0
  spatial_dropout: bool = False
  drop_block: int | Sequence[int] = 0
  drop_block_ramp: int = 0
  use_bias: bool = False
  affine: bool = True
  zero_init: bool = True
  stochastic_depth: float = 0.0
  conv: str | Mapping[str, Any] = "plain"
  dtype: Any = None

  def __post_init__(self):
    # its own check, before anything is traced
    ResidualBlock(self.features, kind=self.kind, shortcut=self.shortcut, parent=None)
    super().__post_init__()

  @nn.compact
  def __call__(self, x):
    for i in range(self.depth):
      x = ResidualBlock(
        self.features,
        self.kernel,
        self.stride if i == 0 else 1,
        kind=self.kind,
        shortcut=self.shortcut,
        norm=self.norm,
        norm_groups=self.norm_groups,
        norm_first=self.norm_first,
        activation=self.activation,
        use_bias=self.use_bias,
        affine=self.affine,
        zero_init=self.zero_init,
        stochastic_depth=self.stochastic_depth,
        conv=self.conv,
        dtype=self.dtype,
        name=f"block{i + 1}",
      )(x)
    if self.dropout and self.drop_block:
      x = DropBlock(self.dropout, self.drop_block, self.drop_block_ramp, name="dropout")(x)
    elif self.dropout:
      x = Dropout(self.dropout, self.spatial_dropout, name="dropout")(x)
    return x


def unetr_block(features: int, norm: str, dtype: Any, name: str) -> ResidualBlock:
  """The residual block of UNETR and Swin UNETR: leaky ReLU, norms that learn nothing."""
  options = {"norm": norm, "activation": "leaky_relu", "affine": False, "zero_init": False}
  return ResidualBlock(features, dtype=dtype, name=name, **options)


class ResidualUp(nn.Module):
  """A decoder stage: up-convolution, [up-sampled, skip], residual block; of UNETR and Swin UNETR.

  Shapes: (b, *coarse, c), skip (b, *space, c') -> (b, *space, features), where space is coarse
  times the stride.
  """

  features: int
  stride: int | Sequence[int] = 2
  norm: str = "instance"
  dtype: Any = None

  @nn.compact
  def __call__(self, x, skip):
    up = UpConv(self.features, self.stride, use_bias=False, dtype=self.dtype, name="up")
    x = jnp.concatenate([up(x), skip], -1)
    return unetr_block(self.features, self.norm, self.dtype, name="block")(x)
