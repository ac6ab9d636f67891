"""MultiResUNet, in 2D and 3D."""

from collections.abc import Mapping, Sequence
from typing import Any

from flax import linen as nn

from jaxseg.networks.blocks import Norm
from jaxseg.networks.groups import bias_of, norm_of
from jaxseg.networks.unet import UNet


class MultiResUNet(UNet):
  """MultiResUNet: a U-Net of MultiRes blocks, its skips are ResPaths.

      MultiRes(32) --------- ResPath, 4 long --- MultiRes(32) - 1x1, norm
        max-pool MultiRes(64) -- ResPath, 3 --- MultiRes(64)   up: transposed convolution
          max-pool MultiRes(128) - ResPath, 2 - MultiRes(128)
            max-pool MultiRes(256) ResPath, 1 MultiRes(256)
              max-pool MultiRes(512)

  `widths` are the filters U of the corresponding U-Net; MultiRes(U) gives about 1.67 U channels
  (51, 105, 212, 426, 853). A ResPath is as long as there are stages below it, unless `skip` gives
  its length (`dict(name="respath", length=2)`), and U wide.

  Shapes, options and errors as `UNet`, of which this is one setting but for two things: the
  skips' lengths, and `head_norm`, the norm after the last 1x1 convolution that the paper's code
  has. The published PyTorch code gives one channel more than its number of classes;
  `classes` here means what it says.

  Source: Ibtehaz, Rahman, "MultiResUNet: Rethinking the U-Net architecture for multimodal
  biomedical image segmentation", arXiv 1902.04049.
  """

  widths: Sequence[int] = (32, 64, 128, 256, 512)
  block: str | Mapping[str, Any] = "multires"
  skip: str | Mapping[str, Any] | Sequence[Any] = "respath"
  up: str | Mapping[str, Any] = "transpose"
  bias: bool | Mapping[str, Any] = True
  head_norm: bool = True

  def __post_init__(self):
    if self.skip == "respath":
      lengths = range(len(self.widths) - 1, 0, -1)
      paths = [dict(name="respath", length=n, use_bias=bias_of(self.bias).conv) for n in lengths]
      object.__setattr__(self, "skip", tuple(paths))
    super().__post_init__()

  def _head(self, name):
    layers = [super()._head(name)]
    if self.head_norm:
      kind, groups = norm_of(self.norm, "multiresunet")
      layers.append(Norm(kind, groups, dtype=self.dtype, name=f"{name}_norm"))
    return nn.Sequential(layers)
