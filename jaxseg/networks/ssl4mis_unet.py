"""The U-Net of SSL4MIS, which the tables of semi-supervised segmentation of ACDC share."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import (
  ACTIVATIONS,
  NORMS,
  Conv,
  ConvNormAct,
  Dropout,
  choice,
  crop_to,
  max_pool,
  need_rank,
  pad_to_multiple,
  per_stage,
  resize,
)


class SSL4MISUNet(nn.Module):
  """U-Net with dropout between the two convolutions of a stage, and few, thin layers.

  Shapes: (b, *space, channels) -> {"logits": (b, *space, classes) float32, "bottleneck": features
  of the coarsest stage, "decoder": features before the head}, and in training, with
  `second_decoder`, "second": the logits of that one. Any size works: the input is zero-padded to a
  multiple of `total_stride` and the outputs are cropped.

  Every stage is convolution, norm, activation, dropout, convolution, norm, activation; maximum
  pooling between them. A decoder stage narrows what comes from below by a 1x1 convolution, enlarges
  it linearly with the corners' centres kept in place, and appends it to the skip. The head is a 3x3
  convolution. All convolutions have biases.

  Attributes:
    classes: number of scores per voxel.
    widths: channels of each stage, finest first; the last one is the bottleneck.
    dropout: rate of each encoder stage; the decoder has none.
    second_decoder: None, or the rate at which channels of the encoder's features are dropped before
      a second decoder of the same kind sees them, in training alone.
    norm, norm_groups: a name of `NORMS`; groups of "group".
    activation: "leaky_relu" (slope 0.01) or another name.
    dtype: compute dtype, "float32" or "bfloat16"; parameters and statistics stay float32.

  Raises ValueError for bad options.
  Source: HiLab-git/SSL4MIS's `UNet`: 1,813,764 parameters for 1 channel and 4 classes (its option
  `bilinear` is ignored there: the transposed convolutions are never used); with a second decoder
  and a rate of 0.5 HiLab-git/WSL4MIS's `UNet_CCT`, 2,447,064 (2203.02106).
  """

  classes: int = 4
  widths: Sequence[int] = (16, 32, 64, 128, 256)
  dropout: float | Sequence[float] = (0.05, 0.1, 0.2, 0.3, 0.5)
  second_decoder: float | None = None
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "leaky_relu"
  dtype: str = "float32"

  def __post_init__(self):
    stages = len(self.widths)
    if stages < 2 or min(self.widths) < 1 or self.classes < 1:
      raise ValueError(
        f"ssl4mis_unet: classes={self.classes} and widths={tuple(self.widths)}; expected at least "
        "one class and two stages of at least one channel."
      )
    rates = per_stage(self.dropout, stages, "ssl4mis_unet: dropout")
    if self.second_decoder is not None and not 0 <= self.second_decoder < 1:
      raise ValueError(
        f"ssl4mis_unet: second_decoder={self.second_decoder}; expected a rate from 0, below 1, or "
        "None for no second decoder."
      )
    if not all(0 <= rate < 1 for rate in rates):
      raise ValueError(f"ssl4mis_unet: dropout={self.dropout}; expected rates from 0, below 1.")
    choice(self.norm, NORMS, "ssl4mis_unet: norm")
    choice(self.activation, ACTIVATIONS, "ssl4mis_unet: activation")
    choice(self.dtype, ("float32", "bfloat16"), "ssl4mis_unet: dtype")
    super().__post_init__()

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the bottleneck, per axis."""
    return (2 ** (len(self.widths) - 1),) * rank

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    rank, space = need_rank(x.ndim - 2, (1, 2, 3), "ssl4mis_unet"), x.shape[1:-1]
    x = pad_to_multiple(x.astype(self.dtype), self.total_stride(rank))
    stages, skips = len(self.widths), []
    rates = per_stage(self.dropout, stages, "ssl4mis_unet: dropout")
    for i in range(stages):
      if i > 0:
        skips.append(x)
        x = max_pool(x)
      x = self._stage(i, rates[i], f"encoder{i + 1}")(x)
    features = [*skips, x]
    decoded, logits = self._decode(features, space)
    outputs = {"bottleneck": x, "decoder": decoded, "logits": logits}
    if train and self.second_decoder is not None:
      dropped = [
        Dropout(self.second_decoder, spatial=True, name=f"between{i + 1}")(x)
        for i, x in enumerate(features)
      ]
      outputs["second"] = self._decode(dropped, space, "second_")[1]
    return outputs

  def _decode(self, features, space, prefix: str = ""):
    """The encoder's features, finest first -> (those before the head, logits)."""
    *skips, x = features
    for i in reversed(range(len(skips))):
      x = Conv(self.widths[i], 1, dtype=self.dtype, name=f"{prefix}narrow{i + 1}")(x)
      x = resize(x, skips[i].shape[1:-1], align_corners=True)
      x = self._stage(i, 0.0, f"{prefix}decoder{i + 1}")(jnp.concatenate([skips[i], x], -1))
    logits = Conv(self.classes, 3, dtype=self.dtype, name=f"{prefix}head")(x)
    return crop_to(x, space), crop_to(logits, space).astype(jnp.float32)

  def _stage(self, i: int, rate: float, name: str) -> nn.Module:
    layer = {"norm": self.norm, "norm_groups": self.norm_groups, "activation": self.activation}
    layer |= {"use_bias": True, "dtype": self.dtype}
    return _Stage(self.widths[i], rate, layer, name=name)


class _Stage(nn.Module):
  """Two convolutions with norm and activation, dropout between them."""

  features: int
  dropout: float
  layer: dict[str, Any]

  @nn.compact
  def __call__(self, x):
    x = ConvNormAct(self.features, name="layer1", **self.layer)(x)
    if self.dropout:
      x = Dropout(self.dropout, name="dropout")(x)
    return ConvNormAct(self.features, name="layer2", **self.layer)(x)
