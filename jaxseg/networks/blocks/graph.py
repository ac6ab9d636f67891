"""Graph convolution, pooling and un-pooling with static shapes, and the graphs of images.

Nodes are (b, n, c). A graph is dense, an adjacency (b, n, n) or (n, n) without self-loops whose
entry [receiver, sender] is the edge's weight (0: none); or a list of `Edges`. Nodes that only fill
up a static number are marked False in a `mask` (b, n): they neither send nor receive, and stay 0.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxseg.networks.blocks.options import choice

NORMALISATIONS = ("symmetric", "mean", "attention")


class Edges(NamedTuple):
  """Directed edges, (e,) int32 each; an undirected edge is in the list twice.

  `weights` (e,) float32, None: 1; a weight of 0 fills up a static number of edges.
  """

  senders: Any
  receivers: Any
  weights: Any = None


def dense(edges: Edges, nodes: int):
  """The adjacency of a list of edges: (nodes, nodes) float32."""
  weights = 1.0 if edges.weights is None else edges.weights
  return jnp.zeros((nodes, nodes), jnp.float32).at[edges.receivers, edges.senders].add(weights)


def propagate(x, graph, *, normalisation: str = "symmetric", mask=None):
  """One step over the edges, self-loops added: (b, n, c) -> (b, n, c) float32.

  "symmetric": D^-1/2 (A + I) D^-1/2 x, with D the degrees of A + I (undirected graphs); "mean":
  D^-1 (A + I) x. Source: Kipf, Welling, arXiv 1609.02907.
  """
  choice(normalisation, ("symmetric", "mean"), "graph normalisation")
  step = _over_edges if isinstance(graph, Edges) else _over_adjacency
  known = jnp.ones(x.shape[:2]) if mask is None else mask.astype(jnp.float32)
  x = x.astype(jnp.float32) * known[..., None]
  return step(x, graph, known, normalisation == "symmetric") * known[..., None]


def _over_adjacency(x, adjacency, known, symmetric):
  a = _batched(adjacency) * (known[:, :, None] * known[:, None, :])
  degree = 1 + a.sum(-1)[..., None]
  if not symmetric:
    return (x + _product(a, x)) / degree
  scale = jax.lax.rsqrt(degree)
  return scale * (scale * x + _product(a, scale * x))


def _over_edges(x, edges, known, symmetric):
  def one(x, known):
    weights = known[edges.senders] * known[edges.receivers]
    weights = weights if edges.weights is None else weights * edges.weights

    def gather(values):
      sent = weights[:, None] * values[edges.senders]
      return jax.ops.segment_sum(sent, edges.receivers, len(values))

    degree = 1 + gather(jnp.ones((len(x), 1)))
    if not symmetric:
      return (x + gather(x)) / degree
    scale = jax.lax.rsqrt(degree)
    return scale * (scale * x + gather(scale * x))

  return jax.vmap(one)(x, known)


def _batched(adjacency):
  return adjacency[None] if adjacency.ndim == 2 else adjacency


def _product(a, x):
  """(b or 1, n, m) times (b, m, c)."""
  return jnp.matmul(jnp.broadcast_to(a, (len(x), *a.shape[1:])), x)


class GraphConv(nn.Module):
  """Graph convolution: x W, spread over the edges, (b, n, c) -> (b, n, features).

  Called with (x, graph, mask=None). `normalisation` is "symmetric" or "mean" (GCN, `propagate`), or
  "attention": the weights of a node's neighbours (and its own) are a softmax of learned scores
  (GAT, one head, arXiv 1710.10903; dense graphs only). The activation is the caller's.
  Raises ValueError for attention over a list of edges.
  """

  features: int
  normalisation: str = "symmetric"
  use_bias: bool = True
  dtype: Any = None

  @nn.compact
  def __call__(self, x, graph, mask=None):
    choice(self.normalisation, NORMALISATIONS, "graph normalisation")
    dtype = self.dtype or x.dtype
    x = nn.Dense(self.features, use_bias=False, dtype=dtype, name="weight")(x)
    if self.normalisation == "attention":
      if isinstance(graph, Edges):
        raise ValueError(
          "GraphConv: normalisation='attention' takes a dense adjacency, got Edges; convert them "
          "with `dense`, or use 'symmetric' or 'mean'."
        )
      x = self._attend(x.astype(jnp.float32), graph, mask)
    else:
      x = propagate(x, graph, normalisation=self.normalisation, mask=mask)
    if self.use_bias:
      bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
      x += bias[None, None]
    x = x if mask is None else jnp.where(mask[..., None], x, 0)
    return x.astype(dtype)

  def _attend(self, x, adjacency, mask):
    score = nn.Dense(2, use_bias=False, dtype=jnp.float32, name="attention")(x)
    scores = nn.leaky_relu(score[:, :, None, 0] + score[:, None, :, 1], 0.2)
    near = (_batched(adjacency) != 0) | jnp.eye(x.shape[1], dtype=bool)[None]
    if mask is not None:
      near &= mask[:, None] | jnp.eye(x.shape[1], dtype=bool)[None]
    return jnp.matmul(nn.softmax(jnp.where(near, scores, -1e9), -1), x)


class GraphPool(nn.Module):
  """gPool: keeps the `nodes` nodes with the largest projection on a learned vector.

  Called with (x, adjacency, mask=None). The kept nodes, best first, are gated by the sigmoid of
  their projection, which is how the vector learns. Two nodes are joined if a walk of `power` steps
  (self-loops count) leads from one to the other: dropped nodes would tear the graph apart.

  Shapes: (b, n, c), (b or 1, n, n) -> (b, nodes, c), adjacency (b, nodes, nodes) of 0 and 1, index
  (b, nodes) int32 of each kept node, mask (b, nodes). Source: Gao, Ji, Graph U-Nets,
  arXiv 1905.05178.
  """

  nodes: int
  power: int = 2

  @nn.compact
  def __call__(self, x, adjacency, mask=None):
    n = x.shape[1]
    if not 1 <= self.nodes <= n:
      raise ValueError(f"GraphPool: nodes={self.nodes} of {n}; expected 1 to {n}.")
    vector = self.param("vector", nn.initializers.normal(1.0), (x.shape[-1],), jnp.float32)
    vector = vector / jnp.maximum(jnp.linalg.norm(vector), 1e-6)
    score = jnp.einsum("bnc,c->bn", x.astype(jnp.float32), vector)
    mask = jnp.ones(x.shape[:2], bool) if mask is None else mask
    _, index = jax.lax.top_k(jnp.where(mask, score, -jnp.inf), self.nodes)
    kept = jnp.take_along_axis(mask, index, 1)
    gate = jnp.where(kept, nn.sigmoid(jnp.take_along_axis(score, index, 1)), 0)
    pooled = jnp.take_along_axis(x, index[..., None], 1) * gate[..., None].astype(x.dtype)

    loop = jnp.eye(n)[None]
    near = jnp.broadcast_to((_batched(adjacency) != 0).astype(jnp.float32) + loop, (len(x), n, n))
    near *= (mask[:, :, None] & mask[:, None]).astype(jnp.float32)
    reach = near
    for _ in range(self.power - 1):
      reach = (jnp.matmul(reach, near) > 0).astype(jnp.float32)
    reach = jnp.where(loop > 0, 0, reach > 0).astype(jnp.float32)
    reach = jnp.take_along_axis(reach, index[:, :, None], 1)
    return pooled, jnp.take_along_axis(reach, index[:, None], 2), index, kept


def graph_unpool(x, index, nodes: int):
  """gUnpool: puts the kept nodes back, zeros elsewhere: (b, k, c), (b, k) -> (b, nodes, c)."""
  return jax.vmap(lambda x, index: jnp.zeros((nodes, x.shape[-1]), x.dtype).at[index].set(x))(
    x, index
  )


def grid_edges(space: Sequence[int], *, diagonal: bool = False) -> Edges:
  """Each voxel and its 2 * rank neighbours, with `diagonal` its 3^rank - 1; nodes in C order."""
  index = np.arange(math.prod(space), dtype=np.int32).reshape(space)
  pairs = []
  for step in itertools.product((-1, 0, 1), repeat=len(space)):
    if any(step) and (diagonal or np.abs(step).sum() == 1):
      here = tuple(slice(max(-s, 0), n - max(s, 0)) for s, n in zip(step, space, strict=True))
      there = tuple(slice(max(s, 0), n - max(-s, 0)) for s, n in zip(step, space, strict=True))
      pairs.append((index[here].ravel(), index[there].ravel()))
  senders, receivers = (np.concatenate(side) for side in zip(*pairs, strict=True))
  return Edges(senders, receivers)


def knn_adjacency(x, neighbours: int, *, mask=None):
  """Joins each node with the `neighbours` nearest ones in feature space, in both directions.

  Shapes: (b, n, c) -> (b, n, n) of 0 and 1. The choice passes no gradient.
  """
  x = jax.lax.stop_gradient(x.astype(jnp.float32))
  n = x.shape[1]
  squares = jnp.square(x).sum(-1)
  precise = jax.lax.Precision.HIGHEST
  products = jnp.matmul(x, x.swapaxes(1, 2), precision=precise)
  distance = squares[:, :, None] + squares[:, None] - 2 * products
  possible = ~jnp.eye(n, dtype=bool)[None]
  if mask is not None:
    possible = possible & (mask[:, :, None] & mask[:, None])
  nearness = jnp.where(possible, -distance, -jnp.inf)
  _, index = jax.lax.top_k(nearness, min(neighbours, n - 1))
  chosen = jax.nn.one_hot(index, n).sum(2) * possible
  return jnp.maximum(chosen, chosen.swapaxes(1, 2))
