"""Dense block: every layer sees the features of all layers before it; alone or as a stage."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks.activation import Activation
from jaxseg.networks.blocks.conv import Conv
from jaxseg.networks.blocks.norm import Norm
from jaxseg.networks.blocks.stage import ConvNormAct, Dropout


class Scale(nn.Module):
  """A factor and an offset per channel, (b, *space, c) -> the same.

  Caffe's DenseNets have it after each norm. A norm here has both of its own, so that it adds
  nothing but parameters.
  """

  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    dtype, row = self.dtype or x.dtype, (1,) * (x.ndim - 1) + (-1,)
    scale = self.param("scale", nn.initializers.ones, x.shape[-1:], jnp.float32)
    bias = self.param("bias", nn.initializers.zeros, x.shape[-1:], jnp.float32)
    return x * scale.astype(dtype).reshape(row) + bias.astype(dtype).reshape(row)


class DenseLayer(nn.Module):
  """One layer of a dense block: its new features only, (b, *space, in) -> (b, *space, growth).

  Norm, activation, convolution; with a `bottleneck` a 1x1 of these to `bottleneck * growth`
  channels comes first (names norm1, conv1, then norm2, conv2, as torchvision's). Dropout, if any,
  ends the layer. Source: Huang et al., "Densely connected convolutional networks", arXiv
  1608.06993.

  Attributes:
    growth: new features.
    bottleneck: width of the 1x1 convolution in growths, None for no such convolution.
    kernel: of the last convolution, one integer or one per axis.
    use_bias: biases of the convolutions.
    norm, norm_groups, epsilon: the kind, the groups of "group", what is added to the variance.
    dropout, spatial_dropout: rate; drops whole channels.
    scale_layers: a `Scale` after every norm.
    dilation: of the last convolution, one integer or one per axis.
  """

  growth: int
  bottleneck: int | None = 4
  kernel: int | Sequence[int] = 3
  use_bias: bool = False
  norm: str = "batch"
  norm_groups: int = 8
  epsilon: float = 1e-5
  activation: str = "relu"
  dropout: float = 0.0
  spatial_dropout: bool = False
  dtype: Any = None
  scale_layers: bool = False
  dilation: int | Sequence[int] = 1

  @nn.compact
  def __call__(self, x):
    convolutions = [(self.growth, self.kernel, self.dilation)]
    if self.bottleneck is not None:
      convolutions.insert(0, (self.bottleneck * self.growth, 1, 1))
    for i, (features, kernel, dilation) in enumerate(convolutions, start=1):
      norm = {"epsilon": self.epsilon, "dtype": self.dtype, "name": f"norm{i}"}
      x = Norm(self.norm, self.norm_groups, **norm)(x)
      if self.scale_layers:
        x = Scale(self.dtype, name=f"scale{i}")(x)
      x = Activation(self.activation, name=f"activation{i}")(x)
      conv = {"use_bias": self.use_bias, "dtype": self.dtype, "name": f"conv{i}"}
      x = Conv(features, kernel, dilation=dilation, **conv)(x)
    return Dropout(self.dropout, self.spatial_dropout, name="dropout")(x) if self.dropout else x


class DenseBlock(nn.Module):
  """Dense layers, each on the concatenation of the input and all new features so far.

  Shapes: (b, *space, in) -> (b, *space, in + layers * growth), or without `keep_input` the new
  features alone, (b, *space, layers * growth).

  Attributes:
    layers: how many.
    layer: the attributes of each `DenseLayer`; its `growth` must be among them.
    keep_input: the output starts with the input.
  """

  layers: int
  layer: Mapping[str, Any]
  keep_input: bool = True

  @nn.compact
  def __call__(self, x):
    features = [x]
    for i in range(self.layers):
      layer = DenseLayer(**self.layer, name=f"denselayer{i + 1}")
      features.append(layer(jnp.concatenate(features, -1)))
    return jnp.concatenate(features if self.keep_input else features[1:], -1)


class DenseStage(nn.Module):
  """A stage made of a dense block: `depth` dense layers, then a 1x1 convolution to `features`.

  Shapes: (b, *space, in) -> (b, *ceil(space / stride), features). The 1x1 convolution, with norm
  and activation, sees the input and all depth x growth new features. A stride is taken by a
  convolution of `features` before the block.

  Attributes:
    growth: new features per layer, None for half of `features`.
    bottleneck: width of a layer's 1x1 convolution in growths, None for no such convolution.
    features, depth, kernel, stride, norm, norm_groups, activation, use_bias, dropout,
    spatial_dropout, dtype: as `Stage`'s; the dropout ends every dense layer.

  Source: the dense sub-blocks of Wang et al., arXiv 2009.13120, section on dense connections; the
  layers: Huang et al., arXiv 1608.06993.
  """

  features: int
  depth: int = 2
  kernel: int | Sequence[int] = 3
  stride: int | Sequence[int] = 1
  growth: int | None = None
  bottleneck: int | None = None
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu"
  use_bias: bool = False
  dropout: float = 0.0
  spatial_dropout: bool = False
  dtype: Any = None

  def __post_init__(self):
    if self.depth < 1 or (self.growth is not None and self.growth < 1):
      raise ValueError(
        f"block 'dense': depth={self.depth}, growth={self.growth}; expected 1 or more of each."
      )
    super().__post_init__()

  @nn.compact
  def __call__(self, x):
    growth = max(1, self.features // 2) if self.growth is None else self.growth
    options = {
      "norm": self.norm,
      "norm_groups": self.norm_groups,
      "activation": self.activation,
      "use_bias": self.use_bias,
      "dtype": self.dtype,
    }
    strides = self.stride if isinstance(self.stride, Sequence) else (self.stride,)
    if max(strides) > 1:
      x = ConvNormAct(self.features, self.kernel, self.stride, name="down", **options)(x)
    layer = {
      "growth": growth,
      "bottleneck": self.bottleneck,
      "kernel": self.kernel,
      "dropout": self.dropout,
      "spatial_dropout": self.spatial_dropout,
      **options,
    }
    x = DenseBlock(self.depth, layer, name="dense")(x)
    return ConvNormAct(self.features, 1, name="transition", **options)(x)
