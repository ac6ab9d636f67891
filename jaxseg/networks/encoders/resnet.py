"""ResNet 18, 34, 50 and 101 as a feature pyramid."""

from collections.abc import Sequence
from typing import Any, ClassVar

from flax import linen as nn

from jaxseg.networks.blocks import Activation, Conv, Norm, pool
from jaxseg.networks.encoders.dilation import dilated
from jaxseg.networks.encoders.inputs import IMAGENET, Colours, standardised


class ResNet(nn.Module):
  """ResNet: a 7x7 stem, max-pooling, and stages of residual blocks, each half as fine.

  Shapes: (b, *space, channels) -> the stem's features (stride 2), then each stage's (strides 4, 8,
  16, 32), with width, width, 2 width, 4 width, 8 width channels (stages with bottleneck: 4 times).
  Any size: an axis becomes ceil(n / stride).

  Attributes:
    blocks: residual blocks per stage; less than four stages for a smaller pyramid.
    bottleneck: blocks of 1x1, 3x3, 1x1 convolutions with a fourfold output instead of two 3x3.
      The 3x3 has the stride (torchvision's "version 1.5").
    width: channels of the stem.
    output_stride: of the coarsest stages, 8, 16 or 32: a stage that would be coarser keeps the
      resolution, and what would have followed its stride is dilated instead, so that the same
      parameters give the same features at more voxels.
    multi_grid: the last stage's dilations relative to each other, in turns (DeepLabv3: 1, 2, 4).
    inputs: what the image is, "as_is", "unit" or "zscore": see `encoders.inputs`.
    norm, norm_groups, activation: as `blocks.Norm` and `blocks.Activation`.
    dtype: compute dtype.

  Source: He et al., "Deep residual learning for image recognition", arXiv 1512.03385; dilated: Yu
  et al., arXiv 1705.09914.
  """

  corners: ClassVar[bool] = True
  head: ClassVar[str] = "fc"
  colours: ClassVar[Colours] = IMAGENET

  blocks: Sequence[int] = (3, 4, 6, 3)
  bottleneck: bool = False
  width: int = 64
  output_stride: int = 32
  multi_grid: Sequence[int] = (1,)
  inputs: str = "as_is"
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu"
  dtype: Any = None

  def strides(self) -> tuple[int, ...]:
    """Voxels per voxel of each of the features."""
    return self._dilated()[0]

  def layers(self) -> tuple[tuple[str, ...], ...]:
    """The modules of each depth, from the input up."""
    stem = ("conv1",) if self.norm == "none" else ("conv1", "bn1")
    return (stem, *((f"layer{i + 1}",) for i in range(len(self.blocks))))

  def _dilated(self):
    strides = [2 ** (i + 1) for i in range(len(self.blocks) + 1)]
    return dilated(strides, self.output_stride, "resnet")

  @nn.compact
  def __call__(self, x):
    strides, dilations = self._dilated()
    x = standardised(x, self.inputs, self.colours)
    x = Conv(self.width, 7, 2, use_bias=False, dtype=self.dtype, name="conv1")(x)
    x = Norm(self.norm, self.norm_groups, dtype=self.dtype, name="bn1")(x)
    x = Activation(self.activation, name="relu")(x)
    features = [x]
    x = pool(x, "max", kernel=3, stride=2, padding=1)
    for i, number in enumerate(self.blocks):
      last = i == len(self.blocks) - 1
      x = ResidualStage(
        blocks=number,
        features=self.width * 2**i,
        stride=1 if i == 0 else strides[i + 1] // strides[i],
        dilation=(dilations[i], dilations[i + 1]),
        multi_grid=self.multi_grid if last else (1,),
        bottleneck=self.bottleneck,
        norm=self.norm,
        norm_groups=self.norm_groups,
        activation=self.activation,
        dtype=self.dtype,
        name=f"layer{i + 1}",
      )(x)
      features.append(x)
    return tuple(features)


class ResidualStage(nn.Module):
  """Residual blocks, the first with the stride.

  `dilation`: of the layer that may have the stride; of all that follow, times the multi-grid.
  """

  blocks: int
  features: int
  stride: int
  dilation: tuple[int, int]
  multi_grid: Sequence[int]
  bottleneck: bool
  norm: str
  norm_groups: int
  activation: str
  dtype: Any

  @nn.compact
  def __call__(self, x):
    for i in range(self.blocks):
      before, after = (d * self.multi_grid[i % len(self.multi_grid)] for d in self.dilation)
      x = ResidualBlock(
        features=self.features,
        stride=self.stride if i == 0 else 1,
        dilation=(before if i == 0 else after, after),
        bottleneck=self.bottleneck,
        norm=self.norm,
        norm_groups=self.norm_groups,
        activation=self.activation,
        dtype=self.dtype,
        name=f"block{i + 1}",
      )(x)
    return x


class ResidualBlock(nn.Module):
  """relu(x + F(x)), F two 3x3 convolutions or a bottleneck; a 1x1 convolution of x if they differ.

  Shapes: (b, *space, in) -> (b, *ceil(space / stride), features, or 4 features with bottleneck).
  """

  features: int
  stride: int
  dilation: tuple[int, int]
  bottleneck: bool
  norm: str
  norm_groups: int
  activation: str
  dtype: Any

  @nn.compact
  def __call__(self, x):
    first, second = self.dilation
    plain, sized = (self.features, 1, 1, 1), (self.features, 3, self.stride, first)
    if self.bottleneck:
      layers = [plain, sized, (4 * self.features, 1, 1, 1)]
    else:
      layers = [sized, (self.features, 3, 1, second)]
    y = x
    for i, (features, kernel, stride, dilation) in enumerate(layers, start=1):
      y = Conv(features, kernel, stride, dilation, **self._options(f"conv{i}"))(y)
      y = self._norm(f"bn{i}")(y)
      if i < len(layers):
        y = Activation(self.activation, name=f"relu{i}")(y)
    if x.shape[-1] != y.shape[-1] or self.stride != 1:
      x = Conv(y.shape[-1], 1, self.stride, **self._options("downsample_conv"))(x)
      x = self._norm("downsample_bn")(x)
    return Activation(self.activation, name=f"relu{len(layers)}")(x + y)

  def _options(self, name):
    return {"use_bias": False, "dtype": self.dtype, "name": name}

  def _norm(self, name):
    return Norm(self.norm, self.norm_groups, dtype=self.dtype, name=name)
