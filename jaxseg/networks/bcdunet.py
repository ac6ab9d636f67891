"""BCDU-Net: U-Net with bidirectional ConvLSTM skips and densely connected convolutions."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import (
  Activation,
  Conv,
  ConvLSTMSkip,
  ConvNormAct,
  Dropout,
  Norm,
  Stage,
  UpConv,
  choice,
  crop_to,
  max_pool,
  need_rank,
  pad_to_multiple,
  per_axis,
  per_stage,
)
from jaxseg.networks.blocks.options import total_per_axis


class BCDUNet(nn.Module):
  """BCDU-Net: encoder and decoder meet in ConvLSTMs; the bottleneck is densely connected.

      2 conv 64  --------------------------------------- ConvLSTM 32 -> 2 conv 64 -> 3x3 -> 1x1
        max-pool                                          up, BN, ReLU
        2 conv 128  ---------------------------------- ConvLSTM 64 -> 2 conv 128
          max-pool                                      up, BN, ReLU
          2 conv 256  -------------- dropout ------- ConvLSTM 128 -> 2 conv 256
            max-pool                                  up, BN, ReLU
            pair 1 -> pair 2 -> pair 3 of conv 512, each with dropout, fed all earlier pairs

  Shapes: (b, *space, channels) -> {"logits": (b, *space, classes) float32, "bottleneck": ...,
  "decoder": features before the head}. Any size works: zero-padded inside and cropped. All
  convolutions are 3x3 with bias and ReLU; batch norm follows the transposed convolutions only.

  Attributes:
    classes: scores per voxel. The published head for one class is a 3x3 convolution to 2 channels
      with ReLU, then 1x1 to 1: here 2 channels per class, and no sigmoid on the logits.
    widths: channels of each stage, finest first; the last one is the bottleneck's.
    strides: of the pooling between the stages, per stage, each an integer or one per axis.
    dense_blocks: pairs of convolutions in the bottleneck, the paper's d; 1 is no dense connection.
    bidirectional: reads encoder and decoder features in both directions, as the paper says; False
      reads the decoder's, then the encoder's, as the released code does (20,658,821 parameters).
    dropout: rate after each pair of the bottleneck and on the coarsest skip.
    norm: after the transposed convolutions.
    stage_norm: in the stages and the tail, where the paper has none.
    dtype: compute dtype, "float32" or "bfloat16".

  Raises ValueError for options or inputs that do not fit. Source: Azad et al., arXiv 1909.00166.
  """

  classes: int = 3
  widths: Sequence[int] = (64, 128, 256, 512)
  strides: int | Sequence[Any] = 2
  dense_blocks: int = 3
  bidirectional: bool = True
  dropout: float = 0.5
  norm: str = "batch"
  stage_norm: str = "none"
  dtype: str = "float32"

  def __post_init__(self):
    if len(self.widths) < 2 or self.classes < 1 or self.dense_blocks < 1:
      raise ValueError(
        f"bcdunet: classes={self.classes}, widths={tuple(self.widths)}, dense_blocks="
        f"{self.dense_blocks}; expected at least one class, two stages and one dense block."
      )
    choice(self.dtype, ("float32", "bfloat16"), "bcdunet: dtype")
    super().__post_init__()

  def _strides(self, rank: int) -> list[tuple[int, ...]]:
    strides = per_stage(self.strides, len(self.widths) - 1, "bcdunet: strides")
    return [per_axis(s, rank, "bcdunet: strides of a stage") for s in strides]

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the bottleneck, per axis."""
    return total_per_axis(self._strides(rank))

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    rank, space, dtype = need_rank(x.ndim - 2, (1, 2, 3), "bcdunet"), x.shape[1:-1], self.dtype
    x = pad_to_multiple(x.astype(dtype), self.total_stride(rank))
    strides, coarsest = self._strides(rank), len(self.widths) - 2
    layers = {"norm": self.stage_norm, "use_bias": True, "dtype": dtype}

    skips = []
    for i, width in enumerate(self.widths[:-1]):
      x = Stage(width, name=f"encoder{i + 1}", **layers)(x)
      skips.append(Dropout(self.dropout, name="skip_dropout")(x) if i == coarsest else x)
      x = max_pool(x, stride=strides[i])

    pairs = []
    for i in range(self.dense_blocks):
      x = Stage(self.widths[-1], name=f"dense{i + 1}", dropout=self.dropout, **layers)(x)
      pairs.insert(0, x)
      x = jnp.concatenate(pairs, -1)
    x = bottleneck = pairs[0]

    for i in reversed(range(len(skips))):
      width = self.widths[i]
      x = UpConv(width, strides[i], dtype=dtype, name=f"up{i + 1}")(x)
      x = Norm(self.norm, dtype=dtype, name=f"up_norm{i + 1}")(x)
      x = Activation("relu")(x)
      options = {"bidirectional": self.bidirectional, "dtype": dtype}
      x, _ = ConvLSTMSkip(width, name=f"skip{i + 1}", **options)(skips[i], x)
      x = Stage(width, name=f"decoder{i + 1}", **layers)(x)

    decoder = crop_to(x, space)
    x = crop_to(ConvNormAct(2 * self.classes, name="tail", **layers)(x), space)
    logits = Conv(self.classes, 1, dtype=dtype, name="head")(x).astype(jnp.float32)
    return {"bottleneck": bottleneck, "decoder": decoder, "logits": logits}
