"""nnU-Net's plain U-Net, in 2D and 3D."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxseg.networks.unet import UNet


class PlainConvUNet(UNet):
  """nnU-Net's `PlainConvUNet`: strided down, transposed up, instance norm, heads at every level.

      2 conv 32 ------------------------ joined -> 2 conv 32  -> 1x1 -> logits
        2 conv 64, the first strided --- joined -> 2 conv 64  -> 1x1 -> aux[0]
          ...                                       ...
            2 conv 320 ----------------- joined -> 2 conv 320 -> 1x1 -> aux[3]
              2 conv 320

  conv: 3x3x3 with bias, instance norm (epsilon 1e-5), leaky ReLU (0.01); each stage starts with its
  stride, each step up is a transposed convolution with kernel = stride. Shapes, options and errors
  as `UNet`, of which only the defaults differ:

  - widths: 32 x 2^i, at most 320 in 3D (the default) and 512 in 2D, there usually
    `widths=(32, 64, 128, 256, 512, 512, 512)`.
  - kernels, strides: of nnU-Net's plan; a stage that leaves a coarse axis alone has
    `kernels=((1, 3, 3), 3, ...)`, `strides=((1, 2, 2), 2, ...)`.
  - deep_supervision: number of auxiliary heads; None for one at every decoder stage below the
    finest, all that nnU-Net has (its loss gives the coarsest weight 0).

  The parameters equal those of `PlainConvUNet` in dynamic_network_architectures 0.4.4, all of its
  heads counted: 5,603,177 for the 3D plan of MSD hippocampus (1 channel, 3 classes). That one joins
  [up-sampled, skip], we [skip, up-sampled].
  Source: Isensee et al., Nature Methods 18 (2021), arXiv 1904.08128.
  """

  widths: Sequence[int] = (32, 64, 128, 256, 320, 320)
  strides: int | Sequence[Any] = 2
  norm: str | Mapping[str, Any] = "instance"
  activation: str = "leaky_relu"
  down: str = "stride"
  up: str | Mapping[str, Any] = "transpose"
  bias: bool | Mapping[str, Any] = True
  deep_supervision: int | None = None

  def __post_init__(self):
    if self.deep_supervision is None:
      self.deep_supervision = max(0, len(self.widths) - 2)
    super().__post_init__()
