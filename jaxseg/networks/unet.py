"""U-Net, in 2D and 3D."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import (
  ACTIVATIONS,
  CONVS,
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
from jaxseg.networks.blocks.options import total_per_axis
from jaxseg.networks.groups import MOVED, bias_of, by_side, dropout_of, norm_of, up_of
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

  By default the survey's `Baseline`; nnU-Net's is `plain_conv_unet`. Other public U-Nets that are a
  matter of options, with their published counts, are in tests/networks/test_unet.py.

  Attributes:
    classes: number of scores per voxel.
    widths: channels of each stage, finest first; the last one is the bottleneck.
    depth, decoder_depth: convolutions of an encoder stage; of a decoder stage. One for all or one
      per stage, as kernels, strides, skip and the rates of dropout.
    kernels: kernel size per stage, each an integer or one per axis, as `((1, 3, 3), 3, 3)`.
    strides: down-sampling between the stages (one less than stages), likewise `((1, 2, 2), 2)`.
    residual: adds a 1x1 convolution of each stage's input to its output.
    block: what a stage is made of, a name of `parts.BLOCKS` or a dict with its options; or that of
      each side, `dict(encoder="residual", decoder="plain")`.
    conv: the convolution of a stage, a name of `blocks.CONVS` ("plain", "separable", ...).
    attention: follows every stage, a name of `parts.ATTENTIONS` or one for each stage, finest
      first, None for none: `(None, None, "se", dict(name="se", reduction=8))`; or those of each
      side, `dict(encoder="se")`.
    skip: how encoder and decoder are joined, a name of `parts.SKIPS` or one for each skip, finest
      first, as `("concat", "attention_gate")`; attention maps, if it makes any, are given as
      "attention1" (finest), ..., each on its skip's grid.
    bottleneck: follows the coarsest stage, a name of `parts.BOTTLENECKS`.
    up: "linear", "nearest", "transpose", "unpool" (needs down="pool"), or a dict with the options
      of `groups.Up`: `dict(name="transpose", kernels=4)`.
    down: "pool" (maximum) or "stride" (the first convolution of a stage).
    norm: "batch", "instance", "group", "none", or `dict(name="group", groups=4)`.
    activation: "relu", "leaky_relu", "prelu", "prelu_shared", "elu", "gelu" or "silu".
    dropout: rate at the end of each stage, or a dict with the options of `groups.Dropout`:
      `dict(rate=(0.0, 0.1, 0.2), kind="block", size=5, ramp=1000)`.
    stochastic_depth: rate at which the last stage's residual branch is dropped, per sample; it
      grows linearly over the stages in the order of computation, and needs residual=True.
    bias: of all convolutions, or `dict(conv=True, head=False)`.
    deep_supervision: number of auxiliary heads, at most two less than stages.
    dtype: compute dtype, "float32" or "bfloat16"; parameters and statistics stay float32.

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
  conv: str | Mapping[str, Any] = "plain"
  attention: str | Mapping[str, Any] | Sequence[Any] | None = "none"
  skip: str | Mapping[str, Any] | Sequence[Any] = "concat"
  bottleneck: str | Mapping[str, Any] = "none"
  up: str | Mapping[str, Any] = "linear"
  down: str = "pool"
  norm: str | Mapping[str, Any] = "batch"
  activation: str = "relu"
  dropout: float | Sequence[float] | Mapping[str, Any] = 0.0
  stochastic_depth: float = 0.0
  bias: bool | Mapping[str, Any] = False
  deep_supervision: int = 0
  dtype: str = "float32"

  moved = MOVED

  def __post_init__(self):
    stages = len(self.widths)
    if stages < 2 or min(self.widths) < 1 or self.classes < 1:
      raise ValueError(
        f"unet: classes={self.classes} and widths={tuple(self.widths)}; expected at least one "
        "class and two stages of at least one channel."
      )
    numbers = dict.fromkeys(("depth", "kernels"), stages)
    numbers |= dict.fromkeys(("decoder_depth", "strides", "skip"), stages - 1)
    for option, number in numbers.items():
      per_stage(getattr(self, option), number, f"unet: {option}")
    up, norm, dropout = self._up_options(), norm_of(self.norm, "unet"), self._dropout()
    per_stage(up.kernels, stages - 1, "unet: up.kernels")
    per_stage(dropout.rate, stages, "unet: dropout")
    bias_of(self.bias)
    choice(self.down, ("pool", "stride"), "unet: down")
    choice(self.activation, ACTIVATIONS, "unet: activation")
    choice(self.dtype, ("float32", "bfloat16"), "unet: dtype")
    if up.name == "unpool" and self.down != "pool":
      raise ValueError("unet: up='unpool' needs the indices of down='pool'.")
    self._try_parts(norm)
    if not 0 <= self.deep_supervision <= stages - 2:
      raise ValueError(
        f"unet: deep_supervision={self.deep_supervision} auxiliary heads; {stages} stages have "
        f"room for 0 to {stages - 2}."
      )
    super().__post_init__()

  def _try_parts(self, norm):
    """Makes every part and drops it: what one refuses is told before data are read."""
    stages = len(self.widths)
    blocks = by_side(self.block, "block", "plain")
    kernels = per_stage(self.kernels, stages, "unet: kernels")
    # the decoder has no coarsest stage
    for side, number in (("encoder", stages), ("decoder", stages - 1)):
      for width, kernel in list(zip(self.widths, kernels, strict=True))[:number]:
        try_part(BLOCKS, blocks[side], "block", features=width, kernel=kernel)
      for width, attention in zip(self.widths, self._attentions(side), strict=True):
        try_part(ATTENTIONS, attention, "attention", features=width)
    for width, skip in zip(self.widths, self._skips(), strict=False):
      try_part(SKIPS, skip, "skip", features=width)
    try_part(BOTTLENECKS, self.bottleneck, "bottleneck", features=self.widths[-1])
    part(CONVS, self.conv, "conv")

  def _up_options(self):
    return up_of(self.up, "unet", ("linear", "nearest", "transpose", "unpool"))

  def _dropout(self):
    return dropout_of(self.dropout, "unet")

  def _skips(self):
    return per_stage(self.skip, len(self.widths) - 1, "unet: skip")

  def _attentions(self, side):
    attention = by_side(self.attention, "attention", "none")[side]
    return per_stage(attention, len(self.widths), "unet: attention")

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
        elif self._up_options().name == "unpool":
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

    aux, joins = [], self._skips()
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
      "use_bias": bias_of(self.bias).conv,
      "conv": self.conv,
      **self._common(),
    }

  def _common(self):
    norm = norm_of(self.norm, "unet")
    options = {"norm": norm.name, "norm_groups": norm.groups}
    return {**options, "activation": self.activation, "dtype": self.dtype}

  def _part(self, table, spec, option, name, i):
    return part(table, spec, option, features=self.widths[i], **self._common())(name=name)

  def _attention(self, side, i):
    spec, name = self._attentions(side)[i], f"{side}_attention{i + 1}"
    return self._part(ATTENTIONS, spec, "attention", name, i)

  def _gating(self, x, rank):
    """The gating signal that the bottleneck gives to all skips, None: each has its own."""
    return None

  def _stage(self, i, side, depth, number, rank, stride=1):
    stages = len(self.widths)
    place = i if side == "encoder" else 2 * stages - 2 - i  # in the order of computation
    rate = self.stochastic_depth * (place + 1) / (2 * stages - 1)
    depth = per_stage(depth, number, "unet: depth")[i]
    return self._blocks(i, side, depth, rank, stride=stride, stochastic_depth=rate)

  def _blocks(self, i, side, depth, rank, **given):
    """Stage i of that side, made of `depth` of its blocks."""
    dropout = self._dropout()
    noise = per_stage(dropout.rate, len(self.widths), "unet: dropout")[i]
    block = part(
      BLOCKS,
      by_side(self.block, "block", "plain")[side],
      "block",
      features=self.widths[i],
      depth=depth,
      residual=self.residual,
      **dropout.of_stage(noise),
      **given,
      **self._layer_options(i, rank, side),
    )
    return block(name=f"{side}{i + 1}")

  def _up(self, i, rank, stride, positions):
    """The function from stage i + 1's resolution and width to stage i's."""
    up = self._up_options()
    if up.name == "transpose":
      transposed = self._transposed(i, rank, stride, up)
      if not up.norm:
        return transposed
      kind, groups = norm_of(self.norm, "unet")
      norm = Norm(kind, groups, dtype=self.dtype, name=f"up{i + 1}_norm")
      activation = Activation(self.activation, name=f"up{i + 1}_activation")
      return lambda x: activation(norm(transposed(x)))
    options = self._layer_options(i, rank, "decoder")
    layer = ConvNormAct(self.widths[i], name=f"up{i + 1}", **options)
    if up.name == "unpool":
      return lambda x: max_unpool(layer(x), positions, stride=stride)
    larger = linear_up if up.name == "linear" else nearest_up
    return lambda x: layer(larger(x, stride=stride))

  def _transposed(self, i, rank, stride, up):
    options = {"use_bias": up.bias, "dtype": self.dtype, "name": f"up{i + 1}"}
    kernel = per_stage(up.kernels, len(self.widths) - 1, "unet: up.kernels")[i]
    if kernel is None:
      return UpConv(self.widths[i], stride, **options)
    kernel = per_axis(kernel, rank, f"unet: up.kernels of stage {i + 1}")
    overlap = [k - s for k, s in zip(kernel, stride, strict=True)]
    if min(overlap) < 0:
      raise ValueError(
        f"unet: up.kernels of stage {i + 1} are {kernel}, smaller than the stride {stride}, which "
        "would leave gaps; give at least the stride."
      )
    # size times stride comes out: cropped on both sides, an odd overlap one voxel less at the end
    padding, extra = [(n + 1) // 2 for n in overlap], [n % 2 for n in overlap]
    return TransposedConv(
      self.widths[i], kernel, stride, padding=padding, output_padding=extra, **options
    )

  def _head(self, name):
    return Conv(self.classes, 1, use_bias=bias_of(self.bias).head, dtype=self.dtype, name=name)
