"""ScribblePrompt's U-Net: one convolution per level, without norms."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import (
  Activation,
  Conv,
  choice,
  crop_to,
  max_pool,
  need_rank,
  pad_to_multiple,
  resize,
)


class ScribbleUNet(nn.Module):
  """A U-Net of one 3x3 convolution with a shared PReLU per level, down, below and up.

  Shapes: (b, *space, channels) -> {"logits": (b, *space, classes) float32, "bottleneck": features
  of the coarsest level, "decoder": features before the last convolution}. Any size works: the input
  is zero-padded to a multiple of `total_stride` and the outputs are cropped.

  Attributes:
    classes: number of scores per voxel.
    widths: channels of each level that is pooled, finest first; below them a last one has those of
      the coarsest.
    dtype: compute dtype, "float32" or "bfloat16"; parameters stay float32.

  3,991,882 parameters from the paper's 5 channels (image, box, positive and negative marks, the
  logits before) to its one score.
  Source: Wong et al., "ScribblePrompt", arXiv 2312.07381.
  """

  classes: int = 2
  widths: Sequence[int] = (192, 192, 192, 192)
  dtype: str = "float32"

  def __post_init__(self):
    choice(self.dtype, ("float32", "bfloat16"), "scribble_unet: dtype")
    super().__post_init__()

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the coarsest level, per axis."""
    return (2 ** len(self.widths),) * rank

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    del train
    rank, space = x.ndim - 2, x.shape[1:-1]
    need_rank(rank, (1, 2, 3), "scribble_unet")
    x = pad_to_multiple(x.astype(self.dtype), self.total_stride(rank))

    def conv(x, features, name):
      x = Conv(features, 3, dtype=self.dtype, name=name)(x)
      return Activation("prelu_shared", name=f"{name}_activation")(x)

    skips = []
    for i, width in enumerate(self.widths):
      x = conv(x, width, f"encoder{i + 1}")
      skips.append(x)
      x = max_pool(x)
    x = bottleneck = conv(x, self.widths[-1], "bottleneck")
    for i, (width, skip) in reversed(list(enumerate(zip(self.widths, skips, strict=True)))):
      up = resize(x, skip.shape[1:-1], align_corners=True)
      x = conv(jnp.concatenate([skip, up], -1), width, f"decoder{i + 1}")
    x = crop_to(x, space)
    logits = Conv(self.classes, 1, dtype=self.dtype, name="head")(x)
    return {"logits": logits.astype(jnp.float32), "bottleneck": bottleneck, "decoder": x}
