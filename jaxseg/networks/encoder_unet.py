"""U-Net decoder on an ImageNet classifier's encoder."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import (
  Conv,
  ConvNormAct,
  crop_to,
  nearest_up,
  need_rank,
  pad_to_multiple,
  per_stage,
)
from jaxseg.networks.encoders import encoder
from jaxseg.networks.parts import ATTENTIONS, BOTTLENECKS, need_size, part, try_part


class EncoderUNet(nn.Module):
  """U-Net whose encoder is a ResNet, DenseNet or VGG.

      stride 1  (VGG)   - - - - - -  decoder - head
      stride 2  stem    ------------ decoder
      stride 4  stage 1 ------------ decoder       decoder: nearest x2, [up, skip],
      stride 8  stage 2 ------------ decoder                two 3x3 convolutions
      stride 16 stage 3 ------------ decoder
      stride 32 stage 4 - bottleneck ---^

  Shapes: (b, *space, channels) -> {"logits": (b, *space, classes) float32, "bottleneck": the
  coarsest features, "decoder": features before the head}. Any size works: the input is zero-padded
  to a multiple of `total_stride` and the outputs are cropped.

  Attributes:
    classes: number of scores per voxel.
    encoder: a name of `encoders.ENCODERS`, or a dict with its options:
      `dict(name="resnet18", width=16)`.
    widths: channels of the decoder's stages, coarsest first: one less than the encoder's features,
      one more to reach the image's resolution if these start at stride 2.
    bottleneck: follows the encoder, a name of `parts.BOTTLENECKS`.
    attention: a name of `parts.ATTENTIONS`, or one for each decoder stage as `widths`, None for
      none; follows the stage's concatenation and the stage.
    head_kernel: of the last convolution.
    norm, norm_groups, activation: of the decoder; the encoder has its own.
    dtype: compute dtype, "float32" or "bfloat16".

  Raises ValueError for options that do not fit, and for an input that is too small for the
  bottleneck, with the smallest one.
  Source: Yakubovskiy, segmentation_models.pytorch, whose `Unet` it equals: 24,436,369 parameters
  for "resnet34", 3 channels and 1 class. VGG: Iglovikov, Shvets, "TernausNet", arXiv 1801.05746.
  """

  classes: int = 3
  encoder: str | Mapping[str, Any] = "resnet34"
  widths: Sequence[int] = (256, 128, 64, 32, 16)
  bottleneck: str | Mapping[str, Any] = "none"
  attention: str | Mapping[str, Any] | Sequence[Any] | None = "none"
  head_kernel: int = 3
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu"
  dtype: str = "float32"

  _who = "encoder_unet"

  def __post_init__(self):
    widths = self._of_stages("widths")
    try_part(BOTTLENECKS, self.bottleneck, "bottleneck", features=widths[0])
    for width, attention in zip(widths, self._of_stages("attention"), strict=True):
      try_part(ATTENTIONS, attention, "attention", features=width)
    super().__post_init__()

  def _strides(self):
    """Of the encoder's features, finest first, starting at the image's resolution."""
    strides = encoder(self.encoder, parent=None).strides()
    return strides if strides[0] == 1 else (1, *strides)

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the coarsest features, per axis."""
    return (self._strides()[-1],) * rank

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    rank, space = need_rank(x.ndim - 2, (1, 2, 3), self._who), x.shape[1:-1]
    x = pad_to_multiple(x.astype(self.dtype), self.total_stride(rank))
    *skips, x = encoder(self.encoder, dtype=self.dtype, name="encoder")(x)
    make = part(BOTTLENECKS, self.bottleneck, "bottleneck", features=x.shape[-1], **self._common())
    bottleneck = make(name="bottleneck")
    need_size(bottleneck, self.bottleneck, space, self.total_stride(rank), self._who)
    outputs = {"bottleneck": bottleneck(x)}
    x = self._decode(skips, outputs["bottleneck"])
    head = Conv(self.classes, self.head_kernel, dtype=self.dtype, name="head")
    logits = crop_to(head(x), space).astype(jnp.float32)
    return {**outputs, "decoder": crop_to(x, space), "logits": logits}

  def _decode(self, skips, x):
    """From the coarsest features x and the finer ones, finest first, to the image's resolution."""
    missing = len(self._strides()) - 1 - len(skips)
    for i, skip in reversed(list(enumerate([None] * missing + skips, start=1))):
      x = self._stage(i, self._width(i), f"decoder{i}")(x, skip)
    return x

  def _width(self, i):
    """Channels of the decoder at level i, 1 being the image's resolution."""
    return self._of_stages("widths")[-i]

  def _of_stages(self, option):
    """An option's value for each stage of the decoder, coarsest first."""
    return per_stage(getattr(self, option), len(self._strides()) - 1, f"{self._who}: {option}")

  def _stage(self, i, width, name):
    """The step of a decoder to level i from the next coarser one."""
    fine, coarse = self._strides()[i - 1 : i + 1]
    attention = self._of_stages("attention")[-i]
    return DecoderStage(width, coarse // fine, attention=attention, name=name, **self._common())

  def _common(self):
    norm = {"norm": self.norm, "norm_groups": self.norm_groups}
    return {**norm, "activation": self.activation, "dtype": self.dtype}


class DecoderStage(nn.Module):
  """Nearest-neighbour up-sampling, the skip beside it if there is one, two 3x3 convolutions.

  Shapes: (b, *coarse, in), (b, *space, skip) or None -> (b, *space, features).
  """

  features: int
  stride: int
  attention: str | Mapping[str, Any] | None
  norm: str
  norm_groups: int
  activation: str
  dtype: Any

  @nn.compact
  def __call__(self, x, skip):
    options = {"norm": self.norm, "norm_groups": self.norm_groups}
    options |= {"activation": self.activation, "dtype": self.dtype}

    def attention(name, x):
      make = part(ATTENTIONS, self.attention, "attention", features=x.shape[-1], **options)
      return make(name=name)(x)

    x = nearest_up(x, stride=self.stride)
    if skip is not None:
      x = attention("attention1", jnp.concatenate([x, skip], -1))
    x = ConvNormAct(self.features, 3, name="layer1", **options)(x)
    x = ConvNormAct(self.features, 3, name="layer2", **options)(x)
    return attention("attention2", x)
