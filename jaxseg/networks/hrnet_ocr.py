"""HRNet with object-contextual representations, and RITM's way in for prompts."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import (
  NORMS,
  Activation,
  Conv,
  Dropout,
  Norm,
  choice,
  crop_to,
  need_rank,
  pad_to_multiple,
  resize,
)


class HRNetOCR(nn.Module):
  """HRNet: branches of four resolutions side by side, which exchange features; then OCR.

      stem, stride 4 -> bottlenecks -> 1/4 ---+-----+-----+-- all at 1/4 -> aux head -> class areas
                                   \\-> 1/8 ---+-----+-----+        |             |
                                          \\-> 1/16 -+-----+        v             v
                                                 \\-> 1/32 +   3x3 conv -> attention to the means of
                                                                        each area -> logits

  Shapes: (b, *space, channels) -> {"logits": (b, *space, classes) float32, "bottleneck": features
  of the coarsest branch, "decoder": the last features, at a quarter}, and in training "aux": the
  auxiliary head's logits at full size. Any size works: the input is zero-padded to a multiple of 32
  and the outputs are cropped.

  Attributes:
    classes: number of scores per voxel.
    width: channels of the finest branch, 18, 32 or 48; each next one has twice as many.
    ocr_width: of keys and values of the attention; RITM's are 64 for 18, 128 for 32.
    blocks: residual blocks of a branch in a module, and bottlenecks of the first stage; RITM's
      "small" has 2.
    modules: of the stages of two, three and four branches; the small one's (1, 3, 2).
    stem: channels of the stem's convolutions and, times four, of the first stage.
    prompt_channels: how many of the input's last channels are prompts: these take a way of their
      own, and are added to the stem's features (RITM's Conv1S); 0 is plain HRNet.
    dropout: rate of channels after the attention.
    norm: "batch", "instance", "group" or "none".
    dtype: compute dtype, "float32" or "bfloat16"; parameters and statistics stay float32.

  10,032,019 parameters at width 18 from three colours and three prompt channels to one score, as
  RITM's `HRNet18 3p`; 30,951,363 at width 32 and ocr_width 128.
  Source: Wang et al., "Deep high-resolution representation learning", arXiv 1908.07919; Yuan et
  al., "Object-contextual representations", arXiv 1909.11065; Sofiiuk et al., "Reviving iterative
  training with mask guidance", arXiv 2102.06583.
  """

  classes: int = 2
  width: int = 18
  ocr_width: int = 64
  blocks: int = 4
  modules: Sequence[int] = (1, 4, 3)
  stem: int = 64
  prompt_channels: int = 0
  dropout: float = 0.05
  norm: str = "batch"
  dtype: str = "float32"

  def __post_init__(self):
    choice(self.norm, NORMS, "hrnet_ocr: norm")
    choice(self.dtype, ("float32", "bfloat16"), "hrnet_ocr: dtype")
    if len(self.modules) != 3:
      raise ValueError(
        f"hrnet_ocr: modules={tuple(self.modules)}; expected three numbers, of the stages of two, "
        "three and four branches."
      )
    super().__post_init__()

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the coarsest branch, per axis."""
    return (32,) * rank

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    rank, space, channels = x.ndim - 2, x.shape[1:-1], x.shape[-1] - self.prompt_channels
    need_rank(rank, (2, 3), "hrnet_ocr")
    if channels < 1:
      raise ValueError(
        f"hrnet_ocr: prompt_channels={self.prompt_channels}, but its input has {x.shape[-1]} "
        "channels; expected fewer, the image's before them: config.method.prompts says how many."
      )
    x = pad_to_multiple(x.astype(self.dtype), self.total_stride(rank))
    whole = x.shape[1:-1]
    options = {"norm": self.norm, "dtype": self.dtype}
    stem = Layer(self.stem, 3, 2, activation="none", **options, name="stem1")(x[..., :channels])
    stem = jax.nn.relu(stem)
    if self.prompt_channels:
      stem += PromptStem(self.stem, self.dtype, name="prompts")(x[..., channels:])
    x = Layer(self.stem, 3, 2, **options, name="stem2")(stem)
    for i in range(self.blocks):
      x = Bottleneck(self.stem, **options, name=f"stage1_block{i + 1}")(x)

    branches = [x]
    for stage, number in enumerate(self.modules, start=2):
      widths = [self.width * 2**i for i in range(stage)]
      branches = self._transition(branches, widths, f"transition{stage}", options)
      for i in range(number):
        branches = Exchange(self.blocks, **options, name=f"stage{stage}_module{i + 1}")(branches)
    outputs = {"bottleneck": branches[-1]}
    finest = branches[0].shape[1:-1]
    x = jnp.concatenate([resize(of, finest, align_corners=True) for of in branches], -1)
    logits, areas, outputs["decoder"] = self._ocr(x, options)

    def full(scores):
      return crop_to(resize(scores.astype(jnp.float32), whole, align_corners=True), space)

    aux = {"aux": (full(areas),)} if train else {}
    return {**outputs, "logits": full(logits), **aux}

  def _transition(self, branches, widths, name, options):
    """The branches with these widths, a further one made of the coarsest."""
    made = []
    for i, width in enumerate(widths):
      new = i >= len(branches)
      x = branches[min(i, len(branches) - 1)]
      if new or x.shape[-1] != width:
        x = Layer(width, 3, 2 if new else 1, **options, name=f"{name}_branch{i + 1}")(x)
      made.append(x)
    return made

  def _ocr(self, x, options):
    """Features of all branches -> logits, those of the auxiliary head, the last features."""
    bias = {"use_bias": True, **options}
    areas = Layer(x.shape[-1], 1, **bias, name="aux_conv")(x)
    areas = Conv(self.classes, 1, dtype=self.dtype, name="aux_head")(areas)
    x = Layer(2 * self.ocr_width, 3, **bias, name="ocr_conv")(x)
    batch, flat = len(x), (len(x), -1, x.shape[-1])
    where = areas.astype(jnp.float32).reshape(batch, -1, self.classes)
    means = jnp.einsum("bnk,bnc->bkc", jax.nn.softmax(where, 1), x.reshape(flat))

    def twice(x, name):
      for i in (1, 2):
        x = Layer(self.ocr_width, 1, **options, name=f"{name}{i}")(x)
      return x

    query = twice(x, "query")
    keys = twice(means.astype(x.dtype), "key")
    values = Layer(self.ocr_width, 1, **options, name="value")(means.astype(x.dtype))
    likeness = jnp.einsum("bnc,bkc->bnk", query.reshape(batch, -1, self.ocr_width), keys)
    share = jax.nn.softmax(likeness.astype(jnp.float32) * self.ocr_width**-0.5, -1)
    context = jnp.einsum("bnk,bkc->bnc", share.astype(x.dtype), values)
    context = context.reshape(*x.shape[:-1], self.ocr_width)
    context = Layer(x.shape[-1], 1, **options, name="context")(context)
    joint = jnp.concatenate([context, x], -1)
    x = Layer(x.shape[-1], 1, **options, name="join")(joint)
    x = Dropout(self.dropout, spatial=True, name="dropout")(x)
    return Conv(self.classes, 1, dtype=self.dtype, name="head")(x), areas, x


class Layer(nn.Module):
  """Convolution, norm, activation: (b, *space, in) -> (b, *ceil(space / stride), features)."""

  features: int
  kernel: int = 3
  stride: int = 1
  activation: str = "relu"
  use_bias: bool = False
  norm: str = "batch"
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    options = {"use_bias": self.use_bias, "dtype": self.dtype, "name": "conv"}
    x = Conv(self.features, self.kernel, self.stride, **options)(x)
    x = Norm(self.norm, dtype=self.dtype, name="norm")(x)
    return x if self.activation == "none" else Activation(self.activation, name="activation")(x)


class PromptStem(nn.Module):
  """RITM's Conv1S: prompts as features at half the resolution, small at the beginning."""

  features: int
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    x = Conv(16, 1, dtype=self.dtype, name="conv1")(x)
    x = Activation("leaky_relu", 0.2, name="activation")(x)
    x = Conv(self.features, 3, 2, dtype=self.dtype, name="conv2")(x)
    scale = self.param("scale", nn.initializers.constant(0.05), (1,), jnp.float32)
    return x * scale.astype(x.dtype).reshape((1,) * x.ndim)


class Bottleneck(nn.Module):
  """ResNet's block of 1x1, 3x3, 1x1 convolutions: (b, *space, c) -> (b, *space, 4 features)."""

  features: int
  norm: str = "batch"
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    options, wide = {"norm": self.norm, "dtype": self.dtype}, 4 * self.features
    y = Layer(self.features, 1, **options, name="layer1")(x)
    y = Layer(self.features, 3, **options, name="layer2")(y)
    y = Layer(wide, 1, activation="none", **options, name="layer3")(y)
    if x.shape[-1] != wide:
      x = Layer(wide, 1, activation="none", **options, name="shortcut")(x)
    return jax.nn.relu(x + y)


class Exchange(nn.Module):
  """A module of HRNet: residual blocks in each branch, then every branch gets the sum of all."""

  blocks: int
  norm: str = "batch"
  dtype: Any = None

  @nn.compact
  def __call__(self, branches):
    options = {"norm": self.norm, "dtype": self.dtype}
    own = []
    for i, x in enumerate(branches, start=1):
      for k in range(self.blocks):
        name = f"branch{i}_block{k + 1}"
        y = Layer(x.shape[-1], 3, **options, name=f"{name}_layer1")(x)
        y = Layer(x.shape[-1], 3, activation="none", **options, name=f"{name}_layer2")(y)
        x = jax.nn.relu(x + y)
      own.append(x)
    return [jax.nn.relu(self._sum(own, i, options)) for i in range(len(own))]

  def _sum(self, branches, to, options):
    total, width = branches[to], branches[to].shape[-1]
    for i, x in enumerate(branches):
      name = f"from{i + 1}_to{to + 1}"
      if i > to:
        x = Layer(width, 1, activation="none", **options, name=name)(x)
        total += resize(x, total.shape[1:-1], align_corners=True)
      for k in range(to - i):
        last = k == to - i - 1
        how = {"activation": "none" if last else "relu", **options}
        x = Layer(width if last else x.shape[-1], 3, 2, **how, name=f"{name}_{k + 1}")(x)
      if i < to:
        total += x
    return total
