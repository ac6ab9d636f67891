"""SegResNet, in 3D and 2D."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import (
  ACTIVATIONS,
  NORMS,
  Activation,
  Conv,
  Dropout,
  Norm,
  UpConv,
  choice,
  crop_to,
  linear_up,
  need_rank,
  pad_to_multiple,
  per_stage,
)


class SegResNet(nn.Module):
  """SegResNet: pre-activation residual blocks, deep encoder, shallow decoder, skips by addition.

      conv 8, dropout, 1 block 8 ----------------------- + -> 1 block 8 -> norm, ReLU, 1x1 -> logits
        conv 16 stride 2, 2 blocks ------------- + -> 1 block 16 -> 1x1 to 8, linear x2
          conv 32 stride 2, 2 blocks --- + -> 1 block 32 -> 1x1 to 16, linear x2
            conv 64 stride 2, 4 blocks -> 1x1 to 32, linear x2

  Shapes: (b, *space, channels) -> {"logits": (b, *space, classes) float32, "bottleneck": features
  of the coarsest stage, "decoder": features before the last norm}. Any size works: the input is
  zero-padded to a multiple of `total_stride` and the outputs are cropped.

  Attributes:
    classes: number of scores per voxel.
    widths: channels of each stage, finest first.
    depth, decoder_depth: residual blocks of each encoder stage; of each decoder stage, finest first
      (one less).
    up: "linear", or "transpose" (a transposed 2x2x2 convolution with bias after the 1x1 one).
    norm, norm_groups: "group", "batch", "instance" or "none"; groups of "group".
    activation: "relu" or another name.
    dropout: rate after the first convolution; 0.2 in the paper.
    dtype: compute dtype, "float32" or "bfloat16"; parameters and statistics stay float32.

  1,176,186 parameters at 1 channel and 2 classes in 3D, as MONAI's `SegResNet(3, 8, 1, 2)`. The
  paper's network for BraTS is `widths=(32, 64, 128, 256)`, `dropout=0.2`; its variational
  autoencoder, a branch for training only, is left out.

  Raises ValueError for bad options.
  Source: Myronenko, arXiv 1810.11654.
  """

  classes: int = 3
  widths: Sequence[int] = (8, 16, 32, 64)
  depth: int | Sequence[int] = (1, 2, 2, 4)
  decoder_depth: int | Sequence[int] = 1
  up: str = "linear"
  norm: str = "group"
  norm_groups: int = 8
  activation: str = "relu"
  dropout: float = 0.0
  dtype: str = "float32"

  def __post_init__(self):
    stages = len(self.widths)
    if stages < 2 or min(self.widths) < 1 or self.classes < 1:
      raise ValueError(
        f"segresnet: classes={self.classes} and widths={tuple(self.widths)}; expected at least one "
        "class and two stages of at least one channel."
      )
    per_stage(self.depth, stages, "segresnet: depth")
    per_stage(self.decoder_depth, stages - 1, "segresnet: decoder_depth")
    choice(self.up, ("linear", "transpose"), "segresnet: up")
    choice(self.norm, NORMS, "segresnet: norm")
    choice(self.activation, ACTIVATIONS, "segresnet: activation")
    choice(self.dtype, ("float32", "bfloat16"), "segresnet: dtype")
    super().__post_init__()

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the coarsest stage, per axis."""
    return (2 ** (len(self.widths) - 1),) * rank

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    rank, stages, space = x.ndim - 2, len(self.widths), x.shape[1:-1]
    need_rank(rank, (1, 2, 3), "segresnet")
    x = pad_to_multiple(x.astype(self.dtype), self.total_stride(rank))
    depth = per_stage(self.depth, stages, "segresnet: depth")
    decoder_depth = per_stage(self.decoder_depth, stages - 1, "segresnet: decoder_depth")

    def conv(features, kernel, stride, name):
      return Conv(features, kernel, stride, use_bias=False, dtype=self.dtype, name=name)

    x = conv(self.widths[0], 3, 1, "stem")(x)
    if self.dropout:
      x = Dropout(self.dropout, name="dropout")(x)
    skips = []
    for i, width in enumerate(self.widths):
      if i > 0:
        skips.append(x)
        x = conv(width, 3, 2, f"down{i + 1}")(x)
      x = self._blocks(x, depth[i], f"encoder{i + 1}")
    outputs = {"bottleneck": x}

    for i in reversed(range(stages - 1)):
      x = conv(self.widths[i], 1, 1, f"narrow{i + 1}")(x)
      if self.up == "linear":
        x = linear_up(x, stride=2)
      else:
        x = UpConv(self.widths[i], 2, dtype=self.dtype, name=f"up{i + 1}")(x)
      x = self._blocks(x + skips[i], decoder_depth[i], f"decoder{i + 1}")
    outputs["decoder"] = crop_to(x, space)

    x = Norm(self.norm, self.norm_groups, dtype=self.dtype, name="norm")(x)
    x = crop_to(Activation(self.activation, name="activation")(x), space)
    logits = Conv(self.classes, 1, dtype=self.dtype, name="head")(x)
    return {**outputs, "logits": logits.astype(jnp.float32)}

  def _blocks(self, x, depth, name):
    options = (self.norm, self.norm_groups, self.activation, self.dtype)
    for i in range(depth):
      x = PreActivationBlock(*options, name=f"{name}_block{i + 1}")(x)
    return x


class PreActivationBlock(nn.Module):
  """x + two times norm, activation, 3x3 convolution without bias: (b, *space, c) -> the same."""

  norm: str = "group"
  norm_groups: int = 8
  activation: str = "relu"
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    y = x
    for i in (1, 2):
      y = Norm(self.norm, self.norm_groups, dtype=self.dtype, name=f"norm{i}")(y)
      y = Activation(self.activation, name=f"activation{i}")(y)
      y = Conv(x.shape[-1], 3, use_bias=False, dtype=self.dtype, name=f"conv{i}")(y)
    return x + y
