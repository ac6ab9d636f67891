"""3D DenseUNet-65, the 3D part of H-DenseUNet."""

from collections.abc import Sequence

from jaxseg.networks.dense_unet161 import DenseUNet161


class DenseUNet3D(DenseUNet161):
  """3D DenseUNet-65: `DenseUNet161` thinner, in 3D, with slices kept apart by the transitions.

      stride 2, 2, 2    7x7x7 stem, 96                              up, conv 64 - 1x1x1
      stride 4, 4, 4    max-pool, dense block of 3, 192             up, conv 96
      stride 4, 8, 8    transition, dense block of 4, 224           up, conv 192
      stride 4, 16, 16  transition, dense block of 12, 496          up, conv 224
      stride 4, 32, 32  transition, dense block of 8, 504 --------- up, conv 504

  Growth 32. The released code has no skips: in H-DenseUNet the 2D scores bring the detail. With
  `skips=True` each is summed after a 1x1x1 convolution to the decoder's width.

  Shapes: (b, z, y, x, channels) -> as `DenseUNet161`. Stand-alone, or in `h_denseunet`, where its
  channels are the volume's and the 2D part's scores. All options are those of `DenseUNet161`;
  15,977,467 parameters for 4 channels, 16,001,995 with `scale_layers`.

  Raises ValueError for images, unless transition_stride=2 keeps no axis apart.
  Source: Li et al., arXiv 1709.07330.
  """

  blocks: Sequence[int] = (3, 4, 12, 8)
  growth: int = 32
  widths: Sequence[int] = (64, 96, 192, 224, 504)
  transition_stride: int | Sequence[int] = (1, 2, 2)
  skips: bool = False
  dropout: float = 0.0

  def _name(self) -> str:
    return "dense_unet3d"

  def _strides(self, rank: int) -> list[tuple[int, ...]]:
    if self.transition_stride == type(self).transition_stride and rank != 3:
      raise ValueError(
        f"dense_unet3d: an input with {rank} spatial axes, but the default transition_stride="
        f"{self.transition_stride} is for volumes (batch, z, y, x, channels); give "
        "transition_stride=2 for others."
      )
    return super()._strides(rank)
