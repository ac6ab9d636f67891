"""Attention U-Net: a gate on every skip."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxseg.networks.blocks import ConvNormAct, choice
from jaxseg.networks.blocks.options import named
from jaxseg.networks.parts import SKIPS
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
  `unet_grid_attention_3D` of ozan-oktay/Attention-Gated-Networks and MONAI's `AttentionUnet` are a
  matter of options, tests/published_options.py.

  - gating: what skips that gate by coarse features (`grid_gate`) get: "decoder", those one stage
    below; "centre", one signal for all, a 1x1 convolution, norm and activation of the bottleneck
    with the width of the stage above.

  Source: Oktay et al., arXiv 1804.03999; equals `AttU_Net(3, 1)` of LeeJunHyun's
  Image_Segmentation, 34,878,573 parameters for 3 channels and 1 class.
  """

  widths: Sequence[int] = (64, 128, 256, 512, 1024)
  skip: str | Mapping[str, Any] | Sequence[Any] = "attention_gate"
  up: str | Mapping[str, Any] = "nearest"
  bias: bool | Mapping[str, Any] = True
  gating: str = "decoder"

  def __post_init__(self):
    choice(self.gating, ("decoder", "centre"), "attention_unet: gating")
    skips = [SKIPS.get(named(skip)["name"]) for skip in self._skips()]
    if self.gating != "decoder" and not any(getattr(s, "takes_gating", not s) for s in skips):
      raise ValueError(
        f"attention_unet: gating='{self.gating}' is for skips that gate by coarse features, but "
        f"skip={self.skip!r}; choose skip='grid_gate', or leave one of them out."
      )
    super().__post_init__()

  def _gating(self, x, rank):
    if self.gating == "decoder":
      return None
    options = self._layer_options(len(self.widths) - 2, rank, "encoder")
    return ConvNormAct(self.widths[-2], **{**options, "kernel": 1}, name="gating")(x)
