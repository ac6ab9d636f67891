"""DAN's critic: it sees a map of classes and the image it is of."""

from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import Dropout, adaptive_pool
from jaxseg.networks.critics.convolution import check_size, convolution, normalised


class TwoInputCritic(nn.Module):
  """Scores how good a segmentation of an image is: maps (b, *space, k), image (b, *space, c).

  Map and image go through a 4x4 convolution of stride 2 each, whose sum the others of stride 2
  follow; averages over a grid of `cells` go through one linear layer. With four classes, one
  channel and 2x2 cells these are 2,762,754 parameters. Gives {"score": (b, 1)} in float32, the
  difference of the linear layer's two outputs: its binary cross entropy is the cross entropy of
  the two. The features are "stage1", "stage2", ...

  Source: Zhang et al., Deep adversarial networks (MICCAI 2017), as in SSL4MIS, whose windows of
  7x7 leave out a border of the 16x16 features of 256x256 pixels; here the cells cover all.

  Attributes:
    widths: channels of each stage; each halves the image.
    cells: along each axis of the last features.
    dropout: rate at which whole channels are dropped after every stage but the last.
    spectral: kernels are divided by their largest singular value (1802.05957).
    slope: of the leaky ReLU.
    dtype: of the computation; None is the input's.
  """

  widths: Sequence[int] = (64, 128, 256, 512)
  cells: int = 2
  dropout: float = 0.5
  spectral: bool = False
  slope: float = 0.2
  dtype: Any = None

  two_inputs: ClassVar[bool] = True

  @nn.compact
  def __call__(self, maps, image, *, train: bool = False):
    del train
    if maps.shape[:-1] != image.shape[:-1]:
      raise ValueError(
        f"two_input_critic: maps of {maps.shape[:-1]} voxels for an image of {image.shape[:-1]}; "
        "expected the same, samples counted."
      )
    outputs, side = {}, maps.shape[1:-1]
    for number, width in enumerate(self.widths, start=1):
      if number == 1:
        check_size(maps, side, "two_input_critic", self.widths)
        x = self._conv(maps, width) + self._conv(image, width)
      else:
        check_size(x, side, "two_input_critic", self.widths)
        x = self._conv(x, width)
      outputs[f"stage{number}"] = x = jax.nn.leaky_relu(x, self.slope)
      if number < len(self.widths) and self.dropout:
        x = Dropout(self.dropout, spatial=True)(x)
    check_size(x, side, "two_input_critic", self.widths, smallest=self.cells)
    x = adaptive_pool(x.astype(jnp.float32), self.cells)
    last = nn.Dense(2)
    x = x.reshape(len(x), -1)
    both = normalised(last, x) if self.spectral else last(x)
    return {"score": both[:, 1:] - both[:, :1], **outputs}

  def _conv(self, x, width: int):
    return convolution(x, width, spectral=self.spectral, dtype=self.dtype)
