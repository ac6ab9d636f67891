"""The Attention U-Net of the paper's authors: grid gates and joined deep supervision."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import (
  ACTIVATIONS,
  NORMS,
  Conv,
  ConvNormAct,
  Stage,
  choice,
  crop_to,
  linear_up,
  max_pool,
  pad_to_multiple,
)
from jaxseg.networks.blocks.attention_gate import GridAttentionGate

GATES = {"none": 0, "single": 1, "multi": 2}


class AttentionUNetDSV(nn.Module):
  """U-Net with grid attention gates on all skips but the first, and heads at every resolution.

      x1 ----------------------------- [x1, up] ---- decoder1 --- 1x1 ----------.
      x2 -- gate(s), 1x1 -- [x2 alpha, up] -- decoder2 --- 1x1, up 2 ---------- 1x1 -> logits
      x3 -- gate(s), 1x1 ------ ...  gating signal: the decoder one stage below /
      x4 -- gate(s), 1x1 ------ ...  gating signal: 1x1 of the bottleneck

  The class scores of all decoder stages are interpolated to full size and joined by a 1x1
  convolution, so that every stage is supervised through one output. Up-sampling is interpolation
  alone.

  Shapes: (b, *space, channels) -> {"logits": (b, *space, classes) float32, "attention2",
  "attention3", ...: the maps (b, *ceil(space / stride), gates per skip), "bottleneck", "decoder"}.
  Any size works: the input is zero-padded to a multiple of `total_stride`.

  Attributes:
    classes: number of scores per voxel.
    gates: "single", "multi" (two side by side) or "none" per skip.
    widths: channels per stage, finest first.
    psi_bias: where the gates' last bias starts (3: nearly open; 0: the original).
    norm, norm_groups, activation, dtype: as `UNet`'s.

  Source: Oktay et al., arXiv 1804.03999; Schlemper et al., arXiv 1808.08114; equals
  `unet_CT_{single_att_,multi_att_,}dsv_3D` of ozan-oktay/Attention-Gated-Networks: 6,214,151,
  6,473,322 and 5,888,004 parameters in 3D for 1 channel and 4 classes.
  """

  classes: int = 3
  gates: str = "single"
  widths: Sequence[int] = (16, 32, 64, 128, 256)
  psi_bias: float = 0.0
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu"
  dtype: str = "float32"

  def __post_init__(self):
    if len(self.widths) < 3 or min(self.widths) < 1 or self.classes < 1:
      raise ValueError(
        f"attention_unet_dsv: classes={self.classes} and widths={tuple(self.widths)}; expected at "
        "least one class and three stages of at least one channel."
      )
    choice(self.gates, GATES, "attention_unet_dsv: gates")
    choice(self.norm, NORMS, "attention_unet_dsv: norm")
    choice(self.activation, ACTIVATIONS, "attention_unet_dsv: activation")
    choice(self.dtype, ("float32", "bfloat16"), "attention_unet_dsv: dtype")
    super().__post_init__()

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the bottleneck, per axis."""
    return (2 ** (len(self.widths) - 1),) * rank

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    rank, space, stages = x.ndim - 2, x.shape[1:-1], len(self.widths)
    x = pad_to_multiple(x.astype(self.dtype), self.total_stride(rank))
    options = {"norm": self.norm, "norm_groups": self.norm_groups}
    options |= {"activation": self.activation, "dtype": self.dtype}

    def stage(name, width, x):
      return Stage(width, use_bias=True, name=name, **options)(x)

    skips = []
    for i, width in enumerate(self.widths[:-1]):
      skips.append(stage(f"encoder{i + 1}", width, x))
      x = max_pool(skips[-1])
    x = gating = stage("bottleneck", self.widths[-1], x)
    outputs = {"bottleneck": x}
    number = GATES[self.gates]
    if number:
      gating = ConvNormAct(self.widths[-1], 1, use_bias=True, name="gating", **options)(x)

    scores = []
    for i in reversed(range(stages - 1)):
      up = linear_up(x)
      if i > 0 and number:
        gate = GridAttentionGate(
          number, combine=True, psi_bias=self.psi_bias, name=f"skip{i + 1}", **options
        )
        joined, attended = gate(skips[i], up, gating)
        size = [math.ceil(n / 2**i) for n in space]
        outputs[f"attention{i + 1}"] = crop_to(attended, size)
      else:
        joined = jnp.concatenate([skips[i], up], -1)
      x = gating = stage(f"decoder{i + 1}", self.widths[i], joined)
      score = Conv(self.classes, 1, dtype=self.dtype, name=f"dsv{i + 1}")(x)
      scores.insert(0, crop_to(linear_up(score, stride=2**i), space))
    outputs["decoder"] = crop_to(x, space)
    logits = Conv(self.classes, 1, dtype=self.dtype, name="head")(jnp.concatenate(scores, -1))
    return {**outputs, "logits": logits.astype(jnp.float32)}
