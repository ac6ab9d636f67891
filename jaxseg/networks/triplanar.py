"""Tri-planar (2.5D): three orthogonal 2D networks over a volume, fused."""

import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxseg.networks.blocks import Conv, centre_crop, choice, from_slices, need_rank, to_slices
from jaxseg.networks.blocks.votes import vote
from jaxseg.networks.inner import inner, takes_slices

PLANES = ("plane_z", "plane_y", "plane_x")  # each named after the axis that it is sliced along


class Triplanar(nn.Module):
  """2.5D: a volume is segmented slice by slice along z, y and x, and the three are fused.

  Shapes: (b, z, y, x, channels) -> {"logits": (b, z, y, x, classes) float32, "plane_z", "plane_y",
  "plane_x": the logits of each plane, on the same grid}. The axes of a plane keep the volume's
  order: (y, x), (z, x), (z, y). Auxiliary heads of the inner networks are not used.

  Attributes:
    classes: number of scores per voxel.
    inner: the 2D network, a name of `NETWORKS` or a dict with its options.
    shared: one network for the three planes, for isotropic volumes; otherwise one each.
    fusion: "mean" of the planes' logits, which serves softmax and sigmoid alike (for softmax it is
      the normalised geometric mean of their probabilities); "learned", a 1x1x1 convolution of the
      three logits side by side that starts as the mean; "vote", see `blocks.votes`.
    dtype: of the inner networks, unless their own options say so.

  Raises ValueError for unknown options, for what the inner network refuses, and for inputs that
  aren't volumes.
  Source: Prasoon et al., MICCAI 2013 (three planes); Roth et al., arXiv 1506.06448 (2.5D); Wang et
  al., arXiv 2009.13120.
  """

  classes: int = 3
  inner: str | Mapping[str, Any] = "unet"
  shared: bool = False
  fusion: str = "mean"
  dtype: str = "float32"

  def __post_init__(self):
    choice(self.fusion, ("mean", "learned", "vote"), "triplanar: fusion")
    takes_slices(self._network(parent=None), "triplanar", "inner")
    super().__post_init__()

  def _network(self, **linen):
    return inner(self.inner, self.classes, dtype=self.dtype, **linen)

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """A multiple that both planes through an axis divide, per axis."""
    return self._per_axis(rank, "total_stride", math.lcm)

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: the larger of the two planes' through an axis."""
    return self._per_axis(rank, "margin", max)

  def _per_axis(self, rank, what, both):
    need_rank(rank, (3,), "triplanar")
    first, second = getattr(self._network(parent=None), what)(2)
    # z is the first axis of two planes, x the second one; y is the one and the other
    return (first, both(first, second), second)

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    need_rank(x.ndim - 2, (3,), "triplanar")
    space = [n - 2 * m for n, m in zip(x.shape[1:-1], self.margin(3), strict=True)]
    if self.shared:
      networks = [self._network(name="planes")] * 3
    else:
      networks = [self._network(name=name) for name in PLANES]
    planes = []
    for axis, network in enumerate(networks):
      logits = network(to_slices(x, axis), train=False)["logits"]
      planes.append(centre_crop(from_slices(logits, len(x), axis), space))
    if self.fusion == "learned":
      fuse = Conv(self.classes, 1, kernel_init=_mean_of_planes, name="fusion")
      logits = fuse(jnp.concatenate(planes, -1))
    else:
      logits = vote(planes) if self.fusion == "vote" else sum(planes) / 3
    return {"logits": logits, **dict(zip(PLANES, planes, strict=True))}


def _mean_of_planes(key, shape, dtype):
  """Kernel (1, 1, 1, 3 * classes, classes) of the mean of three logits."""
  return jnp.asarray(np.tile(np.eye(shape[-1]) / 3, (3, 1)).reshape(shape), dtype)
