"""VGG 11 to 19 as a feature pyramid."""

from collections.abc import Sequence
from typing import Any, ClassVar

from flax import linen as nn

from jaxseg.networks.blocks import ConvNormAct, max_pool, pool
from jaxseg.networks.encoders.dilation import dilated
from jaxseg.networks.encoders.inputs import IMAGENET, Colours, standardised


class VGG(nn.Module):
  """VGG: stages of 3x3 convolutions, max-pooling after each.

  Shapes: (b, *space, channels) -> each stage's features before its pooling (strides 1, 2, 4, 8,
  16), and the last stage's after it (32); the widths double up to 8 times the first.

  Attributes:
    depths: convolutions per stage; less than five stages for a smaller pyramid.
    width: channels of the first stage.
    output_stride: of the coarsest features, 8, 16 or 32; None leaves all strides. A pooling that
      would be coarser takes the maximum of 3 voxels per axis around each, so that features stay in
      the middle of their voxels, and the convolutions that follow are dilated.
    inputs: what the image is, "as_is", "unit" or "zscore": see `encoders.inputs`.
    norm: "none" as published, "batch" for torchvision's `vgg16_bn` (its convolutions keep their
      biases); `norm_groups`, `activation` as elsewhere.
    dtype: compute dtype.

  Source: Simonyan, Zisserman, arXiv 1409.1556; in a U-Net: Iglovikov, Shvets, "TernausNet",
  arXiv 1801.05746; dilated, as `output_stride=8`: Chen et al., DeepLab, arXiv 1412.7062.
  """

  corners: ClassVar[bool] = False
  head: ClassVar[str] = "classifier"
  colours: ClassVar[Colours] = IMAGENET

  depths: Sequence[int] = (2, 2, 3, 3, 3)
  width: int = 64
  output_stride: int | None = None
  inputs: str = "as_is"
  norm: str = "none"
  norm_groups: int = 8
  activation: str = "relu"
  dtype: Any = None

  def strides(self) -> tuple[int, ...]:
    """Voxels per voxel of each of the features."""
    return self._dilated()[0]

  def layers(self) -> tuple[tuple[str, ...], ...]:
    """The modules of each depth, from the input up, as patterns."""
    return tuple((f"conv{i + 1}_*",) for i in range(len(self.depths)))

  def _dilated(self):
    strides = [2**i for i in range(len(self.depths) + 1)]
    return dilated(strides, self.output_stride, "vgg")

  @nn.compact
  def __call__(self, x):
    features, (strides, dilations) = [], self._dilated()
    x = standardised(x, self.inputs, self.colours)
    for i, depth in enumerate(self.depths):
      for j in range(depth):
        x = ConvNormAct(
          self.width * min(2**i, 8),
          norm=self.norm,
          norm_groups=self.norm_groups,
          activation=self.activation,
          use_bias=True,
          conv={"name": "plain", "dilation": dilations[i]},
          dtype=self.dtype,
          name=f"conv{i + 1}_{j + 1}",
        )(x)
      features.append(x)
      if strides[i + 1] > strides[i]:
        x = max_pool(x)
      else:
        x = pool(x, "max", kernel=3, stride=1, padding=1)
    return (*features, x)
