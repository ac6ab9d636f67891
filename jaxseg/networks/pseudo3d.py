"""Pseudo-3D: a 2D network that sees neighbouring slices as channels."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxseg.networks.blocks import choice, from_slices, need_rank, to_slices
from jaxseg.networks.inner import inner, takes_slices

EDGES = {"replicate": "edge", "reflect": "reflect"}  # to numpy's modes of padding


class Pseudo3D(nn.Module):
  """Pseudo-3D: each slice of a volume is segmented from itself and its neighbours, in 2D.

  Shapes: (b, z, y, x, channels) -> the outputs of a 2D network on (b * z, y, x, slices * channels)
  as volumes again: {"logits": (b, z, y, x, classes) float32, ...}. Every slice is the centre once,
  so that z is kept; channel s * channels + c of the 2D network is channel c of the slice s -
  slices // 2 away. Beyond the first and last slice of the input stand copies of these or their
  mirror images; that holds for a patch too, so give the predictor patches of some depth.

  Attributes:
    classes: number of scores per voxel.
    slices: how many neighbours are seen, the centre included; odd.
    edges: "replicate" (the outermost slice) or "reflect" (the slices inside it).
    inner: the 2D network, a name of `NETWORKS` or a dict with its options.
    dtype: of the inner network, unless its own options say so.

  Raises ValueError for an even number of slices, for what the inner network refuses, and for inputs
  that aren't volumes.
  Source: Vu et al., arXiv 1912.09287.
  """

  classes: int = 3
  slices: int = 5
  edges: str = "replicate"
  inner: str | Mapping[str, Any] = "unet"
  dtype: str = "float32"

  def __post_init__(self):
    if self.slices < 1 or self.slices % 2 == 0:
      raise ValueError(f"pseudo3d: slices={self.slices}; expected an odd number, for a centre.")
    choice(self.edges, EDGES, "pseudo3d: edges")
    takes_slices(self._network(parent=None), "pseudo3d", "inner")
    super().__post_init__()

  def _network(self, **linen):
    return inner(self.inner, self.classes, dtype=self.dtype, **linen)

  def total_stride(self, rank: int) -> tuple[int, ...]:
    """Voxels per voxel of the inner network's coarsest stage, per axis."""
    need_rank(rank, (3,), "pseudo3d")
    return (1, *self._network(parent=None).total_stride(2))

  def margin(self, rank: int) -> tuple[int, ...]:
    """Voxels lost per side: the inner network's in the plane, none along z."""
    need_rank(rank, (3,), "pseudo3d")
    return (0, *self._network(parent=None).margin(2))

  @nn.compact
  def __call__(self, x, *, train: bool = False):
    need_rank(x.ndim - 2, (3,), "pseudo3d")
    batch, depth = x.shape[:2]
    order = np.pad(np.arange(depth), self.slices // 2, mode=EDGES[self.edges])
    extended = x[:, order]
    neighbours = [extended[:, s : s + depth] for s in range(self.slices)]
    stack = to_slices(jnp.concatenate(neighbours, -1), 0)
    outputs = self._network(name="inner")(stack, train=train)
    return jax.tree.map(lambda values: from_slices(values, batch, 0), outputs)
