"""SAUNet, the shape attentive U-Net: a stream for shape beside the one for texture."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import (
  Activation,
  Conv,
  ConvNormAct,
  Norm,
  TransposedConv,
  choice,
  crop_to,
  max_pool,
  need_rank,
  pad_to_multiple,
  resize,
)
from jaxseg.networks.blocks.canny import canny
from jaxseg.networks.blocks.residual import ResidualBlock
from jaxseg.networks.blocks.squeeze_excitation import SqueezeExcitation
from jaxseg.networks.encoders import DenseNet, encoder


class ShapeAttentive(nn.Module):
  """SAUNet: DenseNet encoder, gated shape stream, decoder of spatial and channel attention.

      stride 2   7x7 stem, dense block of 6, transition, 128 ---+-- skip - dual, 64 - [up, edge] -
      stride 4   dense block of 12, transition, 256 ------------+-- skip - dual, 128      3x3 - 1x1
      stride 8   dense block of 24, transition, 512 ------------+-- skip - dual, 256
      stride 16  dense block of 16, norm, 1024 -----------------+-- skip - dual, 512
      stride 32  max-pool, 3x3 conv, 512 -----------------------|-----------^
                                                                |
      stride 1   64 - 32 - 16 - 8, each step gated by a coarser one's features - sigmoid: edge

  A skip is its block's features after the transition, interpolated to the block's own resolution.
  The shape stream starts with the finest; its map and the image's Canny edges together are
  `[edge]` of the decoder's last step. `dual` is `DualAttention`.

  Shapes: (b, y, x, channels), any size -> {"logits": (b, y, x, classes) float32, "edge": the shape
  stream's probability of an edge, (b, y, x, 1) float32, "edge_logits": before its sigmoid, "canny":
  the image's edges, 0 or 1, "attention1" (finest), ...: the decoder's spatial attention, each on
  its own grid, (b, *ceil(space / stride), 1), "bottleneck": the coarsest features, "decoder":
  features before the head}. Images alone: for volumes `pseudo3d` or `triplanar` around it.

  Attributes:
    classes: scores per voxel.
    encoder: a DenseNet of `encoders.ENCODERS`, or a dict with its options.
    centre_width: channels at the coarsest resolution.
    widths: of the decoder's attention blocks, coarsest first, one for each of the encoder's blocks.
    shape_widths: of the shape stream's steps, one for each of the encoder's blocks.
    head_widths: of the decoder's last steps; the second one is also that of the edges' features.
    reduction: of the channel attention.
    thresholds: of Canny's algorithm, of an image from 0 to 255, see `blocks.canny`.
    norm, norm_groups: of all but the encoder, which has its own.
    dtype: compute dtype, "float32" or "bfloat16".

  The method `edge_supervision` is the paper's training. The release gives Canny's edges the value
  255, which leaves nothing of the learnt ones in the sigmoid of their sum; here it is 1.
  31,871,505 parameters for 3 channels and 4 classes; the release registers 1,025,000 more, those of
  DenseNet's ImageNet classifier, which it doesn't use.
  Raises ValueError for images and options that do not fit.
  Source: Sun et al., "SAUNet: shape attentive U-Net for interpretable medical image segmentation",
  arXiv 2001.07645; the gates: Takikawa et al., "Gated-SCNN", arXiv 1907.05740.
  """

  gives_edges: ClassVar[bool] = True

  classes: int = 3
  encoder: str | Mapping[str, Any] = "densenet121"
  centre_width: int = 512
  widths: Sequence[int] = (512, 256, 128, 64)
  shape_widths: Sequence[int] = (64, 32, 16, 8)
  head_widths: Sequence[int] = (48, 32)
  reduction: int = 16
  thresholds: Sequence[float] = (10.0, 100.0)
  norm: str = "batch"
  norm_groups: int = 8
  dtype: str = "float32"

  def __post_init__(self):
    choice(self.dtype, ("float32", "bfloat16"), "shape_attentive: dtype")
    made = self._encoder(parent=None)
    if not (isinstance(made, DenseNet) and made.plain_stem and made.after_transitions):
      raise ValueError(
        f"shape_attentive: encoder={self.encoder!r}; expected a DenseNet, its plain_stem and "
        "after_transitions left as they are."
      )
    blocks = len(made.blocks)
    if {len(self.widths), len(self.shape_widths)} != {blocks} or len(self.head_widths) != 2:
      raise ValueError(
        f"shape_attentive: widths={tuple(self.widths)}, shape_widths={tuple(self.shape_widths)}, "
        f"head_widths={tuple(self.head_widths)}; expected as many of the first two as the encoder "
        f"has blocks, {blocks}, and two of the last."
      )
    if len(self.thresholds) != 2 or not 0 <= self.thresholds[0] <= self.thresholds[1]:
      raise ValueError(
        f"shape_attentive: thresholds={tuple(self.thresholds)}; expected (low, high) with 0 <= low "
        "<= high, of an image from 0 to 255."
      )
    super().__post_init__()

  def _encoder(self, **linen):
    given = {"plain_stem": True, "after_transitions": True, "dtype": self.dtype}
    return encoder(self.encoder, **given, **linen)

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the coarsest features, per axis."""
    return (2 * self._encoder(parent=None).strides()[-1],) * rank

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    rank, space = need_rank(x.ndim - 2, (2,), "shape_attentive"), x.shape[1:-1]
    low, high = self.thresholds
    image_edges = canny(x, low=low, high=high)
    x = pad_to_multiple(x.astype(self.dtype), self.total_stride(rank))
    full, options = x.shape[1:-1], self._options()
    _, *features = self._encoder(name="encoder")(x)

    stream = ShapeStream(self.shape_widths, full, name="shape", **options)
    edge_logits = stream(features)
    edge = jax.nn.sigmoid(edge_logits)
    both = jnp.concatenate([edge, pad_to_multiple(image_edges, self.total_stride(rank))], -1)
    both = Conv(1, 1, use_bias=False, dtype=self.dtype, name="join")(both)
    both = jax.nn.sigmoid(both)
    edges = self._layer(self.head_widths[1], "expand", kernel=1)(both)

    bottleneck = self._layer(self.centre_width, "centre")(max_pool(features[-1]))
    x, maps = bottleneck, {}
    for i, width in zip(reversed(range(len(features))), self.widths, strict=True):
      skip = features[i]
      if i + 1 < len(features):
        skip = resize(skip, [2 * n for n in skip.shape[1:-1]], align_corners=True)
      dual = DualAttention(width, self.reduction, name=f"decoder{i + 1}", **options)
      x, attention = dual(x, skip)
      stride = full[0] // x.shape[1]
      maps[f"attention{i + 1}"] = crop_to(attention, [-(-n // stride) for n in space])

    x = self._layer(self.head_widths[0], "head_layer")(x)
    x = Up(self.head_widths[1], name="head_up", **options)(x)
    x = self._layer(self.head_widths[1], "last_layer")(jnp.concatenate([x, edges], -1))
    decoder = crop_to(x, space)
    logits = Conv(self.classes, 1, dtype=self.dtype, name="head")(decoder)
    return {
      "bottleneck": bottleneck,
      "decoder": decoder,
      **maps,
      "canny": image_edges,
      "edge_logits": crop_to(edge_logits, space),
      "edge": crop_to(edge, space),
      "logits": logits.astype(jnp.float32),
    }

  def _options(self):
    return {"norm": self.norm, "norm_groups": self.norm_groups, "dtype": self.dtype}

  def _layer(self, features, name, *, kernel=3):
    return ConvNormAct(features, kernel, use_bias=True, name=name, **self._options())


class ShapeStream(nn.Module):
  """Where edges are, at the image's resolution: the encoder's features -> (b, *space, 1) float32.

  Each step halves the channels and is gated by one channel of a coarser block's features; before
  it a residual block. The logits of an edge.

  Attributes:
    widths: of the finest features, and after each step.
    space: the image's size.
    norm, norm_groups, dtype: as everywhere.
  """

  widths: Sequence[int]
  space: Sequence[int]
  norm: str = "batch"
  norm_groups: int = 8
  dtype: Any = None

  @nn.compact
  def __call__(self, features):
    def large(features, name, channels):
      x = Conv(channels, 1, dtype=self.dtype, name=name)(features)
      return resize(x, self.space, align_corners=True)

    options = {"norm": self.norm, "norm_groups": self.norm_groups, "dtype": self.dtype}
    x = large(features[0], "start", self.widths[0])
    for i, (width, coarser) in enumerate(zip(self.widths[1:], features[1:], strict=True), start=1):
      same = {"shortcut": "conv", "zero_init": False, **options}
      x = ResidualBlock(x.shape[-1], name=f"block{i}", **same)(x)
      x = Conv(width, 1, dtype=self.dtype, name=f"narrow{i}")(x)
      x = GatedConv(width, name=f"gate{i}", **options)(x, large(coarser, f"asked{i}", 1))
    return Conv(1, 1, use_bias=False, dtype=self.dtype, name="edge")(x).astype(jnp.float32)


class GatedConv(nn.Module):
  """A 1x1 convolution of x (1 + alpha): (b, *space, c), (b, *space, 1) -> (b, *space, features).

  alpha (b, *space, 1) is sigmoid(norm(conv(ReLU(conv(norm([x, gating])))))). A `norm` of groups has
  one group, which divides all numbers of channels.
  """

  features: int
  norm: str = "batch"
  norm_groups: int = 8
  dtype: Any = None

  @nn.compact
  def __call__(self, x, gating):
    both = jnp.concatenate([x, gating], -1)
    both = Norm(self.norm, 1, dtype=self.dtype, name="norm")(both)
    both = Activation("relu")(Conv(both.shape[-1], 1, dtype=self.dtype, name="mix")(both))
    alpha = Conv(1, 1, dtype=self.dtype, name="alpha")(both)
    alpha = jax.nn.sigmoid(Norm(self.norm, 1, dtype=jnp.float32, name="alpha_norm")(alpha))
    x = x * (1 + alpha).astype(x.dtype)
    return Conv(self.features, 1, use_bias=False, dtype=self.dtype, name="conv")(x)


class Up(nn.Module):
  """Transposed 4x4 convolution, norm, ReLU: (b, *space, in) -> (b, *(2 space), features)."""

  features: int
  norm: str = "batch"
  norm_groups: int = 8
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    up = TransposedConv(self.features, 4, output_padding=0, dtype=self.dtype, name="conv")
    x = Norm(self.norm, self.norm_groups, dtype=self.dtype, name="norm")(up(x))
    return Activation("relu")(x)


class DualAttention(nn.Module):
  """C(f) (1 + S(f)) of f, a 3x3 layer of [skip, up-sampled]: SAUNet's decoder block.

  Shapes: (b, *coarse, c), skip (b, *(2 coarse), c') -> (b, *(2 coarse), features) and S, (b, *(2
  coarse), 1) float32. C is squeeze-and-excitation; S is sigmoid(conv(ReLU(norm(conv(f))))) over
  features / 4 channels. `DualAttBlock([512, 1024], 512)` of the release: 11,374,497 parameters.
  """

  features: int
  reduction: int = 16
  norm: str = "batch"
  norm_groups: int = 8
  dtype: Any = None

  @nn.compact
  def __call__(self, x, skip):
    options = {"norm": self.norm, "norm_groups": self.norm_groups, "dtype": self.dtype}
    up = Up(x.shape[-1], name="up", **options)(x)
    both = jnp.concatenate([skip, up], -1)
    f = ConvNormAct(self.features, 3, use_bias=True, name="fuse", **options)(both)
    s = ConvNormAct(max(1, self.features // 4), 1, name="spatial", **options)(f)
    s = Conv(1, 1, dtype=self.dtype, name="spatial_map")(s).astype(jnp.float32)
    s = jax.nn.sigmoid(s)
    c = SqueezeExcitation(self.reduction, dtype=self.dtype, name="channel")(f)
    return c * (1 + s).astype(c.dtype), s
