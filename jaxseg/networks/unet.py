"""U-Net, in 2D and 3D."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import (
  ACTIVATIONS,
  CONVS,
  NORMS,
  Activation,
  Conv,
  ConvNormAct,
  Norm,
  TransposedConv,
  UpConv,
  choice,
  crop_to,
  linear_up,
  max_pool,
  max_pool_with_positions,
  max_unpool,
  nearest_up,
  pad_to_multiple,
  per_axis,
  per_stage,
)
from jaxseg.networks.blocks.options import named, total_per_axis
from jaxseg.networks.parts import (
  ATTENTIONS,
  BLOCKS,
  BOTTLENECKS,
  SKIPS,
  need_size,
  part,
  try_part,
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
  `unet_3D` of ozan-oktay/Attention-Gated-Networks is `widths=(16, 32, 64, 128, 256)`,
  `kernels=((1, 3, 3),) * 5`, `strides=((1, 2, 2),) * 4`, `up="transpose"`,
  `up_kernels=((1, 4, 4),) * 4`, `conv_bias=True`, `head_bias=True`: 2,466,052 parameters for 1
  channel and 4 classes. pytorch-3dunet's `ResidualUNet3D` (Lee et al., arXiv 1706.00120) is
  `widths=(64, 128, 256, 512, 1024)`, `block=dict(name="residual", shortcut="before",
  norm_first=True, zero_init=False)`, `depth=1`, `decoder_depth=1`, `skip="sum"`, `norm="group"`,
  `up="transpose"`, `up_kernels=3`, `up_bias=False`, `head_bias=True`: 113,735,233 for 1 channel
  and 1 class (there the transposed convolutions give one voxel less; the first one is repeated).

  Attributes:
    classes: number of scores per voxel.
    widths: channels of each stage, finest first; the last one is the bottleneck.
    depth, decoder_depth: convolutions of an encoder stage; of a decoder stage. One per stage or
      one for all, as for every option below that is "per stage".
    kernels: kernel size per stage, each an integer or one per axis, as `((1, 3, 3), 3, 3)`.
    strides: down-sampling between the stages (one less than stages), likewise `((1, 2, 2), 2)`.
    residual: adds a 1x1 convolution of each stage's input to its output.
    block: what a stage is made of, a name of `parts.BLOCKS` or a dict with its options.
    encoder_block: what the encoder's stages are made of, None for the same.
    conv: the convolution of a stage, a name of `blocks.CONVS` ("plain", "separable", ...).
    attention: follows every stage, a name of `parts.ATTENTIONS` or one for each stage, finest
      first, None for none: `(None, None, "se", dict(name="se", reduction=8))`.
    attention_at: "encoder", "decoder" or "both".
    skip: how encoder and decoder are joined, a name of `parts.SKIPS` or one for each skip, finest
      first, as `("concat", "attention_gate")`; attention maps, if it makes any, are given as
      "attention1" (finest), ..., each on its skip's grid.
    gating: what skips that gate by coarse features (`grid_gate`) get: "decoder", those one stage
      below; "centre", one signal for all, a 1x1 convolution, norm and activation of the bottleneck
      with the width of the stage above.
    bottleneck: follows the coarsest stage, a name of `parts.BOTTLENECKS`.
    up: "linear" or "nearest" (interpolation, convolution, norm, activation), "transpose"
      (transposed convolution), "unpool" (convolution, norm, activation, max-unpooling with the
      encoder's indices; needs down="pool").
    up_kernels: of "transpose", per stride and at least as large; None: the strides themselves.
    up_norm: norm and activation follow "transpose".
    down: "pool" (maximum) or "stride" (the first convolution of a stage).
    norm, norm_groups: "batch", "instance", "group" or "none"; groups of "group".
    activation: "relu", "leaky_relu", "prelu", "prelu_shared", "elu", "gelu" or "silu".
    dropout: rate at the end of each stage, per stage; the decoder stage takes its encoder's.
    spatial_dropout: drops whole channels.
    drop_block: drops cubes with sides of so many voxels (one or one per axis; 0: single voxels).
    drop_block_ramp: steps over which their rate grows from 0 to `dropout`; 0: constant.
    stochastic_depth: rate at which the last stage's residual branch is dropped, per sample; it
      grows linearly over the stages in the order of computation, and needs residual=True.
    conv_bias, up_bias, head_bias: biases of the convolutions; of "transpose"; of the last 1x1
      convolution.
    deep_supervision: number of auxiliary heads, at most two less than stages.
    dtype: compute dtype, "float32" or "bfloat16"; parameters and statistics stay float32.
    remat: recomputes each stage in the backward pass, for less memory.

  Raises ValueError for options that contradict each other or the input's rank, and for an input
  that is too small for the bottleneck, with the smallest one.
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
  block: str | Mapping[str, Any] = "plain"
  encoder_block: str | Mapping[str, Any] | None = None
  conv: str | Mapping[str, Any] = "plain"
  attention: str | Mapping[str, Any] | Sequence[Any] | None = "none"
  attention_at: str = "both"
  skip: str | Mapping[str, Any] | Sequence[Any] = "concat"
  gating: str = "decoder"
  bottleneck: str | Mapping[str, Any] = "none"
  up: str = "linear"
  up_kernels: int | Sequence[Any] | None = None
  up_norm: bool = False
  down: str = "pool"
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu"
  dropout: float | Sequence[float] = 0.0
  spatial_dropout: bool = False
  drop_block: int | Sequence[int] = 0
  drop_block_ramp: int = 0
  stochastic_depth: float = 0.0
  conv_bias: bool = False
  up_bias: bool = True
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
    choice(self.up, ("linear", "nearest", "transpose", "unpool"), "unet: up")
    choice(self.attention_at, ("encoder", "decoder", "both"), "unet: attention_at")
    choice(self.gating, ("decoder", "centre"), "unet: gating")
    for option, number in self._blocks_of().items():
      self._try_blocks(option, number)
    skips = per_stage(self.skip, stages - 1, "unet: skip")
    for width, attention in zip(self.widths, self._attentions(), strict=True):
      try_part(ATTENTIONS, attention, "attention", features=width)
    for width, skip in zip(self.widths[:-1], skips, strict=True):
      try_part(SKIPS, skip, "skip", features=width)
    try_part(BOTTLENECKS, self.bottleneck, "bottleneck", features=self.widths[-1])
    takes_gating = [getattr(SKIPS[named(skip)["name"]], "takes_gating", False) for skip in skips]
    if self.gating != "decoder" and not any(takes_gating):
      raise ValueError(
        f"unet: gating='{self.gating}' is for skips that gate by coarse features, but skip="
        f"{self.skip!r}; choose skip='grid_gate', or leave one of them out."
      )
    part(CONVS, self.conv, "conv")
    choice(self.down, ("pool", "stride"), "unet: down")
    choice(self.norm, NORMS, "unet: norm")
    choice(self.activation, ACTIVATIONS, "unet: activation")
    choice(self.dtype, ("float32", "bfloat16"), "unet: dtype")
    if self.up == "unpool" and self.down != "pool":
      raise ValueError("unet: up='unpool' needs the indices of down='pool'.")
    if self.up_kernels is not None and self.up != "transpose":
      raise ValueError(
        f"unet: up_kernels={self.up_kernels} belong to up='transpose', but up='{self.up}'; leave "
        "one of them out."
      )
    for option, default in (("up_bias", True), ("up_norm", False)):
      if getattr(self, option) != default and self.up != "transpose":
        raise ValueError(
          f"unet: {option}={not default} belongs to up='transpose', but up='{self.up}'."
        )
    if self.drop_block_ramp < 0 or (self.drop_block_ramp and not self.drop_block):
      raise ValueError(
        f"unet: drop_block_ramp={self.drop_block_ramp} with drop_block={self.drop_block}; expected "
        "0 steps or more, and blocks for a ramp."
      )
    if self.spatial_dropout and self.drop_block:
      raise ValueError("unet: spatial_dropout and drop_block exclude each other; choose one.")
    if not 0 <= self.deep_supervision <= stages - 2:
      raise ValueError(
        f"unet: deep_supervision={self.deep_supervision} auxiliary heads; {stages} stages have "
        f"room for 0 to {stages - 2}."
      )
    super().__post_init__()

  def _blocks_of(self) -> dict[str, int]:
    """The attributes that name blocks, and how many stages, finest first, are made of them."""
    if self.encoder_block is None:
      return {"block": len(self.widths)}
    return {"encoder_block": len(self.widths), "block": len(self.widths) - 1}

  def _try_blocks(self, option, stages):
    """Refuses the blocks that `option` names if one of the first `stages` cannot have them."""
    kernels = per_stage(self.kernels, len(self.widths), "unet: kernels")
    for width, kernel in list(zip(self.widths, kernels, strict=True))[:stages]:
      try_part(BLOCKS, getattr(self, option), option, features=width, kernel=kernel)

  def _per_stage(self):
    stages = len(self.widths)
    one_less = dict.fromkeys(("decoder_depth", "strides", "skip", "up_kernels"), stages - 1)
    return {**dict.fromkeys(("depth", "kernels", "dropout"), stages), **one_less}

  def _attentions(self):
    return per_stage(self.attention, len(self.widths), "unet: attention")

  def _strides(self, rank: int) -> list[tuple[int, ...]]:
    strides = per_stage(self.strides, len(self.widths) - 1, "unet: strides")
    return [per_axis(s, rank, "unet: strides of a stage") for s in strides]

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the bottleneck, per axis."""
    return total_per_axis(self._strides(rank))

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
    x = pad_to_multiple(x.astype(self.dtype), self.total_stride(rank))

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
      x = self._stage(i, "encoder", self.depth, stages, rank, stride)(x)
      x = self._attention("encoder", i)(x)
    bottleneck = self._part(BOTTLENECKS, self.bottleneck, "bottleneck", "bottleneck", stages - 1)
    need_size(bottleneck, self.bottleneck, space, self.total_stride(rank), "unet")
    x = bottleneck(x)
    outputs = {"bottleneck": x}
    gating = self._gating(x, rank)

    aux, joins = [], per_stage(self.skip, stages - 1, "unet: skip")
    for i in reversed(range(stages - 1)):
      up = self._up(i, rank, strides[i], positions[i] if positions else None)(x)
      coarse = x if gating is None else gating
      x, attended = self._part(SKIPS, joins[i], "skip", f"skip{i + 1}", i)(skips[i], up, coarse)
      size = [-(-n // math.prod(s[axis] for s in strides[:i])) for axis, n in enumerate(space)]
      if attended is not None:
        outputs[f"attention{i + 1}"] = crop_to(attended, size)
      x = self._stage(i, "decoder", self.decoder_depth, stages - 1, rank)(x)
      x = self._attention("decoder", i)(x)
      if train and 0 < i <= self.deep_supervision:
        aux.insert(0, crop_to(self._head(f"aux{i}")(x), size).astype(jnp.float32))
    outputs["decoder"] = crop_to(x, space)
    outputs["logits"] = self._head("head")(outputs["decoder"]).astype(jnp.float32)
    return {**outputs, "aux": tuple(aux)} if aux else outputs

  def _layer_options(self, i: int, rank: int, side: str):
    kernels = per_stage(self.kernels, len(self.widths), "unet: kernels")
    return {
      "kernel": per_axis(kernels[i], rank, f"unet: kernels of stage {i + 1}"),
      "norm": self.norm,
      "norm_groups": self.norm_groups,
      "activation": self.activation,
      "use_bias": self.conv_bias,
      "conv": self.conv,
      "dtype": self.dtype,
    }

  def _part(self, table, spec, option, name, i):
    options = {"norm": self.norm, "norm_groups": self.norm_groups}
    options |= {"activation": self.activation, "dtype": self.dtype}
    return part(table, spec, option, features=self.widths[i], **options)(name=name)

  def _attention(self, side, i):
    if self.attention_at not in (side, "both"):
      return lambda x: x
    spec, name = self._attentions()[i], f"{side}_attention{i + 1}"
    return self._part(ATTENTIONS, spec, "attention", name, i)

  def _gating(self, x, rank):
    """The gating signal that the bottleneck gives to all skips, None if each has its own."""
    if self.gating == "decoder":
      return None
    options = self._layer_options(len(self.widths) - 2, rank, "encoder")
    return ConvNormAct(self.widths[-2], **{**options, "kernel": 1}, name="gating")(x)

  def _stage(self, i, side, depth, number, rank, stride=1):
    stages = len(self.widths)
    place = i if side == "encoder" else 2 * stages - 2 - i  # in the order of computation
    rate = self.stochastic_depth * (place + 1) / (2 * stages - 1)
    depth = per_stage(depth, number, "unet: depth")[i]
    return self._blocks(i, side, depth, rank, stride=stride, stochastic_depth=rate)

  def _blocks(self, i, side, depth, rank, **given):
    """Stage i of that side, made of `depth` of its blocks."""
    apart = side == "encoder" and self.encoder_block is not None
    option = "encoder_block" if apart else "block"
    block = part(
      BLOCKS,
      getattr(self, option),
      option,
      features=self.widths[i],
      depth=depth,
      residual=self.residual,
      dropout=per_stage(self.dropout, len(self.widths), "unet: dropout")[i],
      spatial_dropout=self.spatial_dropout,
      drop_block=self.drop_block,
      drop_block_ramp=self.drop_block_ramp,
      **given,
      **self._layer_options(i, rank, side),
    )
    make = nn.remat(block.func) if self.remat else block.func
    return make(**block.keywords, name=f"{side}{i + 1}")

  def _up(self, i, rank, stride, positions):
    """The function from stage i + 1's resolution and width to stage i's."""
    if self.up == "transpose":
      transposed = self._transposed(i, rank, stride)
      if not self.up_norm:
        return transposed
      norm = Norm(self.norm, self.norm_groups, dtype=self.dtype, name=f"up{i + 1}_norm")
      activation = Activation(self.activation, name=f"up{i + 1}_activation")
      return lambda x: activation(norm(transposed(x)))
    options = self._layer_options(i, rank, "decoder")
    layer = ConvNormAct(self.widths[i], name=f"up{i + 1}", **options)
    if self.up == "unpool":
      return lambda x: max_unpool(layer(x), positions, stride=stride)
    larger = linear_up if self.up == "linear" else nearest_up
    return lambda x: layer(larger(x, stride=stride))

  def _transposed(self, i, rank, stride):
    options = {"use_bias": self.up_bias, "dtype": self.dtype, "name": f"up{i + 1}"}
    kernel = per_stage(self.up_kernels, len(self.widths) - 1, "unet: up_kernels")[i]
    if kernel is None:
      return UpConv(self.widths[i], stride, **options)
    kernel = per_axis(kernel, rank, f"unet: up_kernels of stage {i + 1}")
    overlap = [k - s for k, s in zip(kernel, stride, strict=True)]
    if min(overlap) < 0:
      raise ValueError(
        f"unet: up_kernels of stage {i + 1} are {kernel}, smaller than the stride {stride}, which "
        "would leave gaps; give at least the stride."
      )
    # size times stride comes out: cropped on both sides, an odd overlap one voxel less at the end
    padding, extra = [(n + 1) // 2 for n in overlap], [n % 2 for n in overlap]
    return TransposedConv(
      self.widths[i], kernel, stride, padding=padding, output_padding=extra, **options
    )

  def _head(self, name):
    return Conv(self.classes, 1, use_bias=self.head_bias, dtype=self.dtype, name=name)
