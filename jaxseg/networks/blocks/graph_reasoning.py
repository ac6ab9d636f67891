"""Global reasoning over a few learned regions of an image (GloRe)."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks.conv import Conv
from jaxseg.networks.blocks.norm import Norm


class GraphReasoning(nn.Module):
  """GloRe unit: voxels -> nodes, a convolution on the fully connected graph, nodes -> voxels.

      V = B^T state(x) / voxels;   Z = relu(V + A V) W;   x + norm(extend(B Z))

  B, the soft assignment of voxels to nodes, is a 1x1 convolution of x; A is learned. The norm's
  scale (`extend`, if there is no norm) starts at zero, so that the unit starts as the identity.
  Any number of voxels: V is divided by it.

  Shapes: (b, *space, c) -> the same. A bottleneck or an attention of `unet`.

  Attributes:
    nodes: number of nodes; None: a quarter of the channels.
    states: features of a node; None: twice `nodes`.
    norm, norm_groups: after `extend`. It bounds what the unit adds: Z sums over all voxels and
      nodes, and without it soon outgrows x.
    dtype: compute dtype; the sums over voxels and nodes are float32.

  Source: Chen et al., Graph-Based Global Reasoning Networks, arXiv 1811.12814.
  """

  nodes: int | None = None
  states: int | None = None
  norm: str = "batch"
  norm_groups: int = 8
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    channels, space = x.shape[-1], x.shape[1:-1]
    nodes = self.nodes or max(channels // 4, 1)
    states = self.states or 2 * nodes
    dtype = self.dtype or x.dtype

    def flat(features, name):
      y = Conv(features, 1, dtype=dtype, name=name)(x)
      return y.reshape(len(x), -1, features).astype(jnp.float32)

    state, assignment = flat(states, "state"), flat(nodes, "assignment")
    precise = jax.lax.Precision.HIGHEST
    v = jnp.einsum("bvn,bvs->bns", assignment, state, precision=precise) / state.shape[1]
    spread = nn.Dense(nodes, name="adjacency")(v.swapaxes(1, 2)).swapaxes(1, 2)
    z = nn.Dense(states, use_bias=False, name="update")(nn.relu(v + spread))
    y = jnp.einsum("bvn,bns->bvs", assignment, z, precision=precise)
    y = y.reshape(len(x), *space, states).astype(dtype)
    zeros = nn.initializers.zeros
    closed = {"kernel_init": zeros} if self.norm == "none" else {}
    y = Conv(channels, 1, use_bias=False, dtype=dtype, name="extend", **closed)(y)
    norm = Norm(
      self.norm,
      self.norm_groups,
      epsilon=1e-4,  # the release's
      dtype=dtype,
      scale_init=zeros,
      name="norm",
    )
    return x + norm(y)
