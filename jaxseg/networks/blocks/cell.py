"""A cell: nodes that sum operations on two inputs and on each other, of a genotype or mixed."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks.conv import Conv
from jaxseg.networks.blocks.operations import NormOf, Reduce, of_darts, of_nas_unet
from jaxseg.search.cells import FULL, NONE, Cells, edge


class Preprocess(nn.Module):
  """ReLU, 1x1 convolution, norm: what a cell does to its inputs. `reduce` halves as DARTS does."""

  features: int
  stride: int = 1
  reduce: bool = False
  norm: str = "group"
  affine: bool = True
  dtype: Any = None

  @nn.compact
  def __call__(self, x):
    options = {"affine": self.affine, "dtype": self.dtype}
    if self.reduce:
      return Reduce(self.features, self.norm, name="reduce", **options)(x)
    conv = Conv(self.features, 1, self.stride, use_bias=False, dtype=self.dtype, name="conv")
    return NormOf(self.norm, name="norm", **options)(conv(jax.nn.relu(x)))


class Cell(nn.Module):
  """The cell of that name of a space, its nodes side by side: -> (b, *space', nodes * features).

  Shapes: NAS-UNet's "down" takes inputs of twice the size that its second one has, and of that
  size, and gives half of it; "up" takes one of twice the size that the second one has, and gives
  that; DARTS' "normal" keeps the size, "reduce" halves it, where the first input has the second
  one's size, or twice that (`halve_first`).

  Attributes:
    cells: the space, of "darts" or "nas_unet".
    cell: which of its cells.
    features: of every node.
    edges: for each node its (operation, source) of a genotype; None where operations are mixed.
    halve_first: see above.
    norm, dtype: of all operations.
    unused_norms: registers those that the published supernet has for "none" and never uses.
  """

  cells: Cells
  cell: str
  features: int
  edges: Sequence[Any] | None = None
  halve_first: bool = False
  norm: str = "group"
  dtype: Any = None
  unused_norms: bool = False

  @nn.compact
  def __call__(self, first, second, mix: Mapping[str, Any] | None = None):
    affine = self.edges is not None
    options = {"norm": self.norm, "affine": affine, "dtype": self.dtype}
    stride = 2 if self.cell == "down" else 1
    make = Preprocess(self.features, stride, self.halve_first, name="first", **options)
    states = [make(first), Preprocess(self.features, name="second", **options)(second)]
    for node in range(self.cells.nodes):
      states.append(self._node(node, states, mix))
    return jnp.concatenate(states[2:], -1)

  def _node(self, node: int, states, mix):
    if self.edges is not None:
      parts = [self._apply(node, source, name, states) for name, source in self.edges[node]]
      return sum(parts)
    total = None
    for source in range(2 + node):
      group = self.cells.group(self.cell, source)
      for i, name in enumerate(self.cells.operations[group]):
        out = self._apply(node, source, name, states)
        if out is None:
          continue
        part = mix[group][edge(node, source), i].astype(out.dtype) * out
        total = part if total is None else total + part
    return total

  def _apply(self, node: int, source: int, name: str, states):
    """What an operation makes of a node's source; None of "none"."""
    mixed, label = self.edges is None, f"node{node + 1}_{source}_{name}"
    options = {"norm": self.norm, "affine": not mixed, "dtype": self.dtype, "name": label}
    if name == NONE and self.unused_norms:
      for which, of in (("scale", nn.initializers.ones), ("bias", nn.initializers.zeros)):
        self.param(f"{label}_{which}", of, (self.features,), jnp.float32)
    if self.cells.kind == "darts":
      stride = 2 if self.cell == "reduce" and source < 2 else 1
      made = of_darts(name, self.features, stride=stride, mixed=mixed, **options)
    else:
      made = of_nas_unet(name, self.features, **options)
    return None if made is None else made(states[source])


def of_genotype(genotype: Mapping[str, Any], cell: str) -> tuple[Cells, tuple]:
  """The space that a genotype is of, and the edges of one of its cells."""
  edges = tuple(tuple((name, source) for name, source in node) for node in genotype[cell])
  return FULL[genotype["space"]]._replace(nodes=len(edges)), edges
