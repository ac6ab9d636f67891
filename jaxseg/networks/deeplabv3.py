"""DeepLabv3: atrous spatial pyramid pooling on a dilated encoder."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import Conv, ConvNormAct, crop_to, need_rank, resize
from jaxseg.networks.blocks.aspp import ASPP
from jaxseg.networks.encoders import encoder, pad_to_grid


class DeepLabV3(nn.Module):
  """DeepLabv3.

      x - dilated encoder (stride 16) - ASPP - dropout - 3x3 - head - linear x16

  Shapes: (b, *space, channels) -> {"logits": (b, *space, classes) float32, "bottleneck": the
  encoder's features, "decoder": features before the head, both at stride `output_stride`}.

  The input is zero-padded to a size of 1 mod 16, as the paper's 513, so that first and last voxel
  of the features lie on those of the image; the logits are interpolated with these corners aligned
  and cropped.

  Attributes:
    classes: number of scores per voxel.
    encoder: a name of `encoders.ENCODERS`, or a dict with its options:
      `dict(name="resnet50", multi_grid=(1, 2, 4))` has the paper's last stage.
    output_stride: of the encoder's last features: 8, 16 or 32.
    width: channels of ASPP and of the 3x3 convolution, which the paper lacks and public code has.
    rates: of ASPP; None: 6, 12, 18 at stride 16, twice these at stride 8, half at 32.
    image_pooling: ASPP's branch of the image's mean.
    conv: of the dilated convolutions, a name of `blocks.CONVS`.
    dropout: after ASPP.
    norm, norm_groups, activation: of everything after the encoder.
    dtype: compute dtype, "float32" or "bfloat16".

  Source: Chen et al., "Rethinking atrous convolution", arXiv 1706.05587; equals `DeepLabV3` of
  segmentation_models.pytorch: 26,007,105 parameters for "resnet34", 3 channels and 1 class.
  """

  classes: int = 3
  encoder: str | Mapping[str, Any] = "resnet50"
  output_stride: int = 16
  width: int = 256
  rates: Sequence[int] | None = None
  image_pooling: bool = True
  conv: str | Mapping[str, Any] = "plain"
  dropout: float = 0.5
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu"
  dtype: str = "float32"

  def __post_init__(self):
    self._encoder(parent=None)
    super().__post_init__()

  def _encoder(self, **linen):
    options = {"output_stride": self.output_stride, "dtype": self.dtype}
    return encoder(self.encoder, **options, **linen)

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the encoder's last features, per axis."""
    return (self._encoder(parent=None).strides()[-1],) * rank

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    need_rank(x.ndim - 2, (1, 2, 3), "deeplabv3")
    made, space = self._encoder(name="encoder"), x.shape[1:-1]
    x = pad_to_grid(x.astype(self.dtype), made)
    size, x = x.shape[1:-1], made(x)[-1]
    outputs = {"bottleneck": x}

    options = {"norm": self.norm, "norm_groups": self.norm_groups}
    options |= {"activation": self.activation, "dtype": self.dtype}
    x = ASPP(
      self.width,
      self.rates or tuple(rate * 16 // made.strides()[-1] for rate in (6, 12, 18)),
      self.image_pooling,
      self.conv,
      self.dropout,
      name="aspp",
      **options,
    )(x)
    x = ConvNormAct(self.width, 3, name="layer", **options)(x)
    outputs["decoder"] = x
    x = Conv(self.classes, 1, dtype=self.dtype, name="head")(x).astype(jnp.float32)
    x = crop_to(resize(x, size, align_corners=made.corners), space)
    return {**outputs, "logits": x}
