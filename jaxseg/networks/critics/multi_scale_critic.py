"""SegAN's critic: it gives no score, its features at several scales are what is compared."""

from collections.abc import Sequence
from typing import Any

import jax
from flax import linen as nn

from jaxseg.networks.blocks import Norm, per_stage
from jaxseg.networks.critics.convolution import check_size, convolution


class MultiScaleCritic(nn.Module):
  """Features of a masked image at several scales: (b, *space, channels) -> {"input", "stage1"}.

  Convolutions of stride 2 without bias, all but the first with batch norm, each with a leaky ReLU.
  "input" is the masked image itself, the first scale. Three channels have 9,393,088 parameters,
  and 128x128 pixels 550,912 features. SegAN's code makes and never uses further convolutions
  (60,182,720 parameters in all); they are left out.

  Source: Xue et al., SegAN, arXiv 1706.01805.

  Attributes:
    widths: channels of each stage.
    kernels: size of each stage's convolution, one for all or one per stage.
    norm: "batch", "instance", "group" or "none".
    spectral: kernels are divided by their largest singular value (1802.05957).
    slope: of the leaky ReLU.
    dtype: of the computation; None is the input's.
  """

  widths: Sequence[int] = (64, 128, 256, 512, 512, 512)
  kernels: int | Sequence[int] = (7, 5, 4, 4, 4, 3)
  norm: str = "batch"
  spectral: bool = False
  slope: float = 0.2
  dtype: Any = None

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    del train
    kernels = per_stage(self.kernels, len(self.widths), "multi_scale_critic: kernels")
    outputs, side = {"input": x}, x.shape[1:-1]
    for number, (width, kernel) in enumerate(zip(self.widths, kernels, strict=True), start=1):
      # half of n voxels, rounded down for even kernels and up for odd ones
      check_size(x, side, "multi_scale_critic", self.widths, smallest=2 - kernel % 2)
      x = convolution(
        x,
        width,
        kernel=kernel,
        padding=(kernel - 1) // 2,
        use_bias=False,
        spectral=self.spectral,
        dtype=self.dtype,
      )
      if number > 1:
        x = Norm(self.norm, dtype=self.dtype)(x)
      outputs[f"stage{number}"] = x = jax.nn.leaky_relu(x, self.slope)
    return outputs
