"""deepbrain's U-Net: a small network that finds the brain in a head."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import (
  Conv,
  ConvNormAct,
  Dropout,
  crop_to,
  max_pool,
  need_rank,
  pad_to_multiple,
)
from jaxseg.networks.blocks.transposed import TransposedConv


class DeepBrain(nn.Module):
  """A U-Net without a bottleneck: each stage is pooled, the last one, too.

      2 convolutions 8 ------------------- [up 8, skip] -> convolution 8 -> 1x1 -> logits
        pooling, 2 convolutions 16 ------- [up 16, skip] -> convolution 16
          pooling, 2 convolutions 32 ----- [up 32, skip] -> convolution 32
            pooling -----------------------^

  Shapes: (b, *space, channels) -> {"logits": (b, *space, classes) float32, "bottleneck": the pooled
  features of the coarsest stage, "decoder": features before the head}. Any size works: the input is
  zero-padded to a multiple of `total_stride` and the outputs are cropped.

  Attributes:
    classes: number of scores per voxel.
    widths: channels of each stage, finest first.
    dropout: rate after each pooling and each of the decoder's convolutions.
    dtype: compute dtype, "float32" or "bfloat16".

  171,465 parameters at 1 channel and 1 class in 3D. Source: deepbrain 0.1 (MIT), of I. Itzcovich,
  whose weights are `interop.packages.PACKAGES["deepbrain"]`.
  """

  classes: int = 3
  widths: Sequence[int] = (8, 16, 32)
  dropout: float = 0.3
  dtype: str = "float32"

  def __post_init__(self):
    if not self.widths or min(self.widths) < 1 or self.classes < 1:
      raise ValueError(
        f"deepbrain: classes={self.classes} and widths={tuple(self.widths)}; expected at least one "
        "class and one stage of at least one channel."
      )
    super().__post_init__()

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the coarsest features, per axis."""
    return (2 ** len(self.widths),) * rank

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    rank, space = x.ndim - 2, x.shape[1:-1]
    need_rank(rank, (1, 2, 3), "deepbrain")
    x = pad_to_multiple(x.astype(self.dtype), self.total_stride(rank))
    options = {"norm": "none", "activation": "relu", "use_bias": True, "dtype": self.dtype}

    skips = []
    for i, width in enumerate(self.widths, start=1):
      for j in (1, 2):
        x = ConvNormAct(width, name=f"encoder{i}_layer{j}", **options)(x)
      skips.append(x)
      x = Dropout(self.dropout, name=f"encoder{i}_dropout")(max_pool(x))
    outputs = {"bottleneck": x}

    for i, width in reversed(list(enumerate(self.widths, start=1))):
      # as TensorFlow pads a kernel of 3: nothing at the start, one voxel less at the end
      up = {"padding": 0, "output_padding": -1, "use_bias": False, "dtype": self.dtype}
      x = TransposedConv(width, 3, 2, name=f"up{i}", **up)(x)
      x = jnp.concatenate([x, skips[i - 1]], -1)
      x = ConvNormAct(width, name=f"decoder{i}", **options)(x)
      x = Dropout(self.dropout, name=f"decoder{i}_dropout")(x)
    outputs["decoder"] = x = crop_to(x, space)
    logits = Conv(self.classes, 1, dtype=self.dtype, name="head")(x)
    return {**outputs, "logits": logits.astype(jnp.float32)}
