"""nnU-Net's U-Net with a residual encoder, in 2D and 3D."""

from collections.abc import Mapping, Sequence
from typing import Any

from flax.core import FrozenDict

from jaxseg.networks.blocks import ConvNormAct, per_stage
from jaxseg.networks.plain_conv_unet import PlainConvUNet


class ResEncUNet(PlainConvUNet):
  """nnU-Net's `ResidualEncoderUNet`: a stem and residual stages down, one convolution a stage up.

      stem 32, 1 block 32 ---------------------- joined -> conv 32  -> 1x1 -> logits
        3 blocks 64, the first strided --------- joined -> conv 64  -> 1x1 -> aux[0]
          4 blocks 128 ------------------------- joined -> conv 128 -> 1x1 -> aux[1]
            6 blocks 256, 6 of 320 ...                      ...

  block: act(norm(conv(act(norm(conv(x))))) + shortcut(x)); where it strides, the shortcut averages,
  and where the width changes it has a 1x1 convolution and norm (ResNet-D). The last norm of a block
  starts with scale 0. Shapes, options and errors as `PlainConvUNet`, and:

  - block: of each side, `dict(encoder=dict(name="residual", kind="bottleneck"))`.
  - stochastic_depth: rate of the coarsest stage's blocks; the finer ones have proportionally less.
  - depth: blocks of each encoder stage; None for nnU-Net's 1, 3, 4, 6, 6, 6, ...

  nnU-Net's presets M, L and XL differ in patch and batch (and so in the number of stages), not in
  the architecture. The parameters equal those of `ResidualEncoderUNet` in
  dynamic_network_architectures 0.4.4, all of its heads counted: 25,895,593 for the 3D M plan of MSD
  hippocampus (1 channel, 3 classes).
  Source: Isensee et al., "nnU-Net Revisited", arXiv 2404.09556.
  """

  depth: int | Sequence[int] | None = None
  decoder_depth: int | Sequence[int] = 1
  block: str | Mapping[str, Any] = FrozenDict(encoder="residual")

  def __post_init__(self):
    if self.depth is None:
      stages = len(self.widths)
      self.depth = ((1, 3, 4) + (6,) * stages)[:stages]
    super().__post_init__()

  def _stage(self, i, side, depth, number, rank, stride=1):
    if side == "decoder":
      return super()._stage(i, side, depth, number, rank, stride)
    rate = self.stochastic_depth * (i + 1) / number
    depth = per_stage(depth, number, "resenc_unet: depth")[i]
    stage = self._blocks(i, side, depth, rank, stride=stride, stochastic_depth=rate)
    if i > 0:
      return stage
    stem = ConvNormAct(self.widths[0], name="stem", **self._layer_options(i, rank, side))
    return lambda x: stage(stem(x))
