"""V-Net, in 3D and 2D."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import (
  ACTIVATIONS,
  NORMS,
  Activation,
  Conv,
  ConvNormAct,
  Dropout,
  Norm,
  UpConv,
  choice,
  crop_to,
  need_rank,
  pad_to_multiple,
  per_axis,
  per_stage,
)
from jaxseg.networks.blocks.options import total_per_axis


class VNet(nn.Module):
  """V-Net: residual stages of 5x5x5 convolutions, resampled by 2x2x2 ones, PReLU throughout.

  Shapes: (b, *space, channels) -> {"logits": (b, *space, classes) float32, "bottleneck",
  "decoder": features}. Any size works: the input is zero-padded to a multiple of `total_stride`
  and the outputs are cropped.

  Encoder 16, 32, 64, 128, 256 channels with 1, 2, 3, 3, 3 convolutions; decoder 256, 128, 64, 32
  channels (half up-sampled, half skip) with 3, 3, 2, 1. Each stage adds its input to what its last
  convolution gives, before the last PReLU. The first stage's input, the image, is tiled over the
  channels to that stage's width: an image of several channels cyclically, channel j taking the
  image's channel j modulo their number.

  Attributes:
    classes: number of scores per voxel.
    widths: channels of each encoder stage, finest first.
    depth, decoder_depth: convolutions of each encoder stage; of each decoder stage, finest first
      too (one less).
    kernel: of the convolutions in a stage; one integer or one per axis.
    strides: down-sampling between the stages, each an integer or one per axis.
    norm, norm_groups: "none" as published, "batch", "instance" or "group" after every convolution;
      groups of "group".
    activation: "prelu" as published (a slope per channel, from 0.25), "elu" or another name.
    conv_bias: biases of the convolutions (up-convolutions always have one).
    skip_dropout: rate on what the skips carry.
    activate_branch: activates what a stage's last convolution gives, too, before its input is
      added; in all stages but the first, as the PyTorch ports do.
    output_kernel: if given, a convolution of this size to `classes` channels, with norm and
      activation, before the last 1x1x1 one, as the PyTorch ports have it (with 5).
    dtype: compute dtype, "float32" or "bfloat16"; parameters and statistics stay float32.

  The PyTorch ports have `depth=(1, 1, 2, 3, 2)`, `decoder_depth=(1, 1, 2, 2)`, `norm="batch"`,
  `activate_branch=True`, `output_kernel=5`: vnet.pytorch's `VNet(elu=True)` with
  `activation="elu"`, 45,600,316 parameters for 1 channel and 2 classes, and its `VNet(elu=False)`,
  45,603,934 (it joins the image's copies on the batch axis, a bug); MONAI's `VNet` with
  `activation="elu"`, `conv_bias=False`, 45,597,898. In training they also drop channels out.

  Raises ValueError for bad options.
  Source: Milletari, Navab, Ahmadi, arXiv 1606.04797.
  """

  classes: int = 3
  widths: Sequence[int] = (16, 32, 64, 128, 256)
  depth: int | Sequence[int] = (1, 2, 3, 3, 3)
  decoder_depth: int | Sequence[int] = (1, 2, 3, 3)
  kernel: int | Sequence[int] = 5
  strides: int | Sequence[Any] = 2
  norm: str = "none"
  norm_groups: int = 8
  activation: str = "prelu"
  conv_bias: bool = True
  skip_dropout: float = 0.0
  activate_branch: bool = False
  output_kernel: int | Sequence[int] | None = None
  dtype: str = "float32"

  def __post_init__(self):
    stages = len(self.widths)
    if stages < 2 or min(self.widths) < 1 or self.classes < 1:
      raise ValueError(
        f"vnet: classes={self.classes} and widths={tuple(self.widths)}; expected at least one "
        "class and two stages of at least one channel."
      )
    for option, number in (("depth", stages), ("decoder_depth", stages - 1)):
      if min(per_stage(getattr(self, option), number, f"vnet: {option}")) < 1:
        raise ValueError(f"vnet: {option}={getattr(self, option)}; expected at least 1 per stage.")
    per_stage(self.strides, stages - 1, "vnet: strides")
    choice(self.norm, NORMS, "vnet: norm")
    choice(self.activation, ACTIVATIONS, "vnet: activation")
    choice(self.dtype, ("float32", "bfloat16"), "vnet: dtype")
    super().__post_init__()

  def _strides(self, rank: int) -> list[tuple[int, ...]]:
    strides = per_stage(self.strides, len(self.widths) - 1, "vnet: strides")
    return [per_axis(s, rank, "vnet: strides of a stage") for s in strides]

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the coarsest stage, per axis."""
    return total_per_axis(self._strides(rank))

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    rank, stages, space = x.ndim - 2, len(self.widths), x.shape[1:-1]
    need_rank(rank, (1, 2, 3), "vnet")
    strides = self._strides(rank)
    depth = per_stage(self.depth, stages, "vnet: depth")
    decoder_depth = per_stage(self.decoder_depth, stages - 1, "vnet: decoder_depth")
    norm = {"norm": self.norm, "norm_groups": self.norm_groups}
    layer = {**norm, "activation": self.activation, "use_bias": self.conv_bias, "dtype": self.dtype}
    x = pad_to_multiple(x.astype(self.dtype), self.total_stride(rank))

    skips = []
    for i, width in enumerate(self.widths):
      if i > 0:
        skips.append(x)
        x = ConvNormAct(width, strides[i - 1], strides[i - 1], name=f"down{i + 1}", **layer)(x)
      stage = ResidualStage(
        width,
        depth[i],
        self.kernel,
        activate_branch=self.activate_branch and i > 0,
        name=f"encoder{i + 1}",
        **layer,
      )
      x = stage(x)
    outputs = {"bottleneck": x}

    for i in reversed(range(stages - 1)):
      width, skip = self.widths[i], skips[i]
      x = UpConv(width, strides[i], dtype=self.dtype, name=f"up{i + 1}")(x)
      x = Norm(self.norm, self.norm_groups, dtype=self.dtype, name=f"up{i + 1}_norm")(x)
      x = Activation(self.activation, name=f"up{i + 1}_activation")(x)
      if self.skip_dropout:
        skip = Dropout(self.skip_dropout, name=f"skip{i + 1}_dropout")(skip)
      x = jnp.concatenate([x, skip], -1)
      stage = ResidualStage(
        2 * width,
        decoder_depth[i],
        self.kernel,
        activate_branch=self.activate_branch,
        name=f"decoder{i + 1}",
        **layer,
      )
      x = stage(x)
    outputs["decoder"] = x = crop_to(x, space)
    if self.output_kernel is not None:
      x = ConvNormAct(self.classes, self.output_kernel, name="output", **layer)(x)
    logits = Conv(self.classes, 1, dtype=self.dtype, name="head")(x)
    return {**outputs, "logits": logits.astype(jnp.float32)}


class ResidualStage(nn.Module):
  """V-Net's stage: convolutions, plus its own input before the last activation.

  Shapes: (b, *space, in) -> (b, *space, features). An input of another width is added in tiled
  form, repeated along the channels (never along the batch) until it fills the stage.
  `activate_branch` activates before the addition, too.
  """

  features: int
  depth: int
  kernel: int | Sequence[int] = 5
  norm: str = "none"
  norm_groups: int = 8
  activation: str = "prelu"
  activate_branch: bool = False
  use_bias: bool = True
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    copies = -(-self.features // x.shape[-1])
    inputs = jnp.tile(x, (1,) * (x.ndim - 1) + (copies,))[..., : self.features]
    for i in range(self.depth):
      activated = i < self.depth - 1 or self.activate_branch
      x = ConvNormAct(
        self.features,
        self.kernel,
        norm=self.norm,
        norm_groups=self.norm_groups,
        activation=self.activation if activated else None,
        use_bias=self.use_bias,
        dtype=self.dtype,
        name=f"layer{i + 1}",
      )(x)
    return Activation(self.activation, name="activation")(x + inputs)
