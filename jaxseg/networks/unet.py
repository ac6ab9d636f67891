"""U-Net, in 2D and 3D."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import (
  ACTIVATIONS,
  NORMS,
  Conv,
  ConvNormAct,
  Stage,
  UpConv,
  choice,
  linear_up,
  max_pool,
  max_pool_with_positions,
  max_unpool,
  per_axis,
  per_stage,
)


class UNet(nn.Module):
  """U-Net: an encoder, a decoder, and a skip by concatenation at every resolution.

  Shapes: (b, *space, channels) -> {"logits": (b, *space, classes) float32, "bottleneck": features
  of the coarsest stage, "decoder": features before the head}, and in training, with
  `deep_supervision`, "aux": coarser logits, finest first, (b, *ceil(space / stride), classes).
  Any size works: the input is zero-padded to a multiple of `total_stride` and the outputs are
  cropped.

  By default the survey's `Baseline`. nnU-Net's network is `norm="instance"`,
  `activation="leaky_relu"`, `down="stride"`, `up="transpose"`, `conv_bias=True`, `head_bias=True`.

  Attributes:
    classes: number of scores per voxel.
    widths: channels of each stage, finest first; the last one is the bottleneck.
    depth, decoder_depth: convolutions of an encoder stage; of a decoder stage. One per stage or
      one for all, as for every option below that is "per stage".
    kernels: kernel size per stage, each an integer or one per axis, as `((1, 3, 3), 3, 3)`.
    strides: down-sampling between the stages (one less than stages), likewise `((1, 2, 2), 2)`.
    residual: adds a 1x1 convolution of each stage's input to its output.
    up: "linear" (interpolation, convolution, norm, activation), "transpose" (transposed
      convolution with bias), "unpool" (convolution, norm, activation, max-unpooling with the
      encoder's indices; needs down="pool").
    down: "pool" (maximum) or "stride" (the first convolution of a stage).
    norm, norm_groups: "batch", "instance", "group" or "none"; groups of "group".
    activation: "relu", "leaky_relu", "prelu", "elu", "gelu" or "silu".
    dropout: rate at the end of each stage, per stage; the decoder stage takes its encoder's.
    spatial_dropout: drops whole channels.
    conv_bias, head_bias: biases of the convolutions; of the last 1x1 convolution.
    deep_supervision: number of auxiliary heads, at most two less than stages.
    dtype: compute dtype, "float32" or "bfloat16"; parameters and statistics stay float32.
    remat: recomputes each stage in the backward pass, for less memory.

  Raises ValueError for options that contradict each other or the input's rank.
  Source: Ronneberger et al., arXiv 1505.04597; 3D: Cicek et al., arXiv 1606.06650; the defaults:
  Wang et al., "Medical Image Segmentation Using Deep Learning: A Survey", arXiv 2009.13120.
  """

  classes: int = 3
  widths: Sequence[int] = (64, 128, 256, 512, 512)
  depth: int | Sequence[int] = 2
  decoder_depth: int | Sequence[int] = 2
  kernels: int | Sequence[Any] = 3
  strides: int | Sequence[Any] = 2
  residual: bool = False
  up: str = "linear"
  down: str = "pool"
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu"
  dropout: float | Sequence[float] = 0.0
  spatial_dropout: bool = False
  conv_bias: bool = False
  head_bias: bool = False
  deep_supervision: int = 0
  dtype: str = "float32"
  remat: bool = False

  def __post_init__(self):
    stages = len(self.widths)
    if stages < 2 or min(self.widths) < 1 or self.classes < 1:
      raise ValueError(
        f"unet: classes={self.classes} and widths={tuple(self.widths)}; expected at least one "
        "class and two stages of at least one channel."
      )
    for option, number in self._per_stage().items():
      per_stage(getattr(self, option), number, f"unet: {option}")
    choice(self.up, ("linear", "transpose", "unpool"), "unet: up")
    choice(self.down, ("pool", "stride"), "unet: down")
    choice(self.norm, NORMS, "unet: norm")
    choice(self.activation, ACTIVATIONS, "unet: activation")
    choice(self.dtype, ("float32", "bfloat16"), "unet: dtype")
    if self.up == "unpool" and self.down != "pool":
      raise ValueError("unet: up='unpool' needs the indices of down='pool'.")
    if not 0 <= self.deep_supervision <= stages - 2:
      raise ValueError(
        f"unet: deep_supervision={self.deep_supervision} auxiliary heads; {stages} stages have "
        f"room for 0 to {stages - 2}."
      )
    super().__post_init__()

  def _per_stage(self):
    stages = len(self.widths)
    one_less = dict.fromkeys(("decoder_depth", "strides"), stages - 1)
    return {**dict.fromkeys(("depth", "kernels", "dropout"), stages), **one_less}

  def _strides(self, rank: int) -> list[tuple[int, ...]]:
    strides = per_stage(self.strides, len(self.widths) - 1, "unet: strides")
    return [per_axis(s, rank, "unet: strides of a stage") for s in strides]

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the bottleneck, per axis."""
    return tuple(math.prod(axis) for axis in zip(*self._strides(rank), strict=True))

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    rank = x.ndim - 2
    if not 1 <= rank <= 3:
      raise ValueError(
        f"unet: the input has shape {x.shape}; expected (batch, *space, channels) with one to "
        "three spatial axes."
      )
    stages, space, strides = len(self.widths), x.shape[1:-1], self._strides(rank)
    x = _pad(x.astype(self.dtype), self.total_stride(rank))

    skips, positions = [], []
    for i in range(stages):
      stride = 1
      if i > 0:
        skips.append(x)
        if self.down == "stride":
          stride = strides[i - 1]
        elif self.up == "unpool":
          x, where = max_pool_with_positions(x, stride=strides[i - 1])
          positions.append(where)
        else:
          x = max_pool(x, stride=strides[i - 1])
      x = self._stage(i, f"encoder{i + 1}", self.depth, stages, rank, stride)(x)
    outputs = {"bottleneck": x}

    aux = []
    for i in reversed(range(stages - 1)):
      x = self._up(i, rank, strides[i], positions[i] if positions else None)(x)
      x = jnp.concatenate([skips[i], x], -1)
      x = self._stage(i, f"decoder{i + 1}", self.decoder_depth, stages - 1, rank)(x)
      if train and 0 < i <= self.deep_supervision:
        coarse = [math.prod(axis) for axis in zip(*strides[:i], strict=True)]
        size = [-(-n // s) for n, s in zip(space, coarse, strict=True)]
        aux.insert(0, _crop(self._head(f"aux{i}")(x), size).astype(jnp.float32))
    outputs["decoder"] = _crop(x, space)
    outputs["logits"] = self._head("head")(outputs["decoder"]).astype(jnp.float32)
    return {**outputs, "aux": tuple(aux)} if aux else outputs

  def _layer_options(self, i: int, rank: int):
    kernels = per_stage(self.kernels, len(self.widths), "unet: kernels")
    return {
      "kernel": per_axis(kernels[i], rank, f"unet: kernels of stage {i + 1}"),
      "norm": self.norm,
      "norm_groups": self.norm_groups,
      "activation": self.activation,
      "use_bias": self.conv_bias,
      "dtype": self.dtype,
    }

  def _stage(self, i, name, depth, number, rank, stride=1):
    return (nn.remat(Stage) if self.remat else Stage)(
      self.widths[i],
      depth=per_stage(depth, number, "unet: depth")[i],
      stride=stride,
      residual=self.residual,
      dropout=per_stage(self.dropout, len(self.widths), "unet: dropout")[i],
      spatial_dropout=self.spatial_dropout,
      name=name,
      **self._layer_options(i, rank),
    )

  def _up(self, i, rank, stride, positions):
    """The function from stage i + 1's resolution and width to stage i's."""
    if self.up == "transpose":
      return UpConv(self.widths[i], stride, dtype=self.dtype, name=f"up{i + 1}")
    layer = ConvNormAct(self.widths[i], name=f"up{i + 1}", **self._layer_options(i, rank))
    if self.up == "unpool":
      return lambda x: max_unpool(layer(x), positions, stride=stride)
    return lambda x: layer(linear_up(x, stride=stride))

  def _head(self, name):
    return Conv(self.classes, 1, use_bias=self.head_bias, dtype=self.dtype, name=name)


def _pad(x, multiple):
  """Zeros at the end of each axis, up to a multiple."""
  pads = [(0, -n % m) for n, m in zip(x.shape[1:-1], multiple, strict=True)]
  return jnp.pad(x, [(0, 0), *pads, (0, 0)]) if any(p for _, p in pads) else x


def _crop(x, space):
  return x[(slice(None), *(slice(n) for n in space))]
