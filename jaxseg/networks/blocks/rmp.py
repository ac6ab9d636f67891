"""Residual multi-kernel pooling of CE-Net, and its context extractor."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks.conv import Conv
from jaxseg.networks.blocks.dac import DAC
from jaxseg.networks.blocks.initializers import he_normal
from jaxseg.networks.blocks.resize import pool, resize


class RMP(nn.Module):
  """The image at four coarser resolutions, one channel each, beside every voxel.

  Shapes: (b, *space, c) -> (b, *space, pools + c): max-pooling, a 1x1 convolution to one channel,
  linear interpolation back, and the input after them on the channel axis. Voxels that fill no
  window are dropped.

  Attributes:
    pools: sizes of the pooling windows (and their strides).
    shared: one 1x1 convolution for all, as published; otherwise one each.
    dtype: compute dtype.

  Raises ValueError without windows, and if an axis is smaller than the largest.
  Source: Gu et al., "CE-Net", arXiv 1903.02740.
  """

  pools: Sequence[int] = (2, 3, 5, 6)
  shared: bool = True
  dtype: Any = None

  def __post_init__(self):
    if not self.pools or min(self.pools) < 1:
      raise ValueError(f"rmp: pools={tuple(self.pools)}; expected one or more windows, from 1 on.")
    super().__post_init__()

  @property
  def smallest(self) -> int:
    """Voxels per axis that the features need."""
    return max(self.pools)

  @nn.compact
  def __call__(self, x):
    space = x.shape[1:-1]
    if min(space) < self.smallest:
      raise ValueError(
        f"rmp: features of size {space} are smaller than the pooling windows {tuple(self.pools)}; "
        f"give a larger input, so that every axis of the features has {self.smallest} voxels or "
        "more, or smaller windows."
      )
    names = ["conv"] if self.shared else [f"conv{i + 1}" for i in range(len(self.pools))]
    options = {"dtype": self.dtype, "kernel_init": he_normal(slope=1.0)}
    convs = [Conv(1, 1, name=name, **options) for name in names]
    maps = [
      resize(convs[i % len(convs)](pool(x, "max", kernel=size)), space)
      for i, size in enumerate(self.pools)
    ]
    return jnp.concatenate([*maps, x.astype(maps[0].dtype)], -1)


class ContextExtractor(nn.Module):
  """CE-Net's context extractor, DAC then RMP: (b, *space, c) -> (b, *space, c + pools).

  Attributes:
    rates, activation: of `DAC`.
    pools: of `RMP`.
    shared: convolutions shared by the branches of both.
    dtype: compute dtype.

  Source: Gu et al., "CE-Net", arXiv 1903.02740.
  """

  rates: Sequence[int] = (1, 3, 5)
  pools: Sequence[int] = (2, 3, 5, 6)
  shared: bool = True
  activation: str = "relu"
  dtype: Any = None

  def __post_init__(self):
    # their own checks, before anything is traced
    DAC(self.rates, parent=None)
    RMP(self.pools, parent=None)
    super().__post_init__()

  @property
  def smallest(self) -> int:
    """Voxels per axis that the features need."""
    return max(self.pools)

  @nn.compact
  def __call__(self, x):
    x = DAC(self.rates, self.shared, self.activation, dtype=self.dtype, name="dac")(x)
    return RMP(self.pools, self.shared, dtype=self.dtype, name="rmp")(x)
