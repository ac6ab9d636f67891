"""SCAN's critic: the residual down-sampling path of its segmenter, and one score for an image."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import Conv, Norm, pool
from jaxseg.networks.critics.convolution import check_size, normalised


class ResidualCritic(nn.Module):
  """Scores how real the shapes of an image are, (b, *space, c) -> {"score": (b, 1), ...}.

  Each stage is a residual block of two convolutions with norm, ReLU(x + block(x)), where a 1x1
  convolution takes the place of x if the channels change; the first has 7x7 kernels, the others
  3x3. Averages over 2x2 voxels lie between the stages, and the mean over the image goes through one
  linear layer. Scores are logits in float32, the features "stage1", "stage2", ...

  Source: Dai et al., SCAN, arXiv 1703.08770, on masks of 400x400 pixels. The paper draws its critic
  as the mirror of the segmenter's first half, and publishes no number of parameters.

  Attributes:
    widths: channels of each stage.
    norm: "batch", "instance", "group" or "none".
    spectral: kernels are divided by their largest singular value (1802.05957).
    dtype: of the computation; None is the input's.
  """

  widths: Sequence[int] = (8, 16, 32, 64, 64)
  norm: str = "batch"
  spectral: bool = False
  dtype: Any = None

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    del train
    outputs, side = {}, x.shape[1:-1]
    for number, width in enumerate(self.widths, start=1):
      if number > 1:
        check_size(x, side, "residual_critic", self.widths)
        x = pool(x, "average", kernel=2)
      kernel = 7 if number == 1 else 3
      inner = jax.nn.relu(self._layer(x, width, kernel))
      inner = self._layer(inner, width, kernel)
      same = x if x.shape[-1] == width else self._layer(x, width, 1)
      outputs[f"stage{number}"] = x = jax.nn.relu(same + inner)
    mean = jnp.mean(x.astype(jnp.float32), tuple(range(1, x.ndim - 1)))
    last = nn.Dense(1)
    score = normalised(last, mean) if self.spectral else last(mean)
    return {"score": score, **outputs}

  def _layer(self, x, width: int, kernel: int):
    layer = Conv(width, kernel, use_bias=self.norm == "none", dtype=self.dtype)
    x = normalised(layer, x) if self.spectral else layer(x)
    return Norm(self.norm, dtype=self.dtype)(x)
