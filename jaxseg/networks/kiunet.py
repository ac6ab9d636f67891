"""Ki-Net and KiU-Net: an over-complete branch beside a U-Net, in 2D and 3D."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import (
  ACTIVATIONS,
  NORMS,
  Conv,
  choice,
  crop_to,
  need_rank,
  pad_to_multiple,
  per_axis,
)
from jaxseg.networks.blocks.kiunet_steps import CRFB, STEPS, Step


class KiUNet(nn.Module):
  """KiU-Net: a U-Net whose maps shrink and a Ki-Net whose maps grow exchange what they see.

      Ki   x - up - up - up - down - down - down -+    every step: convolution 3x3, then pooling or
               |    |    |     |      |           |    interpolation, then norm, activation;
              CRFB CRFB CRFB  CRFB   CRFB         +--- sum - 1x1 - logits
               |    |    |     |      |           |
      U    x - down down down  up  -  up  -  up  -+    additive skips within each branch

  CRFB, the cross residual feature block: after level l each branch adds
  resize(activation(norm(conv(the other branch)))) by the factor 4^l, both taken from before the
  exchange. Shrinking takes the interpolated voxels without anti-aliasing, as published.

  Memory: at the default three levels the Ki branch works on 8 times the size of each axis, 64
  times the pixels of an image and 512 times the voxels of a volume. In 3D take one or two Ki levels
  (`widths=(16, 32, 64), ki_widths=(16,)`), small patches, `config.remat`.

  Shapes: (b, *space, channels) -> {"logits": (b, *space, classes) float32, "decoder": the sum of
  the branches}. Any size works: the input is zero-padded to a multiple of `total_stride` and the
  outputs are cropped.

  Attributes:
    classes: number of scores per voxel.
    widths: channels of the U branch after 1, 2, ... steps down.
    ki_widths: of the Ki branch after 1, 2, ... steps up, at most as many; `widths` if None. If
      there are fewer, the U branch goes further down alone.
    decoder_widths: channels of both branches on their way back at level 0, 1, ...; if None, those
      of the encoder at the same level, and at level 0 half of `widths[0]`. A skip with fewer
      channels is repeated along the channels.
    branches: "kiu", "ki" (Ki-Net alone) or "u".
    fusion: with the CRFBs; without, the branches only meet in the sum.
    skip: with the additive skips.
    block: what the 3x3 convolution of every step is: "plain"; "residual", with a 1x1 convolution
      added to it (Res-KiU-Net); "dense", followed by four dense layers whose new features are added
      to its own (Dense-KiU-Net; needs widths that are multiples of 4). The CRFBs stay as they are.
    head: the last 1x1 convolution; without it the last step gives the logits (no dense layers, no
      norm, no activation).
    kernel: of the 3x3 convolutions.
    stride: factor of a step, as `(1, 2, 2)` for thick slices.
    norm, norm_groups, activation, dtype: as `UNet`'s.
    conv_bias, head_bias: biases of the steps' convolutions (the CRFBs' always have one); of the
      last 1x1 convolution.
    legacy_final_relu: the public code's ReLU on the logits, which stops the gradient wherever all
      scores are negative.
    published_extras: channels of one more CRFB which the public code makes, counts and never uses
      (its `interd3_*`, `intd3_*`); 0 leaves it out.

  The public variants: `kiunet` (1 channel, 2 classes; 290,658) is `published_extras=64`,
  `reskiunet` and `densekiunet` (3 channels; 302,162 and 488,634) are that with `block`; `kitenet`
  is `branches="ki", widths=(32, 64, 128), norm="none", skip=False, head=False`; `kiunet3d` of width
  n on c channels is `widths=(n, 2n, 4n), ki_widths=(n, 2n, 2n), decoder_widths=(c, 2n, 2n),
  norm="none", conv_bias=False, head_bias=False, published_extras=n` (its skips from n to 2n
  channels work in the public code for n = 1 only, by broadcasting). The public `reskiunet` makes
  the 1x1 convolution of the Ki branch's first step and drops what it gives; here it counts.

  Raises ValueError for options that contradict each other or the input's rank.
  Source: Valanarasu et al., arXiv 2006.04878 and arXiv 2010.01663.
  """

  classes: int = 3
  widths: Sequence[int] = (16, 32, 64)
  ki_widths: Sequence[int] | None = None
  decoder_widths: Sequence[int] | None = None
  branches: str = "kiu"
  fusion: bool = True
  skip: bool = True
  block: str = "plain"
  head: bool = True
  kernel: int | Sequence[int] = 3
  stride: int | Sequence[int] = 2
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu"
  conv_bias: bool = True
  head_bias: bool = True
  legacy_final_relu: bool = False
  published_extras: int = 0
  dtype: str = "float32"

  def __post_init__(self):
    choice(self.branches, ("kiu", "ki", "u"), "kiunet: branches")
    widths = self._encoder_widths()
    if self.classes < 1 or min(len(w) for w in widths.values()) < 1:
      raise ValueError(
        f"kiunet: classes={self.classes} and widths={widths}; expected at least one class and one "
        "level in each branch."
      )
    if len(widths.get("ki", ())) > len(widths.get("u", widths.get("ki"))):
      raise ValueError(
        f"kiunet: ki_widths={tuple(self.ki_widths)} has more levels than widths="
        f"{tuple(self.widths)}; the Ki branch takes at most as many."
      )
    if self.decoder_widths is not None and len(self.decoder_widths) != self._levels():
      raise ValueError(
        f"kiunet: decoder_widths={tuple(self.decoder_widths)}; expected {self._levels()} entries, "
        "one per level, level 0 first."
      )
    choice(self.block, STEPS, "kiunet: block")
    odd = [w for w in self._step_widths() if w % 4]
    if self.block == "dense" and odd:
      raise ValueError(f"kiunet: block='dense' with widths {odd}; expected multiples of 4.")
    choice(self.norm, NORMS, "kiunet: norm")
    choice(self.activation, ACTIVATIONS, "kiunet: activation")
    choice(self.dtype, ("float32", "bfloat16"), "kiunet: dtype")
    super().__post_init__()

  def _encoder_widths(self) -> dict[str, tuple[int, ...]]:
    ki = self.widths if self.ki_widths is None else self.ki_widths
    widths = {"u": tuple(self.widths), "ki": tuple(ki)}
    return widths if self.branches == "kiu" else {self.branches: widths[self.branches]}

  def _levels(self) -> int:
    return max(len(widths) for widths in self._encoder_widths().values())

  def _decoder_width(self, branch: str, level: int) -> int:
    if level == 0 and not self.head:
      return self.classes
    if self.decoder_widths is not None:
      return self.decoder_widths[level]
    return self._encoder_widths()[branch][level - 1] if level else max(1, self.widths[0] // 2)

  def _step_widths(self) -> list[int]:
    """Of all steps that norm and activation follow."""
    encoder = self._encoder_widths()
    last = 0 if self.head else 1
    back = [self._decoder_width(b, i) for b in encoder for i in range(last, len(encoder[b]))]
    return [*(width for widths in encoder.values() for width in widths), *back]

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the U branch's coarsest map, per axis."""
    stride = per_axis(self.stride, rank, "kiunet: stride")
    return tuple(s ** self._levels() for s in stride)

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    space, rank = x.shape[1:-1], need_rank(x.ndim - 2, (1, 2, 3), "kiunet")
    x = pad_to_multiple(x.astype(self.dtype), self.total_stride(rank))
    widths = self._encoder_widths()

    maps, skips = dict.fromkeys(widths, x), []
    for level in range(1, self._levels() + 1):
      for branch in [b for b in widths if level <= len(widths[b])]:
        step = self._step("encoder", branch, level, widths[branch][level - 1])
        maps[branch] = step(maps[branch])
      if level <= len(widths.get("ki", ())):
        maps = self._exchange(f"encoder_crfb{level}", maps, level)
      skips.append(maps)
      maps = dict(maps)

    for level in reversed(range(self._levels())):
      moved = [b for b in widths if level < len(widths[b])]
      for branch in moved:
        step = self._step("decoder", branch, level, self._decoder_width(branch, level))
        maps[branch] = step(maps[branch])
      if level > 0:
        if "ki" in moved:
          maps = self._exchange(f"decoder_crfb{level}", maps, level)
        for branch in moved if self.skip else ():
          maps[branch] = add_tiled(maps[branch], skips[level - 1][branch])

    if self.published_extras:
      nothing = jnp.zeros((1,) * (rank + 1) + (self.published_extras,), self.dtype)
      self._crfb("unused_crfb", 1)(nothing, nothing)
    x = crop_to(sum(maps.values()), space)
    outputs = {"decoder": x} if self.head else {}
    if self.head:
      x = Conv(self.classes, 1, use_bias=self.head_bias, dtype=self.dtype, name="head")(x)
    x = x.astype(jnp.float32)
    return {**outputs, "logits": nn.relu(x) if self.legacy_final_relu else x}

  def _layer_options(self):
    norm = {"norm": self.norm, "norm_groups": self.norm_groups}
    return {**norm, "kernel": self.kernel, "activation": self.activation, "dtype": self.dtype}

  def _step(self, side, branch, level, width):
    options = {"block": self.block, **self._layer_options()}
    if side == "decoder" and level == 0 and not self.head:
      options |= {"norm": "none", "activation": None}
      options["block"] = "plain" if self.block == "dense" else self.block
    return Step(
      width,
      up=(branch == "ki") == (side == "encoder"),
      stride=self.stride,
      use_bias=self.conv_bias,
      name=f"{branch}_{side}{level}",
      **options,
    )

  def _crfb(self, name, ratio):
    return CRFB(ratio, **self._layer_options(), name=name)

  def _exchange(self, name, maps, level):
    if not self.fusion or len(maps) < 2:
      return maps
    stride = per_axis(self.stride, maps["u"].ndim - 2, "kiunet: stride")
    u, ki = self._crfb(name, tuple(s ** (2 * level) for s in stride))(maps["u"], maps["ki"])
    return {"u": u, "ki": ki}


def add_tiled(x, skip):
  """x plus a skip of the same size, its channels repeated until they are as many."""
  copies, rest = divmod(x.shape[-1], skip.shape[-1])
  if rest:
    raise ValueError(
      f"kiunet: a skip of {skip.shape[-1]} channels cannot be added to {x.shape[-1]}; choose "
      "decoder_widths that are multiples of the encoder's."
    )
  return x + jnp.tile(skip, (1,) * (skip.ndim - 1) + (copies,))
