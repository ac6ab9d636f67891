"""Concurrent spatial and channel squeeze and excitation."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks.options import choice
from jaxseg.networks.blocks.squeeze_excitation import (
  SpatialSqueeze,
  SqueezeExcitation,
  check_reduction,
)


class ScSE(nn.Module):
  """Channel (cSE) and spatial (sSE) attention of the same input, joined.

  Shapes: (b, *space, c) -> the same.

  Attributes:
    aggregation: "max" (element-wise, as the authors' code) or "add" (as segmentation_models).
    reduction: of cSE.
    residual: adds the input.

  Source: Roy et al., arXiv 1803.02579; `ChannelSpatialSELayer(64, 2)` has the same 4,257
  parameters.
  """

  aggregation: str = "max"
  reduction: int = 2
  residual: bool = False
  dtype: Any = None

  def __post_init__(self):
    check_reduction(self.reduction)
    choice(self.aggregation, ("max", "add"), "scse: aggregation")
    super().__post_init__()

  @nn.compact
  def __call__(self, x):
    channel = SqueezeExcitation(self.reduction, dtype=self.dtype, name="channel")(x)
    spatial = SpatialSqueeze(self.dtype, name="spatial")(x)
    join = jnp.maximum if self.aggregation == "max" else jnp.add
    joined = join(channel, spatial)
    return joined + x if self.residual else joined
