"""SynSeg-Net's segmenter: CycleGAN's ResNet with classes for its channels."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import need_rank
from jaxseg.networks.generators.resnet_generator import check, translate


class ResnetSegmenter(nn.Module):
  """The layers of `ResnetGenerator`, its last convolution giving logits.

  SynSeg-Net's code has the generator's tanh there, too, which keeps logits within [-1, 1] and a
  probability of seven classes below 0.56; it is left out.

  Shapes: (b, *space, channels) -> {"logits": (b, *space, classes) float32, "bottleneck": the
  coarsest features}; sizes as of `ResnetGenerator`.

  Attributes:
    classes: number of scores per voxel.
    widths, blocks, norm, dropout, dtype: as of `ResnetGenerator`.

  11,384,455 parameters from 1 channel to 7 classes. Source: Huo et al., arXiv 1810.06498.
  """

  classes: int = 3
  widths: Sequence[int] = (64, 128, 256)
  blocks: int = 9
  norm: str = "instance"
  dropout: float = 0.0
  dtype: str = "float32"

  def __post_init__(self):
    check("resnet_segmenter", self.widths, self.blocks)
    if self.classes < 1:
      raise ValueError(f"resnet_segmenter: classes={self.classes}; expected at least one.")
    super().__post_init__()

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the coarsest features, per axis."""
    return (2 ** (len(self.widths) - 1),) * rank

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: none."""
    return (0,) * rank

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    del train
    need_rank(x.ndim - 2, (2, 3), "resnet_segmenter")
    options = {"widths": self.widths, "blocks": self.blocks, "norm": self.norm}
    options |= {"dropout": self.dropout, "dtype": self.dtype}
    logits, bottleneck = translate(x, self.classes, **options)
    return {"logits": logits.astype(jnp.float32), "bottleneck": bottleneck}
