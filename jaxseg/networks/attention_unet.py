"""Attention U-Net: a gate on every skip."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxseg.networks.unet import UNet


class AttentionUNet(UNet):
  """U-Net whose skips pass an additive attention gate, asked by the up-sampled decoder.

      x1 --------------------------- gate --- [x1 alpha, up] - decoder1 - head
       \\ pool                         |        /
        x2 -------------- gate - [..] - up ---
         \\ pool            |     /
          ...   bottleneck - up --

  Shapes, options and further outputs: as `UNet`; "attention1" (finest), ... are the coefficients
  alpha (b, *ceil(space / stride), 1) of each skip.

  `skip="grid_gate"` is the original paper's gate, on the gating signal's coarse grid. Both have
  options, `skip=dict(name="attention_gate", inter=8, psi_bias=3.0)`, and each skip may have its
  own: `skip=("concat", "grid_gate", "grid_gate", "grid_gate")` leaves the first ungated, as the
  paper does. The paper's own network with deep supervision is `attention_unet_dsv`.
  `unet_grid_attention_3D` of ozan-oktay/Attention-Gated-Networks, whose gates all get one signal
  from the centre, is that skip with `dict(name="grid_gate", sub_sample=2)`, `gating="centre"`,
  `widths=(16, 32, 64, 128, 256)`, `kernels=((1, 3, 3),) * 5`, `strides=((1, 2, 2),) * 4`,
  `up="transpose"`, `up_kernels=((1, 4, 4),) * 4`: 2,722,535 parameters for 1 channel and 4 classes.

  MONAI's `AttentionUnet(3, 1, 2, (16, 32, 64, 128), (2, 2, 2))`, 1,466,566 parameters, is
  `widths=(16, 32, 64, 128)`, `down="stride"`, `up="transpose"`, `up_kernels=3`, `up_norm=True`,
  `decoder_depth=1`, `encoder_block="plain"`, `block=dict(name="plain", norm="instance",
  affine=False, activation="prelu_shared")`.

  Source: Oktay et al., arXiv 1804.03999; equals `AttU_Net(3, 1)` of LeeJunHyun's
  Image_Segmentation, 34,878,573 parameters for 3 channels and 1 class.
  """

  widths: Sequence[int] = (64, 128, 256, 512, 1024)
  skip: str | Mapping[str, Any] | Sequence[Any] = "attention_gate"
  up: str = "nearest"
  conv_bias: bool = True
  head_bias: bool = True
