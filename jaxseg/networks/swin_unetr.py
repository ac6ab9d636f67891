"""Swin UNETR: a Swin Transformer as the encoder of a U-Net, in 3D and 2D."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxseg.networks.blocks import (
  NORMS,
  Conv,
  Dropout,
  choice,
  crop_to,
  need_rank,
  pad_to_multiple,
  per_axis,
  per_stage,
)
from jaxseg.networks.blocks.regularisers import StochasticDepth
from jaxseg.networks.blocks.resample import interleave
from jaxseg.networks.blocks.residual import ResidualUp, unetr_block
from jaxseg.networks.blocks.transformer import MLP, LayerNorm, SelfAttention
from jaxseg.networks.blocks.windows import windows


class SwinUNETR(nn.Module):
  """Swin UNETR: window attention at five resolutions, a residual block on each skip.

      image ---------------------------------- residual block 48 -+-> residual block 48 -> 1x1
      patches 2^3 -> 48 ---------------------- residual block 48 --+-> residual block 48
        2 Swin blocks, merging -> 96 --------- residual block 96 ---+-> residual block 96
          2 Swin blocks, merging -> 192 ------ residual block 192 ---+-> residual block 192
            2 Swin blocks, merging -> 384 ----------------------------+-> residual block 384
              2 Swin blocks, merging -> 768, residual block 768 ---- up x2

  Features that leave the transformer are normalised over their channels, without scale or bias.

  Shapes: (b, *space, channels) -> {"logits": (b, *space, classes) float32, "bottleneck": features
  of the coarsest stage, "decoder": features before the head}. Any size works: the input is
  zero-padded to a multiple of `total_stride` and the outputs are cropped.

  Attributes:
    classes: number of scores per voxel.
    features: channels after the patch embedding; each merging doubles them.
    depths, heads: Swin blocks and attention heads of each stage, finest first.
    window: of attention, in tokens; an integer or one per axis.
    patch: voxels of a patch; an integer or one per axis.
    expansion: hidden channels of the perceptrons, per channel.
    qkv_bias: biases of queries, keys, values.
    norm: of the convolutional blocks, "instance", "batch" or "none".
    dropout: rate in the transformer (embedding, attention weights, outputs).
    stochastic_depth: rate of the last Swin block's branches; grows linearly from 0 at the first.
    dtype: compute dtype, "float32" or "bfloat16"; parameters, softmax and statistics stay float32.

  62,187,296 parameters (the published 62.19 M) at 1 channel, 14 classes and 48 features in 3D, as
  MONAI 1.6.1's `SwinUNETR(1, 14, feature_size=48)`. Its function too, but for the order in which
  merging joins neighbours (see `PatchMerging`), and except where a stage is smaller than the
  window: there MONAI gives tokens the relative positions of other ones.

  Raises ValueError for bad options.
  Source: Hatamizadeh et al., arXiv 2201.01266; Liu et al., "Swin Transformer", arXiv 2103.14030.
  """

  classes: int = 3
  features: int = 48
  depths: Sequence[int] = (2, 2, 2, 2)
  heads: Sequence[int] = (3, 6, 12, 24)
  window: int | Sequence[int] = 7
  patch: int | Sequence[int] = 2
  expansion: int = 4
  qkv_bias: bool = True
  norm: str = "instance"
  dropout: float = 0.0
  stochastic_depth: float = 0.0
  dtype: str = "float32"

  def __post_init__(self):
    if self.classes < 1 or self.features < 1 or not self.depths or min(self.depths) < 1:
      raise ValueError(
        f"swin_unetr: classes={self.classes}, features={self.features}, depths="
        f"{tuple(self.depths)}; expected at least one class, feature, stage and block of a stage."
      )
    heads = per_stage(self.heads, len(self.depths), "swin_unetr: heads")
    for i, h in enumerate(heads):
      if h < 1 or self.features * 2**i % h:
        raise ValueError(
          f"swin_unetr: {h} heads do not divide the {self.features * 2**i} channels of stage "
          f"{i + 1}; choose features or heads so that they do."
        )
    choice(self.norm, [n for n in NORMS if n != "group"], "swin_unetr: norm")
    choice(self.dtype, ("float32", "bfloat16"), "swin_unetr: dtype")
    super().__post_init__()

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the coarsest stage, per axis."""
    patch = per_axis(self.patch, rank, "swin_unetr: patch")
    return tuple(p * 2 ** len(self.depths) for p in patch)

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    rank, space, stages = x.ndim - 2, x.shape[1:-1], len(self.depths)
    need_rank(rank, (1, 2, 3), "swin_unetr")
    x = pad_to_multiple(x.astype(self.dtype), self.total_stride(rank))
    hidden = [self._leave(h) for h in self._transformer(x, rank)]

    skips = [self._block(self.features, "encoder0")(x)]
    for i, h in enumerate(hidden[:-1]):
      # the published network sends the coarsest skip through as it is
      refined = i < stages - 1 or i == 0
      skips.append(self._block(h.shape[-1], f"encoder{i + 1}")(h) if refined else h)
    x = self._block(hidden[-1].shape[-1], "bottleneck")(hidden[-1])
    outputs = {"bottleneck": x}

    for i in reversed(range(stages + 1)):
      stride = 2 if i > 0 else self.patch
      options = {"norm": self.norm, "dtype": self.dtype, "name": f"decoder{i}"}
      x = ResidualUp(skips[i].shape[-1], stride, **options)(x, skips[i])
    outputs["decoder"] = x = crop_to(x, space)
    logits = Conv(self.classes, 1, dtype=self.dtype, name="head")(x)
    return {**outputs, "logits": logits.astype(jnp.float32)}

  def _transformer(self, x, rank):
    """The embedded patches and what each stage gives, after its merging."""
    window = per_axis(self.window, rank, "swin_unetr: window")
    heads = per_stage(self.heads, len(self.depths), "swin_unetr: heads")
    rates = iter(np.linspace(0, self.stochastic_depth, sum(self.depths)))

    x = windows(x, per_axis(self.patch, rank, "swin_unetr: patch"))
    x = x.reshape(*x.shape[:-2], -1)
    x = nn.Dense(self.features, dtype=self.dtype, name="embedding")(x)
    x = Dropout(self.dropout, name="dropout")(x)
    hidden = [x]
    for i, depth in enumerate(self.depths):
      for j in range(depth):
        x = SwinBlock(
          heads[i],
          window,
          shifted=j % 2 == 1,
          hidden=self.expansion * x.shape[-1],
          qkv_bias=self.qkv_bias,
          dropout=self.dropout,
          stochastic_depth=float(next(rates)),
          dtype=self.dtype,
          name=f"stage{i + 1}_block{j + 1}",
        )(x)
      x = PatchMerging(self.dtype, name=f"stage{i + 1}_merging")(x)
      hidden.append(x)
    return hidden

  def _leave(self, x):
    return LayerNorm(use_scale=False, use_bias=False, dtype=self.dtype)(x)

  def _block(self, features, name):
    return unetr_block(features, self.norm, self.dtype, name=name)


class SwinBlock(nn.Module):
  """Swin Transformer block: attention inside windows, then a perceptron, (b, *space, c) -> same.

  x + window_attention(norm(x)), then x + MLP(norm(x)). `shifted` moves the windows by half their
  size, and masks pairs of tokens that were not neighbours before. Tokens have a learned bias for
  each relative position in a window. An axis that is not longer than the window is one window, and
  is not shifted; other axes are zero-padded to whole windows, and attention sees the padding (as
  in the published code).
  """

  heads: int
  window: tuple[int, ...]
  shifted: bool
  hidden: int
  qkv_bias: bool = True
  dropout: float = 0.0
  stochastic_depth: float = 0.0
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    drop = StochasticDepth(self.stochastic_depth, name="stochastic_depth")
    x += drop(self._attention(LayerNorm(dtype=self.dtype, name="attention_norm")(x)))
    mlp = MLP(self.hidden, self.dropout, self.dtype, name="mlp")
    return x + drop(mlp(LayerNorm(dtype=self.dtype, name="mlp_norm")(x)))

  def _attention(self, x):
    space = x.shape[1:-1]
    axes = tuple(range(1, 1 + len(space)))
    size = tuple(min(w, n) for w, n in zip(self.window, space, strict=True))
    shift = tuple(
      w // 2 if self.shifted and n > w else 0 for w, n in zip(self.window, space, strict=True)
    )
    x = pad_to_multiple(x, size)
    padded = x.shape[1:-1]
    x = windows(jnp.roll(x, [-s for s in shift], axes), size)
    tokens = x.reshape(x.shape[0], -1, *x.shape[-2:])

    init = nn.initializers.truncated_normal(0.02)
    shape = (math.prod(2 * w - 1 for w in self.window), self.heads)
    table = self.param("relative_position", init, shape, jnp.float32)
    bias = jnp.moveaxis(table[relative_positions(size, self.window)], -1, 0)
    if any(shift):
      bias = bias[None] + shift_mask(padded, size, shift)[:, None]
    attention = SelfAttention(self.heads, self.qkv_bias, self.dropout, self.dtype, name="attention")
    x = attention(tokens, bias).reshape(x.shape)
    return crop_to(jnp.roll(interleave(x, size), shift, axes), space)


class PatchMerging(nn.Module):
  """Neighbours joined on the channels, norm, dense to twice the channels: half the resolution.

  Shapes: (b, *space, c) -> (b, *(space / 2), 2 c). The neighbours are in reading order, the last
  axis fastest: MONAI's "mergingv2" in 3D; its 2D merging exchanges the middle two.
  """

  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    channels = x.shape[-1]
    x = windows(x, 2)
    x = LayerNorm(dtype=self.dtype, name="norm")(x.reshape(*x.shape[:-2], -1))
    return nn.Dense(2 * channels, use_bias=False, dtype=self.dtype, name="reduction")(x)


def relative_positions(size: Sequence[int], window: Sequence[int]) -> np.ndarray:
  """Rows of the table of biases, (n, n), for the n tokens of a window of `size`.

  The table has a row for each difference of two places in the (not smaller) `window`.
  """
  places = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1).reshape(-1, len(size))
  difference = places[:, None] - places[None] + np.asarray(window) - 1
  return np.ravel_multi_index(np.moveaxis(difference, -1, 0), [2 * w - 1 for w in window])


def shift_mask(space: Sequence[int], size: Sequence[int], shift: Sequence[int]) -> np.ndarray:
  """0 for pairs of tokens that may see each other after the shift, else -1e9: (windows, n, n).

  The shift brings the first `shift` voxels of an axis behind its last ones, into the same window.
  """
  region = np.zeros(space, np.float32)
  for axis, (n, w, s) in enumerate(zip(space, size, shift, strict=True)):
    if s:
      part = np.digitize(np.arange(n), [n - w, n - s])
      shape = [1] * len(space)
      shape[axis] = n
      region = 3 * region + part.reshape(shape)
  region = windows(region[None, ..., None], size).reshape(-1, math.prod(size))
  return np.where(region[:, :, None] == region[:, None], 0.0, -1e9).astype(np.float32)
