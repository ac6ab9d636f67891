"""Graph U-Net on the voxels of a coarse feature map."""

import math
from typing import Any

from flax import linen as nn

from jaxseg.networks.blocks.activation import Activation
from jaxseg.networks.blocks.conv import Conv
from jaxseg.networks.blocks.graph import (
  NORMALISATIONS,
  GraphConv,
  GraphPool,
  dense,
  graph_unpool,
  grid_edges,
  knn_adjacency,
)
from jaxseg.networks.blocks.options import choice


class GraphUNet(nn.Module):
  """Graph U-Net as a bottleneck: voxels are nodes; gPool, graph convolution, gUnpool, residual.

      x -> 1x1 -> GCN -> gPool -> GCN -> gPool -> GCN -> gUnpool + -> GCN -> gUnpool + -> GCN
                   |               |                             |                   |     |
                   |               +-----------------------------+                   |    1x1
                   +-----------------------------------------------------------------+     |
      x -----------------------------------------------------------------------------------+

  The last convolution starts at zero: the block starts as the identity. The adjacency is dense: its
  memory grows with the square of the number of voxels (32 x 32 voxels: 4 MiB a sample).

  Shapes: (b, *space, c) -> the same.

  Attributes:
    levels: number of poolings.
    ratio: share of the nodes that a pooling keeps, at least one node.
    states: features of a node; None: a quarter of the channels.
    graph: "grid" (neighbouring voxels) or "knn" (the nearest in feature space).
    neighbours: of "knn".
    normalisation: of `GraphConv`.
    activation: after each graph convolution.
    dtype: compute dtype.

  Source: Gao, Ji, Graph U-Nets, arXiv 1905.05178.
  """

  levels: int = 2
  ratio: float = 0.5
  states: int | None = None
  graph: str = "grid"
  neighbours: int = 8
  normalisation: str = "symmetric"
  activation: str = "relu"
  dtype: Any = None

  def __post_init__(self):
    choice(self.graph, ("grid", "knn"), "graph_unet: graph")
    choice(self.normalisation, NORMALISATIONS, "graph_unet: normalisation")
    if not 0 < self.ratio <= 1:
      raise ValueError(f"graph_unet: ratio={self.ratio}; expected more than 0, at most 1.")
    super().__post_init__()

  @nn.compact
  def __call__(self, x):
    space, channels = x.shape[1:-1], x.shape[-1]
    states, dtype = self.states or max(channels // 4, 1), self.dtype or x.dtype

    def convolve(h, adjacency, name):
      h = GraphConv(states, self.normalisation, dtype=dtype, name=name)(h, adjacency)
      return Activation(self.activation, name=f"{name}_activation")(h)

    h = Conv(states, 1, dtype=dtype, name="reduce")(x).reshape(len(x), -1, states)
    if self.graph == "grid":
      adjacency = dense(grid_edges(space), math.prod(space))[None]
    else:
      adjacency = knn_adjacency(h, self.neighbours)
    kept = []
    for i in range(self.levels):
      h = convolve(h, adjacency, f"down{i + 1}")
      nodes = math.ceil(self.ratio * h.shape[1])
      pooled, coarser, index, _ = GraphPool(nodes, name=f"pool{i + 1}")(h, adjacency)
      kept.append((h, adjacency, index))
      h, adjacency = pooled, coarser
    h = convolve(h, adjacency, "bottom")
    for i in reversed(range(self.levels)):
      skip, adjacency, index = kept[i]
      h = convolve(skip + graph_unpool(h, index, skip.shape[1]), adjacency, f"up{i + 1}")
    h = h.reshape(len(x), *space, states)
    zeros = nn.initializers.zeros
    return x + Conv(channels, 1, kernel_init=zeros, dtype=dtype, name="extend")(h).astype(x.dtype)
