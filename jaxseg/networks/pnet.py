"""P-Net, DeepIGeoS' and BIFSeg's network: dilated convolutions at the image's own resolution."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import ACTIVATIONS, Activation, Conv, Dropout, choice, need_rank
from jaxseg.networks.blocks.options import per_stage


class PNet(nn.Module):
  """P-Net: five blocks of dilated convolutions, what all of them gave side by side, and a head.

      2 x conv, dilation 1 -> 2 x, 2 -> 3 x, 4 -> 3 x, 8 -> 3 x, 16
             |                 |          |         |          |
             +--------------- concatenation ------------------+ -> 1x1 -> 1x1 -> logits

  Shapes: (b, *space, channels) -> {"logits": (b, *space, classes) float32, "decoder": features
  before the last convolution}. Any size. R-Net is the same network with more channels of input.

  Attributes:
    classes: number of scores per voxel.
    features: channels of every convolution, the papers' 64 in 2D and 16 in 3D.
    depth: convolutions of each block.
    dilations: of the blocks.
    compress: each block's features are concatenated as a share of 1 / compress of them, by a 1x1
      convolution; 4 in 3D, 1 is without.
    dropout: rate before each convolution of the head.
    activation: "relu" or another name.
    dtype: compute dtype, "float32" or "bfloat16"; parameters stay float32.

  464,450 parameters at 1 channel and 2 classes in 2D: 13 convolutions, a head of 64.
  Source: Wang et al., "DeepIGeoS", arXiv 1707.00652, and "BIFSeg", arXiv 1710.04043, whose two
  differ in their heads; its conditional random field is left out.
  """

  classes: int = 3
  features: int = 64
  depth: int | Sequence[int] = (2, 2, 3, 3, 3)
  dilations: Sequence[int] = (1, 2, 4, 8, 16)
  compress: int = 1
  dropout: float = 0.5
  activation: str = "relu"
  dtype: str = "float32"

  def __post_init__(self):
    per_stage(self.depth, len(self.dilations), "pnet: depth")
    choice(self.activation, ACTIVATIONS, "pnet: activation")
    choice(self.dtype, ("float32", "bfloat16"), "pnet: dtype")
    if self.features % self.compress:
      raise ValueError(
        f"pnet: compress={self.compress} does not divide the {self.features} features."
      )
    super().__post_init__()

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the features: one."""
    return (1,) * rank

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    del train
    need_rank(x.ndim - 2, (1, 2, 3), "pnet")
    x = x.astype(self.dtype)

    def conv(x, features, kernel, name, dilation=1):
      x = Conv(features, kernel, dilation=dilation, dtype=self.dtype, name=name)(x)
      return Activation(self.activation, name=f"{name}_activation")(x)

    depth, parts = per_stage(self.depth, len(self.dilations), "pnet: depth"), []
    for i, (number, dilation) in enumerate(zip(depth, self.dilations, strict=True)):
      for k in range(number):
        x = conv(x, self.features, 3, f"block{i + 1}_conv{k + 1}", dilation)
      share = self.features // self.compress
      parts.append(x if self.compress == 1 else conv(x, share, 1, f"block{i + 1}_compress"))
    x = Dropout(self.dropout, name="dropout1")(jnp.concatenate(parts, -1))
    features = conv(x, self.features, 1, "head_conv")
    x = Dropout(self.dropout, name="dropout2")(features)
    logits = Conv(self.classes, 1, dtype=self.dtype, name="head")(x)
    return {"logits": logits.astype(jnp.float32), "decoder": features}
