"""Squeeze-and-excitation: channel attention, and its spatial counterpart."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks.conv import Conv
from jaxseg.networks.blocks.initializers import he_normal


class SqueezeExcitation(nn.Module):
  """Scales each channel by sigmoid(W2 ReLU(W1 s)), s the channels' means over space.

  Shapes: (b, *space, c) -> the same. 2 c^2 / r + c / r + c parameters.

  Attributes:
    reduction: r, the factor from c to the hidden units (of which there is at least one); 16 in the
      paper, 2 in its uses for segmentation.
    use_bias: of both layers.
    hard: relu6(x + 3) / 6 instead of the sigmoid (MobileNetV3).
    residual: adds the input: x (1 + scale).

  Source: Hu et al., arXiv 1709.01507; in 3D too.
  """

  reduction: int = 2
  use_bias: bool = True
  hard: bool = False
  residual: bool = False
  dtype: Any = None

  def __post_init__(self):
    check_reduction(self.reduction)
    super().__post_init__()

  @nn.compact
  def __call__(self, x):
    channels = x.shape[-1]
    squeezed = jnp.mean(x, range(1, x.ndim - 1), dtype=jnp.float32)
    e = channel_mlp(channels, self.reduction, self.use_bias, self.dtype)(squeezed)
    e = e.astype(jnp.float32)
    scale = jax.nn.hard_sigmoid(e) if self.hard else jax.nn.sigmoid(e)
    if self.residual:
      scale += 1
    return x * scale.astype(x.dtype).reshape(x.shape[0], *(1,) * (x.ndim - 2), channels)


class SpatialSqueeze(nn.Module):
  """Scales each voxel by the sigmoid of a 1x1 convolution to one channel: sSE of scSE.

  Shapes: (b, *space, c) -> the same. c + 1 parameters. Source: Roy et al., arXiv 1803.02579.
  """

  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    q = Conv(1, 1, dtype=self.dtype, name="conv")(x).astype(jnp.float32)
    return x * jax.nn.sigmoid(q).astype(x.dtype)


def check_reduction(reduction: int) -> None:
  """Raises ValueError for a factor from channels to hidden units that cannot be."""
  if reduction < 1:
    raise ValueError(f"channel attention: reduction={reduction}; expected at least 1.")


def channel_mlp(channels: int, reduction: int, use_bias: bool = True, dtype=None):
  """(b, c) -> (b, c): to c / reduction units and back, ReLU between; made inside a module."""
  check_reduction(reduction)
  hidden = max(1, channels // reduction)
  options = {"use_bias": use_bias, "dtype": dtype}
  first = nn.Dense(hidden, kernel_init=he_normal(), name="squeeze", **options)
  second = nn.Dense(channels, kernel_init=he_normal(slope=1.0), name="excite", **options)
  return lambda x: second(jax.nn.relu(first(x)))
