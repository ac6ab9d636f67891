"""UNETR: a Vision Transformer as the encoder of a U-Net, in 3D and 2D."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import (
  NORMS,
  Conv,
  Dropout,
  UpConv,
  choice,
  crop_to,
  need_rank,
  pad_to_multiple,
  per_axis,
  per_stage,
  resize,
)
from jaxseg.networks.blocks.options import total_per_axis
from jaxseg.networks.blocks.residual import ResidualUp, unetr_block
from jaxseg.networks.blocks.transformer import LayerNorm, TransformerBlock
from jaxseg.networks.blocks.windows import windows


class UNETR(nn.Module):
  """UNETR: patches of 16^3 voxels through 12 transformer layers, four of which feed a decoder.

      image ------------------------ residual block 16 -----------------+-> residual block 16 -> 1x1
      patches 16^3 -> 768 + position                                    up x2
        3 layers -> z3 - up x2, (up x2, residual block) twice: 32 ----+-> residual block 32
        3 layers -> z6 - up x2, up x2, residual block: 64 ----------+-> residual block 64
        3 layers -> z9 - up x2: 128 -----------------------------+-> residual block 128
        3 layers, norm -> z12 ------------------------------- up x2

  Shapes: (b, *space, channels) -> {"logits": (b, *space, classes) float32, "bottleneck": z12 as a
  map of the patches, "decoder": features before the head}. Any size works: the input is zero-padded
  to a multiple of the patch and the outputs are cropped; the learned positions, a grid of
  `image_size` / patch places, are interpolated linearly to the actual number of patches.

  Attributes:
    classes: number of scores per voxel.
    features: channels at full resolution; they double with each of the coarser resolutions.
    hidden, mlp, heads, layers: the transformer's width, its perceptron's, its attention heads, its
      number of layers.
    taps: after how many layers the skips leave, the finest skip's first. The paper's z3, z6, z9;
      MONAI's code takes the outputs one layer later, `taps=(4, 7, 10)`.
    image_size: to whose number of patches the learned positions belong; an integer or one per axis.
    strides: the decoder's four up-samplings, finest first, each an integer or one per axis; the
      patch is their product.
    qkv_bias: biases of queries, keys, values.
    norm: of the convolutional blocks, "instance", "batch" or "none".
    dropout: rate in the transformer (positions, attention weights, outputs).
    dtype: compute dtype, "float32" or "bfloat16"; parameters, softmax and statistics stay float32.

  92,784,046 parameters at 1 channel, 14 classes and 96^3 voxels: those of MONAI 1.6.1's
  `UNETR(1, 14, (96, 96, 96))` without the 18,432 of its norms for cross-attention, which it never
  applies. Attention takes (patches)^2 memory: 216^2 per head and layer for 96^3.

  Raises ValueError for bad options.
  Source: Hatamizadeh et al., arXiv 2103.10504.
  """

  classes: int = 3
  features: int = 16
  hidden: int = 768
  mlp: int = 3072
  heads: int = 12
  layers: int = 12
  taps: Sequence[int] = (3, 6, 9)
  image_size: int | Sequence[int] = 96
  strides: int | Sequence[Any] = 2
  qkv_bias: bool = False
  norm: str = "instance"
  dropout: float = 0.0
  dtype: str = "float32"

  def __post_init__(self):
    if min(self.classes, self.features, self.hidden, self.mlp, self.heads) < 1:
      raise ValueError(
        f"unetr: classes={self.classes}, features={self.features}, hidden={self.hidden}, "
        f"mlp={self.mlp}, heads={self.heads}; expected at least 1 of each."
      )
    if self.hidden % self.heads:
      raise ValueError(
        f"unetr: heads={self.heads} do not divide hidden={self.hidden}; choose heads that do."
      )
    taps = tuple(self.taps)
    if len(taps) != 3 or not 1 <= taps[0] <= taps[1] <= taps[2] <= self.layers:
      raise ValueError(
        f"unetr: taps={taps}; expected three increasing numbers of layers, 1 to {self.layers}."
      )
    per_stage(self.strides, 4, "unetr: strides")
    choice(self.norm, [n for n in NORMS if n != "group"], "unetr: norm")
    choice(self.dtype, ("float32", "bfloat16"), "unetr: dtype")
    super().__post_init__()

  def _strides(self, rank: int) -> list[tuple[int, ...]]:
    strides = per_stage(self.strides, 4, "unetr: strides")
    return [per_axis(s, rank, "unetr: strides of a step") for s in strides]

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels of a patch, per axis."""
    return total_per_axis(self._strides(rank))

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    rank, space = x.ndim - 2, x.shape[1:-1]
    need_rank(rank, (1, 2, 3), "unetr")
    strides, features = self._strides(rank), [self.features * 2**i for i in range(4)]
    x = pad_to_multiple(x.astype(self.dtype), self.total_stride(rank))
    z = self._transformer(x, rank)
    outputs = {"bottleneck": z[-1]}

    skips = [self._block(features[0], "encoder1")(x)]
    for i in (1, 2, 3):  # from the patches' resolution to that of the skip
      skip = self._up(features[i], strides[3], f"encoder{i + 1}_up4")(z[i - 1])
      for step in reversed(range(i, 3)):
        skip = self._up(features[i], strides[step], f"encoder{i + 1}_up{step + 1}")(skip)
        skip = self._block(features[i], f"encoder{i + 1}_block{step + 1}")(skip)
      skips.append(skip)

    x = z[-1]
    for i in reversed(range(4)):
      up = ResidualUp(
        features[i], strides[i], norm=self.norm, dtype=self.dtype, name=f"decoder{i + 1}"
      )
      x = up(x, skips[i])
    outputs["decoder"] = x = crop_to(x, space)
    logits = Conv(self.classes, 1, dtype=self.dtype, name="head")(x)
    return {**outputs, "logits": logits.astype(jnp.float32)}

  def _transformer(self, x, rank):
    """The features that leave at the taps, and the last ones, each (b, *patches, hidden)."""
    patch = self.total_stride(rank)
    x = windows(x, patch)
    x = x.reshape(*x.shape[:-2], -1)
    x = nn.Dense(self.hidden, dtype=self.dtype, name="embedding")(x)

    image = per_axis(self.image_size, rank, "unetr: image_size")
    grid = [-(-n // p) for n, p in zip(image, patch, strict=True)]
    init = nn.initializers.truncated_normal(0.02)
    position = self.param("position", init, (*grid, self.hidden), jnp.float32)
    x += resize(position[None], x.shape[1:-1]).astype(x.dtype)
    x = Dropout(self.dropout, name="dropout")(x)

    shape = x.shape
    tokens, left = x.reshape(shape[0], -1, self.hidden), {}
    options = (self.heads, self.mlp, self.qkv_bias, self.dropout, self.dtype)
    for i in range(1, self.layers + 1):
      tokens = TransformerBlock(*options, name=f"layer{i}")(tokens)
      left[i] = tokens
    last = LayerNorm(dtype=self.dtype, name="norm")(tokens)
    return [z.reshape(shape) for z in (*(left[tap] for tap in self.taps), last)]

  def _block(self, features, name):
    return unetr_block(features, self.norm, self.dtype, name=name)

  def _up(self, features, stride, name):
    return UpConv(features, stride, use_bias=False, dtype=self.dtype, name=name)
