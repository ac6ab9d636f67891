"""EfficientNet-Lite 0, 1 and 2 as a feature pyramid."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import Activation, Conv, Norm, choice
from jaxseg.networks.encoders.dilation import dilated
from jaxseg.networks.encoders.inputs import IMAGENET, LITE, Colours, standardised


class _Stage(NamedTuple):
  """Of the smallest network: blocks, kernel, stride, expansion, features."""

  blocks: int
  kernel: int
  stride: int
  expansion: int
  features: int


STAGES = (
  _Stage(1, 3, 1, 1, 16),
  _Stage(2, 3, 2, 6, 24),
  _Stage(2, 5, 2, 6, 40),
  _Stage(3, 3, 2, 6, 80),
  _Stage(3, 5, 1, 6, 112),
  _Stage(4, 5, 2, 6, 192),
  _Stage(1, 3, 1, 6, 320),
)
STEM, TOP = 32, 1280
PADDINGS = ("tensorflow", "symmetric")
# stages whose features are given, after the stem's
PYRAMID = (2, 3, 5, 7)


class EfficientNetLite(nn.Module):
  """EfficientNet-Lite: inverted bottlenecks of depthwise convolutions, ReLU6, no gates.

  Shapes: (b, *space, channels) -> the features of the stem and of stages 2, 3, 5 and 7 (strides 2,
  4, 8, 16, 32; 32, 24, 40, 112, 320 channels). An axis becomes ceil(n / stride). First and last
  stage and the stem are never deeper or wider.

  Attributes:
    width_factor, depth_factor: of the smallest network's features and blocks.
    top: the classifier's 1x1 convolution to 1280 channels follows the coarsest features, in whose
      place it is given.
    output_stride: of the coarsest features, 8, 16 or 32: as `ResNet`'s.
    inputs: what the image is, "as_is", "unit" or "zscore": see `encoders.inputs`.
    padding: of strided convolutions, "tensorflow", more at the end, as the published weights were
      trained, or "symmetric", as timm's own were (its `efficientnet_lite0`, with ImageNet's colours
      and an epsilon of 1e-5; its `tf_efficientnet_lite0` is the published one).
    norm, norm_groups, activation: as `blocks.Norm` and `blocks.Activation`.
    epsilon: what the norms add to the variance.
    dtype: compute dtype.

  Source: Tan, Le, "EfficientNet", arXiv 1905.11946; Lite: the EfficientNet-Lite of TensorFlow's TPU
  models (2020): 4,652,008, 5,416,680 and 6,092,072 parameters with a head of 1000 classes.
  """

  corners: ClassVar[bool] = False
  head: ClassVar[str] = "fc"

  width_factor: float = 1.0
  depth_factor: float = 1.0
  top: bool = False
  output_stride: int = 32
  inputs: str = "as_is"
  padding: str = "tensorflow"
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu6"
  epsilon: float = 1e-3
  dtype: Any = None

  @property
  def colours(self) -> Colours:
    """Of the published weights, or of timm's own."""
    return LITE if self.padding == "tensorflow" else IMAGENET

  def strides(self) -> tuple[int, ...]:
    """Voxels per voxel of each of the features."""
    strides, _ = self._dilated()
    return tuple(strides[i] for i in (0, *PYRAMID))

  def layers(self) -> tuple[tuple[str, ...], ...]:
    """The modules of each depth, from the input up."""
    normed = self.norm != "none"
    stem, top = (("bn_stem",), ("head_bn",)) if normed else ((), ())
    stages = [(f"stage{i}",) for i in range(1, len(STAGES) + 1)]
    return (("conv_stem", *stem), *stages, *([("head_conv", *top)] if self.top else []))

  def _dilated(self):
    """Strides and dilations after the stem and after each stage."""
    strides = [2]
    for stage in STAGES:
      strides.append(strides[-1] * stage.stride)
    return dilated(strides, self.output_stride, "efficientnet_lite")

  @nn.compact
  def __call__(self, x):
    strides, dilations = self._dilated()
    choice(self.padding, PADDINGS, "padding")
    x = standardised(x, self.inputs, self.colours)
    options = {"epsilon": self.epsilon, "norm": self.norm, "norm_groups": self.norm_groups}
    options |= {"activation": self.activation, "dtype": self.dtype, "pads": self.padding}
    x = _step(x, STEM, 3, 2, names=("conv_stem", "bn_stem"), **options)
    features = [x]
    for i, stage in enumerate(STAGES, start=1):
      fixed = i in (1, len(STAGES))
      x = LiteStage(
        blocks=stage.blocks if fixed else math.ceil(stage.blocks * self.depth_factor),
        features=_divisible(stage.features * self.width_factor),
        kernel=stage.kernel,
        stride=strides[i] // strides[i - 1],
        dilation=(dilations[i - 1], dilations[i]),
        expansion=stage.expansion,
        options=options,
        name=f"stage{i}",
      )(x)
      if i in PYRAMID:
        features.append(x)
    if self.top:
      features[-1] = _step(x, TOP, 1, names=("head_conv", "head_bn"), **options)
    return tuple(features)


class LiteStage(nn.Module):
  """Inverted bottlenecks, the first with the stride: (b, *space, in) -> (b, *coarse, features).

  `dilation`: of the layer that may have the stride, and of all that follow.
  """

  blocks: int
  features: int
  kernel: int
  stride: int
  dilation: tuple[int, int]
  expansion: int
  options: Mapping[str, Any]

  @nn.compact
  def __call__(self, x):
    for i in range(self.blocks):
      x = InvertedBottleneck(
        features=self.features,
        kernel=self.kernel,
        stride=self.stride if i == 0 else 1,
        dilation=self.dilation[i > 0],
        expansion=self.expansion,
        options=self.options,
        name=f"block{i + 1}",
      )(x)
    return x


class InvertedBottleneck(nn.Module):
  """Wider by a 1x1 convolution, depthwise convolution, narrow again; plus x where shapes agree.

  Source: Sandler et al., "MobileNetV2", arXiv 1801.04381.
  """

  features: int
  kernel: int
  stride: int
  dilation: int
  expansion: int
  options: Mapping[str, Any]

  @nn.compact
  def __call__(self, x):
    y, wide, options = x, x.shape[-1] * self.expansion, self.options
    if self.expansion != 1:
      y = _step(y, wide, 1, names=("expand_conv", "expand_bn"), **options)
    depthwise = {"dilation": self.dilation, "groups": wide}
    names = ("depthwise_conv", "depthwise_bn")
    y = _step(y, wide, self.kernel, self.stride, names=names, **depthwise, **options)
    last = {**options, "activation": None}
    y = _step(y, self.features, 1, names=("project_conv", "project_bn"), **last)
    return x + y if x.shape == y.shape and self.stride == 1 else y


def _step(
  x, features, kernel, stride=1, *, names, pads, dilation=1, groups=1, dtype, activation, **norm
):
  """Convolution, norm, activation, in the module that calls it."""
  reach = dilation * (kernel - 1)
  missing = [max((math.ceil(n / stride) - 1) * stride + reach + 1 - n, 0) for n in x.shape[1:-1]]
  both = [(n // 2, n - n // 2) for n in missing]
  if pads == "symmetric":
    both = [(reach // 2, reach - reach // 2)] * len(missing)
  x = jnp.pad(x, [(0, 0), *both, (0, 0)])
  options = {"groups": groups, "padding": "valid", "use_bias": False, "dtype": dtype}
  x = Conv(features, kernel, stride, dilation, name=names[0], **options)(x)
  kind, numbers = norm.pop("norm"), norm.pop("norm_groups")
  x = Norm(kind, math.gcd(numbers, features), dtype=dtype, name=names[1], **norm)(x)
  return x if activation is None else Activation(activation, name=f"{names[1]}_act")(x)


def _divisible(features: float) -> int:
  """The nearest multiple of 8, the next one if that is more than a tenth too few."""
  near = max(8, int(features + 4) // 8 * 8)
  return near + 8 if near < 0.9 * features else near
