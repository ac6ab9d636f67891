"""Pyramid pooling module of PSPNet."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks.options import choice
from jaxseg.networks.blocks.resize import adaptive_pool, resize
from jaxseg.networks.blocks.stage import ConvNormAct


class PPM(nn.Module):
  """Pyramid pooling: the means of 1, 4, 9 and 36 regions of the image, beside every voxel.

  Shapes: (b, *space, c) -> (b, *space, 2 c) without `features`: for each of the bins adaptive
  pooling, a 1x1 convolution to c / len(bins) channels with norm and activation, linear
  interpolation back (corners aligned), and all after the input on the channel axis. With `features`
  one more convolution joins them, (b, *space, features).

  Attributes:
    features, kernel: of that last convolution; None for none.
    bins: regions per axis.
    pooling: "average" or "max".
    norm, norm_groups, activation: of all convolutions. Instance norm is left out where there is
      one bin: a single voxel has no statistics of its own.
    norm_of_one: the norm where there is one bin, None for `norm`.
    dtype: compute dtype.

  Raises ValueError without bins, and if an axis has fewer voxels than bins.
  Source: Zhao et al., "Pyramid scene parsing network", arXiv 1612.01105.
  """

  features: int | None = None
  kernel: int = 3
  bins: Sequence[int] = (1, 2, 3, 6)
  pooling: str = "average"
  norm: str = "batch"
  norm_groups: int = 8
  norm_of_one: str | None = None
  activation: str = "relu"
  dtype: Any = None

  def __post_init__(self):
    choice(self.pooling, ("average", "max"), "ppm: pooling")
    if not self.bins or min(self.bins) < 1:
      raise ValueError(f"ppm: bins={tuple(self.bins)}; expected one or more numbers, from 1 on.")
    super().__post_init__()

  @property
  def smallest(self) -> int:
    """Voxels per axis that the features need."""
    return max(self.bins)

  @nn.compact
  def __call__(self, x):
    space, channels = x.shape[1:-1], x.shape[-1]
    if min(space) < self.smallest:
      raise ValueError(
        f"ppm: features of size {space} are smaller than the bins {tuple(self.bins)}; give a "
        f"larger input, so that every axis of the features has {self.smallest} voxels or more, or "
        "fewer bins."
      )
    parts = [x]
    for bins in self.bins:
      pooled = adaptive_pool(x, bins, kind=self.pooling)
      norm = self._norm_of_one() if bins == 1 else self.norm
      pooled = self._layer(max(1, channels // len(self.bins)), 1, norm, f"bin{bins}")(pooled)
      parts.append(resize(pooled, space, align_corners=True))
    x = jnp.concatenate(parts, -1)
    if self.features is None:
      return x
    return self._layer(self.features, self.kernel, self.norm, "join")(x)

  def _norm_of_one(self):
    return self.norm_of_one or ("none" if self.norm == "instance" else self.norm)

  def _layer(self, features, kernel, norm, name):
    return ConvNormAct(
      features,
      kernel,
      norm=norm,
      norm_groups=math.gcd(self.norm_groups, features),
      activation=self.activation,
      use_bias=norm == "none",
      dtype=self.dtype,
      name=name,
    )
