"""R2U-Net: a U-Net of recurrent residual blocks, in 2D and 3D."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxseg.networks.unet import UNet


class R2UNet(UNet):
  """R2U-Net: every stage is an RRCNN block, whose convolutions are applied t + 1 times.

      RRCNN block 64  ----------------------------- concatenated -> RRCNN block 64 -> 1x1
        max-pool                                                       nearest x2, conv, BN, ReLU
        RRCNN block 128  ----------------------- concatenated -> RRCNN block 128
          ... 256, 512                                              ...
              RRCNN block 1024

  Shapes, options and errors as `UNet`, of which only the defaults differ. Weights are shared over
  the steps, so that the number of parameters does not depend on t.

  - steps: `block=dict(name="recurrent", t=3)`; t=2 by default, t=0 is an ordinary convolution.
  - without the addition around each block (RU-Net): `residual=False`.
  - with attention gates at the skips (R2AttU-Net): `skip="attention_gate"`.
  - the plain U-Net of the same topology: `block="plain", residual=False`.

  Source: Alom et al., arXiv 1802.06955; widths, biases and the up path are those of the widely used
  code LeeJunHyun/Image_Segmentation.
  """

  widths: Sequence[int] = (64, 128, 256, 512, 1024)
  residual: bool = True
  block: str | Mapping[str, Any] = "recurrent"
  up: str | Mapping[str, Any] = "nearest"
  bias: bool | Mapping[str, Any] = True
