"""The patch critic of pix2pix: one score for every patch of an image."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import Norm
from jaxseg.networks.critics.convolution import check_size, convolution


class PatchCritic(nn.Module):
  """Scores how real a patch looks, (b, *space, channels) -> {"score": (b, *space', scores), ...}.

  4x4 convolutions of stride 2, the last two of stride 1, all padded by one voxel; with three of
  stride 2 a score sees 70x70 pixels, and 256x256 give 30x30 scores. Instance norm has no
  parameters and its convolutions a bias, batch norm the reverse, as in pix2pix's code; the first
  and the last convolution are never normalised. Scores are logits in float32. The features before
  the last convolution are "stage1", "stage2", ...

  Source: Isola et al., arXiv 1611.07004.

  Attributes:
    widths: channels of each stage; all but the last halve the image.
    scores: of each patch; each is of a question of its own.
    norm: "batch", "instance", "group" or "none".
    spectral: kernels are divided by their largest singular value (1802.05957).
    slope: of the leaky ReLU.
    dtype: of the computation; None is the input's.
  """

  widths: Sequence[int] = (64, 128, 256, 512)
  scores: int = 1
  norm: str = "batch"
  spectral: bool = False
  slope: float = 0.2
  dtype: Any = None

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    del train
    outputs, last, side = {}, len(self.widths) - 1, x.shape[1:-1]
    for number, width in enumerate(self.widths):
      plain = self.norm in ("instance", "none") or number == 0
      x = self._conv(x, width, stride=1 if number == last and last else 2, use_bias=plain, of=side)
      if number:
        x = Norm(self.norm, affine=self.norm != "instance", dtype=self.dtype)(x)
      x = jax.nn.leaky_relu(x, self.slope)
      outputs[f"stage{number + 1}"] = x
    score = self._conv(x, self.scores, stride=1, use_bias=True, of=side)
    return {"score": score.astype(jnp.float32), **outputs}

  def _conv(self, x, width: int, *, stride: int, use_bias: bool, of):
    check_size(x, of, "patch_critic", self.widths)
    return convolution(
      x, width, stride=stride, use_bias=use_bias, spectral=self.spectral, dtype=self.dtype
    )
