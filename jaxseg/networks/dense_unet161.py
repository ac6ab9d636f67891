"""DenseUNet-161, the 2D part of H-DenseUNet."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import (
  Activation,
  Conv,
  Dropout,
  Norm,
  choice,
  crop_to,
  nearest_up,
  need_rank,
  pad_to_multiple,
  per_axis,
)
from jaxseg.networks.blocks.options import total_per_axis
from jaxseg.networks.encoders import DenseNet


class DenseUNet161(nn.Module):
  """DenseUNet-161: DenseNet-161 with a decoder of one convolution per scale and skips by sum.

      stride 2   7x7 stem, 96 ---------------------------- + - up, conv 64, dropout - 1x1
      stride 4   max-pool, dense block of 6, 384 --------- + - conv 96
      stride 8   transition, dense block of 12, 768 ------ + - conv 96       each: nearest
      stride 16  transition, dense block of 36, 2112 - 1x1 + - conv 384      up-sampling, sum, 3x3
      stride 32  transition, dense block of 24, 2208 ------^   conv 768      conv, BN, ReLU

  A dense layer is BN, ReLU, 1x1 to 4 growth, BN, ReLU, 3x3 to growth; a transition halves channels
  (1x1) and size (average). A skip has a 1x1 convolution where its width is not the decoder's, by
  default only the coarsest.

  Shapes: (b, *space, channels) -> {"logits": (b, *space, classes) float32, "bottleneck": ...,
  "decoder": features before the head, (b, *space, widths[0])}. The authors' input is a slice and
  its two neighbours as channels (`pseudo3d` with slices=3 makes them). Volumes work too, with the
  same strides along all axes and twice the parameters. Any size works: zero-padded inside and
  cropped.

  Attributes:
    classes: scores per voxel.
    blocks, growth, width, bottleneck, compression: as `encoders.DenseNet`'s.
    widths: channels of the decoder, finest first; one more than blocks.
    transition_stride: of the transitions, and of the decoder there; an integer or one per axis.
    skips: joins encoder and decoder.
    dropout: rate after the last convolution of the decoder, before its norm as in the release.
    scale_layers: a factor and an offset after each of the encoder's norms, as in the release, which
      add nothing to norms that have both: 49,747,779 parameters for 3 channels, else 49,527,843.
    dtype: compute dtype, "float32" or "bfloat16".

  The encoder's parameters are `encoders.DenseNet`'s and can take ImageNet's weights, from which the
  authors start. Their loss weighs background, liver, tumour 0.78, 0.65, 8.57.
  Raises ValueError for options or inputs that do not fit. Source: Li et al., arXiv 1709.07330.
  """

  classes: int = 3
  blocks: Sequence[int] = (6, 12, 36, 24)
  growth: int = 48
  width: int = 96
  bottleneck: int = 4
  compression: float = 0.5
  widths: Sequence[int] = (64, 96, 96, 384, 768)
  transition_stride: int | Sequence[int] = 2
  skips: bool = True
  dropout: float = 0.3
  scale_layers: bool = False
  dtype: str = "float32"

  def __post_init__(self):
    sizes = (self.classes, self.growth, self.width, self.bottleneck, *self.blocks, *self.widths)
    if min(sizes) < 1 or not self.blocks or len(self.widths) != len(self.blocks) + 1:
      raise ValueError(
        f"{self._name()}: classes={self.classes}, blocks={tuple(self.blocks)}, growth="
        f"{self.growth}, width={self.width}, bottleneck={self.bottleneck}, widths="
        f"{tuple(self.widths)}; expected 1 or more of each, and one more of widths than of blocks."
      )
    choice(self.dtype, ("float32", "bfloat16"), f"{self._name()}: dtype")
    super().__post_init__()

  def _name(self) -> str:
    return "dense_unet161"

  def _strides(self, rank: int) -> list[tuple[int, ...]]:
    """Of the stem, the max-pooling and the transitions."""
    transition = per_axis(self.transition_stride, rank, f"{self._name()}: transition_stride")
    return [(2,) * rank] * 2 + [transition] * (len(self.blocks) - 1)

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the bottleneck, per axis."""
    return total_per_axis(self._strides(rank))

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    rank, space = need_rank(x.ndim - 2, (1, 2, 3), self._name()), x.shape[1:-1]
    strides = self._strides(rank)
    x = pad_to_multiple(x.astype(self.dtype), self.total_stride(rank))
    encoder = DenseNet(
      self.blocks,
      self.growth,
      self.width,
      self.bottleneck,
      self.compression,
      transition_stride=self.transition_stride,
      before_norm=True,
      epsilon=1.1e-5,
      scale_layers=self.scale_layers,
      dtype=self.dtype,
      name="encoder",
    )
    *skips, x = encoder(x)
    bottleneck = x

    for i in reversed(range(len(strides))):
      x = nearest_up(x, stride=strides[i])
      if self.skips and i > 0:
        x += self._as_wide(skips[i - 1], x.shape[-1], f"skip{i}")
      x = Conv(self.widths[i], 3, dtype=self.dtype, name=f"up{i}_conv")(x)
      if i == 0 and self.dropout:
        x = Dropout(self.dropout, name="dropout")(x)
      # the release leaves the decoder's epsilon at Keras' default
      x = Norm(epsilon=1e-3, dtype=self.dtype, name=f"up{i}_norm")(x)
      x = Activation("relu")(x)

    decoder = crop_to(x, space)
    logits = Conv(self.classes, 1, dtype=self.dtype, name="head")(decoder).astype(jnp.float32)
    return {"bottleneck": bottleneck, "decoder": decoder, "logits": logits}

  def _as_wide(self, skip, features, name):
    if skip.shape[-1] == features:
      return skip
    return Conv(features, 1, dtype=self.dtype, name=name)(skip)
