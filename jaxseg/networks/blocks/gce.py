"""GCE: geometric and context encoding, ASPP followed by a non-local block."""

from collections.abc import Mapping, Sequence
from typing import Any

from flax import linen as nn

from jaxseg.networks.blocks.aspp import ASPP
from jaxseg.networks.blocks.nonlocal_block import NonLocal


class GCE(nn.Module):
  """Several fields of view (ASPP), then every voxel looks at every other one (non-local).

  Shapes: (b, *space, c) -> (b, *space, features). The non-local block starts as the identity, so
  that GCE starts as ASPP alone.

  Attributes:
    features, rates, image_pooling, conv, dropout, norm, norm_groups, activation, dtype: ASPP's.
    inter, heads, sub_sample, chunk: the non-local block's, which is of the embedded Gaussian kind.

  Source: Yang et al., "Parsing R-CNN", arXiv 1811.12596.
  """

  features: int = 256
  rates: Sequence[int] = (6, 12, 18)
  image_pooling: bool = True
  conv: str | Mapping[str, Any] = "plain"
  dropout: float = 0.0
  norm: str = "batch"
  norm_groups: int = 8
  activation: str = "relu"
  inter: int | None = None
  heads: int = 1
  sub_sample: int | Sequence[int] = 1
  chunk: int = 1024
  dtype: Any = None

  def __post_init__(self):
    NonLocal(chunk=self.chunk, parent=None)  # its own check, before anything is traced
    super().__post_init__()

  @property
  def smallest(self) -> int | Sequence[int]:
    """Voxels per axis that the features need."""
    return self.sub_sample

  @nn.compact
  def __call__(self, x):
    x = ASPP(
      self.features,
      self.rates,
      self.image_pooling,
      self.conv,
      self.dropout,
      self.norm,
      self.norm_groups,
      self.activation,
      self.dtype,
      name="aspp",
    )(x)
    return NonLocal(
      inter=self.inter,
      heads=self.heads,
      sub_sample=self.sub_sample,
      chunk=self.chunk,
      dtype=self.dtype,
      name="nonlocal",
    )(x)
