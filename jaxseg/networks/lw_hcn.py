"""Light-weight hybrid convolutional network (LW-HCN)."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxseg.networks.blocks import need_rank
from jaxseg.networks.unet import UNet


class LWHCN(UNet):
  """LW-HCN: one encoder-decoder, 2D at the shallow levels of the encoder and 3D elsewhere.

  - the first `flat_levels` encoder levels: plain 1x3x3 convolutions, pooling 1x2x2 below them, so
    that z keeps its resolution where the volume is largest;
  - the deeper encoder levels and the whole decoder: 3x3x3 convolutions, each factorised as DSTS
    (depthwise 1x3x3, depthwise 3x1x1, pointwise), pooling 2x2x2.

  Shapes: volumes only, z being the axis across the slices: (b, z, y, x, channels) -> {"logits":
  (b, z, y, x, classes) float32, "bottleneck": features of the coarsest level, at stride 4, 16, 16
  by default, "decoder": (b, z, y, x, widths[0])}, and in training, with `deep_supervision`, "aux".
  Any size works. Everything else is `UNet`'s: the other options and the errors.

  Attributes:
    flat_levels: number of encoder levels that are 2D, from the finest.
    widths: channels of each level: what makes the network light or heavy.
    conv: of the 3D levels: "dsts", or "plain" for dense 3D convolutions.
    kernels, strides: of the 3D levels as in `UNet`; flat levels take 1 along z.

  Raises ValueError for images, for more flat levels than there are, and as `UNet`.
  Source: Zhang et al., "Light-Weight Hybrid Convolutional Network for Liver Tumor Segmentation",
  IJCAI 2019, doi 10.24963/ijcai.2019/593 (not on arXiv). Its code and widths are not
  public: five levels from 32 channels, two of them 2D, are this reading of it.
  """

  widths: Sequence[int] = (32, 64, 128, 256, 512)
  conv: str | Mapping[str, Any] = "dsts"
  flat_levels: int = 2

  def __post_init__(self):
    if not 0 <= self.flat_levels <= len(self.widths):
      raise ValueError(
        f"lw_hcn: flat_levels={self.flat_levels}; expected 0 to {len(self.widths)}, one for each "
        "of the widths at most."
      )
    super().__post_init__()

  def _strides(self, rank):
    need_rank(rank, (3,), "lw_hcn")
    strides = super()._strides(rank)
    return [(1, *s[1:]) if i < self.flat_levels else s for i, s in enumerate(strides)]

  def _layer_options(self, i, rank, side):
    options = super()._layer_options(i, rank, side)
    if side == "encoder" and i < self.flat_levels:
      return {**options, "kernel": (1, *options["kernel"][1:]), "conv": "plain"}
    return options
