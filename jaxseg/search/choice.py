"""What a search would choose now: the strongest edges and operations, skips among them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.search.cells import KEPT, NONE, SKIPS, Cells, edge
from jaxseg.search.relaxation import Mix, entropy


class Strongest(NamedTuple):
  """The two edges of a node that are kept: (2,) whole numbers each.

  Attributes:
    sources: where they come from, the strongest first.
    operations: the place of each one's operation among those of its edge.
  """

  sources: jax.Array
  operations: jax.Array


def strongest(cells: Cells, mix: Mix) -> dict[str, list[Strongest]]:
  """Cell -> of each node the two strongest edges, each with its strongest operation but none.

  Where edges choose from different numbers of operations, the strengths of those that choose from
  fewer are scaled by the ratio, because probabilities of fewer are larger (NAS-UNet's rule).
  """
  return {
    cell: [_of_node(cells, mix, cell, node) for node in range(cells.nodes)] for cell in cells.cells
  }


def of_sources(
  cells: Cells, mix: Mix, cell: str, node: int
) -> tuple[list[jax.Array], list[jax.Array]]:
  """Of each edge into a node: the strengths of its operations, -inf of none; its own strength."""
  groups = [cells.group(cell, source) for source in range(2 + node)]
  most = max(len(cells.operations[group]) for group in groups)
  rows, strengths = [], []
  for source, group in enumerate(groups):
    names, row = cells.operations[group], mix[group][edge(node, source)]
    row = jnp.where(np.array([name == NONE for name in names]), -jnp.inf, row)
    rows.append(row)
    strengths.append(jnp.max(row) * len(names) / most)
  return rows, strengths


def _of_node(cells: Cells, mix: Mix, cell: str, node: int) -> Strongest:
  rows, strengths = of_sources(cells, mix, cell, node)
  best = [jnp.argmax(row) for row in rows]
  _, sources = jax.lax.top_k(jnp.stack(strengths), KEPT)
  return Strongest(sources, jnp.stack(best)[sources])


def skips(cells: Cells, mix: Mix) -> jax.Array:
  """Of each cell, the number of kept edges that are skip connections: (cells,) whole numbers."""
  out = []
  for cell, nodes in strongest(cells, mix).items():
    total = jnp.zeros((), jnp.int32)
    for node, of in enumerate(nodes):
      # (sources, operations), padded: which of them are skips
      names = [cells.operations[cells.group(cell, source)] for source in range(2 + node)]
      width = max(map(len, names))
      table = np.array(
        [[name in SKIPS for name in row] + [False] * (width - len(row)) for row in names]
      )
      total += jnp.sum(jnp.asarray(table)[of.sources, of.operations], dtype=jnp.int32)
    out.append(total)
  return jnp.stack(out)


def edges_of(cells: Cells) -> dict[str, np.ndarray]:
  """Group -> the rows of its weights that are of edges of some cell."""
  rows: dict[str, set[int]] = {group: set() for group in cells.operations}
  for cell in cells.cells:
    for node in range(cells.nodes):
      for source in range(2 + node):
        rows[cells.group(cell, source)].add(edge(node, source))
  return {group: np.array(sorted(of), int) for group, of in rows.items()}


def acting(cells: Cells) -> dict[str, np.ndarray]:
  """Group -> (edges, operations) of bool: the weights of what some cell computes.

  Those of edges of other groups, and of "none", are weights of no operation.
  """
  out = {}
  for group, rows in edges_of(cells).items():
    names = cells.operations[group]
    out[group] = np.zeros((cells.edges, len(names)), bool)
    out[group][rows] = [name != NONE for name in names]
  return out


def mean_entropy(cells: Cells, probabilities: Mix) -> jax.Array:
  """Over all edges, in nats: log of the number of operations before anything is learnt, 0 at the
  end of a search that has decided."""
  each = [entropy(probabilities[group][rows]) for group, rows in edges_of(cells).items()]
  return jnp.mean(jnp.concatenate(each))


def genotype(cells: Cells, mix: Mix) -> dict[str, Any]:
  """What is chosen, as JSON; see `genotypes`."""
  out: dict[str, Any] = {"space": cells.kind}
  for cell, nodes in strongest(cells, mix).items():
    out[cell] = []
    for of in nodes:
      pairs = sorted(zip(map(int, of.sources), map(int, of.operations), strict=True))
      edges = [
        [cells.operations[cells.group(cell, source)][place], source] for source, place in pairs
      ]
      out[cell].append(edges)
  return out


def one_hot(cells: Cells, chosen: Mapping[str, Any]) -> dict[str, Mix]:
  """Cell -> the mix by which a supernet computes a genotype: 1 at its operations, else 0.

  So are architectures compared by weights that they share. Raises ValueError for a genotype that
  the supernet does not hold.
  """
  out: dict[str, Mix] = {}
  for cell in cells.cells:
    if len(chosen[cell]) != cells.nodes:
      raise ValueError(
        f"genotype.{cell}: has {len(chosen[cell])} nodes, the supernet's cells have {cells.nodes}."
      )
    mix = {group: np.zeros(shape, np.float32) for group, shape in cells.shapes.items()}
    for node, edges in enumerate(chosen[cell]):
      for name, source in edges:
        group = cells.group(cell, source)
        if name not in cells.operations[group]:
          raise ValueError(
            f"genotype.{cell}: '{name}' is none of the supernet's operations of '{group}': "
            f"{', '.join(cells.operations[group])}."
          )
        mix[group][edge(node, source), cells.operations[group].index(name)] = 1.0
    out[cell] = {group: jnp.asarray(of) for group, of in mix.items()}
  return out
