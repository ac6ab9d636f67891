"""Hung's fully convolutional critic: one score for every voxel."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import resize
from jaxseg.networks.critics.convolution import check_size, convolution


class FullyConvolutionalCritic(nn.Module):
  """Scores how real a map of classes is at each voxel, (b, *space, c) -> {"score": (b, *space, 1)}.

  4x4 convolutions of stride 2 with bias, padded by one voxel and without norm, the last of them to
  one channel; that is interpolated linearly back to the image's grid. 21 classes have 2,783,169
  parameters. Scores are logits in float32, the features "stage1", "stage2", ...

  Source: Hung et al., arXiv 1802.07934, whose code's interpolation is without aligned corners here.

  Attributes:
    widths: channels of each stage; each halves the image, and the score halves it once more.
    spectral: kernels are divided by their largest singular value (1802.05957).
    slope: of the leaky ReLU.
    dtype: of the computation; None is the input's.
  """

  widths: Sequence[int] = (64, 128, 256, 512)
  spectral: bool = False
  slope: float = 0.2
  dtype: Any = None

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    del train
    outputs, side = {}, x.shape[1:-1]
    for number, width in enumerate((*self.widths, 1), start=1):
      check_size(x, side, "fully_convolutional_critic", self.widths)
      x = convolution(x, width, spectral=self.spectral, dtype=self.dtype)
      if number <= len(self.widths):
        outputs[f"stage{number}"] = x = jax.nn.leaky_relu(x, self.slope)
    return {"score": resize(x.astype(jnp.float32), side), **outputs}
