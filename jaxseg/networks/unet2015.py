"""The original U-Net, with valid convolutions."""

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
  Dropout,
  Norm,
  UpConv,
  centre_crop,
  choice,
  crop_to,
  max_pool,
  nearest_up,
  need_rank,
  pad_to_multiple,
  per_axis,
  per_stage,
)


class UNet2015(nn.Module):
  """U-Net as published: two valid convolutions a stage, centre-cropped skips, up-convolutions.

  Shapes: (b, *space, channels) -> {"logits": (b, *(space - 2 margin), classes) float32,
  "bottleneck", "decoder": features}. Five stages of two 3x3 convolutions lose 92 voxels per side:
  572 -> 388, 188 -> 4. Valid convolutions take the sizes that are whole at every pooling; others
  are refused. With `padding="same"` any size works and comes back whole.

  Attributes:
    classes: number of scores per voxel.
    widths: channels of each stage, finest first; the last one is the bottom of the U.
    kernel: of the convolutions, odd; one integer or one per axis.
    strides: pooling between the stages (one less than stages), each an integer or one per axis.
    padding: "valid" as published, or "same".
    doubling: "first": a stage's first convolution brings its width; "last": the first one of the
      contracting path has half of it, so that channels double before the pooling (3D U-Net).
    up: "halve" (up-convolution to the finer stage's width), "keep" (up-convolution that keeps the
      channels) or "nearest" (repeats voxels).
    norm, norm_groups: "none" as published, "batch", "instance" or "group"; groups of "group" (one
      where there are fewer channels).
    norm_first: normalises the input of each convolution, not its output.
    activation: "relu" as published, or another name.
    dropout: rate at the end of the contracting path, after its last two stages.
    conv_bias, up_bias: biases of the convolutions; of the up-convolutions.
    dtype: compute dtype, "float32" or "bfloat16"; parameters and statistics stay float32.

  Raises ValueError for bad options, and for a size that it cannot take, with the next ones.
  Source: Ronneberger, Fischer, Brox, arXiv 1505.04597. Where the paper is silent (dropout: rate
  0.5, after the 512 and the 1024 channels) the authors' released network decides; its ReLU after
  the up-convolutions is not in the paper and not here.
  """

  classes: int = 3
  widths: Sequence[int] = (64, 128, 256, 512, 1024)
  kernel: int | Sequence[int] = 3
  strides: int | Sequence[Any] = 2
  padding: str = "valid"
  doubling: str = "first"
  up: str = "halve"
  norm: str = "none"
  norm_groups: int = 8
  norm_first: bool = False
  activation: str = "relu"
  dropout: float = 0.5
  conv_bias: bool = True
  up_bias: bool = True
  dtype: str = "float32"

  def __post_init__(self):
    if len(self.widths) < 2 or min(self.widths) < 1 or self.classes < 1:
      raise ValueError(
        f"{self._who}: classes={self.classes} and widths={tuple(self.widths)}; expected at least "
        "one class and two stages of at least one channel."
      )
    kernel = (self.kernel,) if isinstance(self.kernel, int) else self.kernel
    if any(k < 1 or k % 2 == 0 for k in kernel):
      raise ValueError(f"{self._who}: kernel={self.kernel}; expected odd sizes.")
    per_stage(self.strides, len(self.widths) - 1, f"{self._who}: strides")
    choice(self.padding, ("valid", "same"), f"{self._who}: padding")
    choice(self.doubling, ("first", "last"), f"{self._who}: doubling")
    choice(self.up, ("halve", "keep", "nearest"), f"{self._who}: up")
    choice(self.norm, NORMS, f"{self._who}: norm")
    choice(self.activation, ACTIVATIONS, f"{self._who}: activation")
    choice(self.dtype, ("float32", "bfloat16"), f"{self._who}: dtype")
    super().__post_init__()

  @property
  def _who(self):
    return type(self).__name__.lower()

  def _strides(self, rank: int) -> list[tuple[int, ...]]:
    strides = per_stage(self.strides, len(self.widths) - 1, f"{self._who}: strides")
    return [per_axis(s, rank, f"{self._who}: strides of a stage") for s in strides]

  def _axes(self, rank: int) -> list[tuple[int, list[int]]]:
    """Per axis: voxels that the two convolutions of a stage lose, and the strides."""
    kernel = per_axis(self.kernel, rank, f"{self._who}: kernel")
    lost = [2 * (k - 1) if self.padding == "valid" else 0 for k in kernel]
    return list(zip(lost, map(list, zip(*self._strides(rank), strict=True)), strict=True))

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the bottom, per axis."""
    return tuple(math.prod(strides) for _, strides in self._axes(rank))

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side."""
    return tuple(_total_loss(lost, strides) // 2 for lost, strides in self._axes(rank))

  def _fit(self, x):
    """Pads for "same" convolutions; refuses a size that valid ones cannot take."""
    space = x.shape[1:-1]
    if self.padding == "same":
      return pad_to_multiple(x, self.total_stride(len(space)))
    for axis, (size, steps) in enumerate(zip(space, self._axes(len(space)), strict=True)):
      if _output_size(size, *steps) is None:
        raise ValueError(
          f"{self._who}: an input of size {space} does not fit valid convolutions along axis "
          f"{axis}: every size before a pooling must be a multiple of its stride and something "
          f"must be left; use {_nearest_sizes(size, *steps)}, or padding='same'."
        )
    return x

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    rank, stages, space = x.ndim - 2, len(self.widths), x.shape[1:-1]
    need_rank(rank, (1, 2, 3), self._who)
    strides = self._strides(rank)
    x = self._fit(x.astype(self.dtype))

    skips = []
    for i, width in enumerate(self.widths):
      if i > 0:
        skips.append(x)
        x = max_pool(x, stride=strides[i - 1])
      first = width if self.doubling == "first" else max(1, width // 2)
      x = self._convolutions((first, width), f"encoder{i + 1}")(x)
      if self.dropout and i >= stages - 2:
        x = Dropout(self.dropout, name=f"dropout{i + 1}")(x)
    outputs = {"bottleneck": x}

    for i in reversed(range(stages - 1)):
      x = self._up(x, i, strides[i])
      x = jnp.concatenate([centre_crop(skips[i], x.shape[1:-1]), x], -1)
      x = self._convolutions((self.widths[i],) * 2, f"decoder{i + 1}")(x)
    if self.padding == "same":
      x = crop_to(x, space)
    logits = Conv(self.classes, 1, dtype=self.dtype, name="head")(x)
    return {**outputs, "decoder": x, "logits": logits.astype(jnp.float32)}

  def _convolutions(self, widths, name):
    return _Convolutions(
      widths,
      self.kernel,
      padding=self.padding,
      norm=self.norm,
      norm_groups=self.norm_groups,
      norm_first=self.norm_first,
      activation=self.activation,
      use_bias=self.conv_bias,
      dtype=self.dtype,
      name=name,
    )

  def _up(self, x, i, stride):
    if self.up == "nearest":
      return nearest_up(x, stride=stride)
    width = self.widths[i] if self.up == "halve" else x.shape[-1]
    return UpConv(width, stride, use_bias=self.up_bias, dtype=self.dtype, name=f"up{i + 1}")(x)


class _Convolutions(nn.Module):
  """A stage: convolutions of the given widths, each with norm and activation."""

  widths: Sequence[int]
  kernel: int | Sequence[int]
  padding: str
  norm: str
  norm_groups: int
  norm_first: bool
  activation: str
  use_bias: bool
  dtype: Any

  @nn.compact
  def __call__(self, x):
    for i, width in enumerate(self.widths, start=1):
      norm = self.norm
      if self.norm_first:
        groups = self.norm_groups if x.shape[-1] >= self.norm_groups else 1
        x = Norm(norm, groups, dtype=self.dtype, name=f"norm{i}")(x)
        norm = "none"
      x = ConvNormAct(
        width,
        self.kernel,
        norm=norm,
        norm_groups=self.norm_groups if width >= self.norm_groups else 1,
        activation=self.activation,
        use_bias=self.use_bias,
        conv={"name": "plain", "padding": self.padding},
        dtype=self.dtype,
        name=f"layer{i}",
      )(x)
    return x


def _output_size(size: int, lost: int, strides: Sequence[int]) -> int | None:
  """What is left of an axis if every stage loses `lost` voxels; None if it does not fit."""
  for stride in strides:
    size -= lost
    if size <= 0 or size % stride:
      return None
    size //= stride
  size -= lost
  for stride in reversed(strides):
    size = size * stride - lost
  # each decoder stage makes at most `stride` times as much: nothing left once is nothing at the end
  return size if size > 0 else None


def _total_loss(lost: int, strides: Sequence[int]) -> int:
  """Voxels of the input that the output lacks: the bottom's, then twice a stage's at each level."""
  total = lost
  for stride in reversed(strides):
    total = stride * total + 2 * lost
  return total


def _nearest_sizes(size: int, lost: int, strides: Sequence[int]) -> str:
  """The next smaller and larger sizes that fit, in words."""
  # the sizes that fit are `total stride` apart, from the first that leaves something
  reach = range(1, math.prod(strides) + _total_loss(lost, strides) + size + 1)
  fits = [n for n in reach if _output_size(n, lost, strides) is not None]
  below = [n for n in fits if n < size]
  above = next(n for n in fits if n > size)
  return f"{below[-1]} or {above}" if below else f"at least {above}"
