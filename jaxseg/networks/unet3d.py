"""3D U-Net."""

from collections.abc import Sequence

from jaxseg.networks.unet2015 import UNet2015


class UNet3D(UNet2015):
  """3D U-Net: channels double inside a stage, before its pooling, and up-convolutions keep them.

  Contracting path in -> 32 -> 64, 64 -> 64 -> 128, 128 -> 128 -> 256, bottom 256 -> 256 -> 512;
  expanding path: 2x2x2 up-convolution without bias (512, 256, 128 channels), joined with the
  skip's 256, 128, 64, then two convolutions of 256, 128, 64. Batch norm before each ReLU.
  "Three down-samplings" are four resolutions. Valid: 132 x 132 x 116 -> 44 x 44 x 28, 44 voxels
  lost per side. Shapes, options and errors are `UNet2015`'s: anisotropic volumes take
  `strides=((1, 2, 2), 2, 2)`; images work too.

  The paper's 19,069,955 parameters do not count scale and bias of the batch norms.
  pytorch-3dunet's `UNet3D` is `padding="same"`, `up="nearest"`, `norm="group"`,
  `norm_first=True`, `conv_bias=False`.

  Slices without annotation are voxels of weight 0 in the batch, not a matter of the network.
  Source: Cicek et al., arXiv 1606.06650.
  """

  widths: Sequence[int] = (64, 128, 256, 512)
  doubling: str = "last"
  up: str = "keep"
  norm: str = "batch"
  dropout: float = 0.0
  up_bias: bool = False
