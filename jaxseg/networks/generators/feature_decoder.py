"""An image from features of another network: half a generator, whose encoder has other tasks."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks import Conv, Norm, TransposedConv

_WEIGHTS = nn.initializers.normal(0.02)


class FeatureDecoder(nn.Module):
  """Coarse features and the image that they are of -> an image of that size in [-1, 1].

  A convolution, residual blocks, transposed convolutions until the image's size, 7x7 and tanh: the
  decoder of SIFA (Chen et al., 2002.02255; 128 channels, four blocks, then 64, 64 and 32). An axis
  is doubled where its features are still coarser. Instance norm has no parameters.

  Shapes: (b, *coarse, features), (b, *space, channels) -> {"image": (b, *space, channels) float32}.
  Raises ValueError where the image is not 2^k times the features, up to the widths' number.

  Attributes:
    widths: of the coarsest stage, then of each that doubles.
    blocks: residual blocks of the coarsest stage.
    skip: the image is added before the tanh, so that what is learnt is the difference.
    norm: "instance", "batch", "group" or "none".
    dtype: of the computation, "float32" or "bfloat16".
  """

  widths: Sequence[int] = (128, 64, 64, 32)
  blocks: int = 4
  skip: bool = True
  norm: str = "instance"
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x, image, *, train: bool = False):
    del train
    rank, coarse, space = x.ndim - 2, x.shape[1:-1], image.shape[1:-1]
    ratios = [side / own for side, own in zip(space, coarse, strict=True)]
    doublings = [round(math.log2(ratio)) for ratio in ratios]
    exact = [own * 2**n == side for own, n, side in zip(coarse, doublings, space, strict=True)]
    if not all(exact) or max(doublings) != len(self.widths) - 1 or min(doublings) < 0:
      raise ValueError(
        f"feature_decoder: {len(self.widths)} widths enlarge features {len(self.widths) - 1} times "
        f"by 2, and those of an image of {tuple(space)} are {tuple(coarse)} voxels; expected one "
        f"width more than there are halvings, which must divide the image "
        "(config.networks.decoder.widths)."
      )
    x = self._normed(self._conv(x.astype(self.dtype), self.widths[0], 3))
    for _ in range(self.blocks):
      inner = self._normed(self._conv(x, self.widths[0], 3))
      inner = self._normed(self._conv(inner, self.widths[0], 3), active=False)
      x = jax.nn.relu(x + inner)
    for i, width in enumerate(self.widths[1:]):
      stride = [2 if i < n else 1 for n in doublings]
      further = [s - 1 for s in stride]
      options = {"use_bias": self.norm != "batch", "kernel_init": _WEIGHTS, "dtype": self.dtype}
      x = self._normed(TransposedConv(width, 3, stride, (1,) * rank, further, **options)(x))
    x = self._conv(x, image.shape[-1], 7, use_bias=True).astype(jnp.float32)
    return {"image": jnp.tanh(x + image if self.skip else x)}

  def _conv(self, x, width: int, kernel: int, *, use_bias: bool | None = None):
    bias = self.norm != "batch" if use_bias is None else use_bias
    return Conv(width, kernel, use_bias=bias, kernel_init=_WEIGHTS, dtype=self.dtype)(x)

  def _normed(self, x, *, active: bool = True):
    x = Norm(self.norm, affine=self.norm != "instance", dtype=self.dtype)(x)
    return jax.nn.relu(x) if active else x
