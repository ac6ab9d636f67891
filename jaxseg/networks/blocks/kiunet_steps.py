"""KiU-Net's parts: the steps of its branches, and the block by which the branches exchange."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks.activation import Activation
from jaxseg.networks.blocks.conv import Conv
from jaxseg.networks.blocks.norm import Norm
from jaxseg.networks.blocks.options import choice
from jaxseg.networks.blocks.resample import linear_up, max_pool
from jaxseg.networks.blocks.resize import resize
from jaxseg.networks.blocks.stage import ConvNormAct

STEPS = ("plain", "residual", "dense")
LAYERS = 4  # of a dense step


class Step(nn.Module):
  """Convolution, then pooling or interpolation, then norm and activation.

  `block` is what the convolution is: "plain", "residual" with a 1x1 convolution added to it, or
  "dense" with a `DenseResidual` after it.
  Shapes: (b, *space, in) -> (b, *(space / stride), features), or `space * stride` with `up`.
  """

  features: int
  up: bool
  kernel: int | Sequence[int] = 3
  stride: int | Sequence[int] = 2
  block: str = "plain"
  norm: str = "batch"
  norm_groups: int = 8
  activation: str | None = "relu"
  use_bias: bool = True
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    choice(self.block, STEPS, "kiunet: block")
    options = {"use_bias": self.use_bias, "dtype": self.dtype}
    y = Conv(self.features, self.kernel, name="conv", **options)(x)
    if self.block == "residual":
      y += Conv(self.features, 1, name="shortcut", **options)(x)
    elif self.block == "dense":
      norm = {"norm": self.norm, "norm_groups": self.norm_groups, "activation": self.activation}
      y = DenseResidual(self.kernel, name="dense", **norm, **options)(y)
    y = (linear_up if self.up else max_pool)(y, stride=self.stride)
    y = Norm(self.norm, self.norm_groups, dtype=self.dtype, name="norm")(y)
    return y if self.activation is None else Activation(self.activation, name="activation")(y)


class DenseResidual(nn.Module):
  """Four dense layers of a quarter of the features each; together they are added to the input.

  A layer is a 1x1 convolution of the input and all new features so far to c channels, norm,
  activation, a convolution to c / 4, norm, activation. All layers share the two norms, as in the
  public code (where they mix in the running statistics; here each layer has its own of these).
  Shapes: (b, *space, c) -> the same; 4 divides c.
  """

  kernel: int | Sequence[int] = 3
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu"
  use_bias: bool = True
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    channels = x.shape[-1]
    norms, activations = [], []
    for part in ("wide", "new"):
      norm = {"dtype": self.dtype, "name": f"{part}_norm"}
      norms.append(Norm(self.norm, self.norm_groups, **norm))
      activations.append(Activation(self.activation, name=f"{part}_activation"))
    options = {"use_bias": self.use_bias, "dtype": self.dtype}
    features = [x]
    for i in range(LAYERS):
      y = Conv(channels, 1, name=f"wide{i + 1}", **options)(jnp.concatenate(features, -1))
      y = activations[0](norms[0](y, i))
      y = Conv(channels // LAYERS, self.kernel, name=f"new{i + 1}", **options)(y)
      features.append(activations[1](norms[1](y, i)))
    return x + jnp.concatenate(features[1:], -1)


class CRFB(nn.Module):
  """Cross residual feature block: two branches add what they see of each other.

  Shapes: u (b, *space, c), ki (b, *(space * ratio), c') -> the same two. Both residuals are taken
  from before the exchange.
  """

  ratio: int | Sequence[int]
  kernel: int | Sequence[int] = 3
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu"
  dtype: Any = None

  @nn.compact
  def __call__(self, u, ki):
    layer = {"norm": self.norm, "norm_groups": self.norm_groups, "activation": self.activation}
    layer |= {"kernel": self.kernel, "use_bias": True, "dtype": self.dtype}
    to_u = ConvNormAct(u.shape[-1], name="ki_to_u", **layer)(ki)
    to_ki = ConvNormAct(ki.shape[-1], name="u_to_ki", **layer)(u)
    return u + resize(to_u, u.shape[1:-1]), ki + linear_up(to_ki, stride=self.ratio)
