"""How far what a search chose is ahead of what would have been next, choice by choice."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxseg.search import choice, paths
from jaxseg.search.cells import KEPT, SKIPS, Cells
from jaxseg.search.derivation import strengths_of
from jaxseg.search.relaxation import PATHS, Weights
from jaxseg.search.topology import SKIP, Topology

# a lead of less, as a share of the strength of what was chosen, is as good as a draw
UNDECIDED = 0.05
# a mean entropy of more, as a share of that before anything is learnt, tells of no choice
_OPEN = 0.999


class Decision(NamedTuple):
  """One choice of a genotype.

  Attributes:
    cell: or block.
    place: which choice it is, in words.
    chosen, rival: what was chosen, and what would have been next.
    strength: of what was chosen, in the probabilities by which the strongest is taken.
    margin: how much less the rival has.
    skip: whether a skip connection was chosen.
  """

  cell: str
  place: str
  chosen: str
  rival: str
  strength: float
  margin: float
  skip: bool = False

  @property
  def undecided(self) -> bool:
    return self.margin < UNDECIDED * self.strength

  def __str__(self) -> str:
    return (
      f"{self.cell}, {self.place}: {self.chosen} {self.strength:.4f}, then {self.rival} "
      f"{self.strength - self.margin:.4f} (margin {self.margin:.4f})"
    )


def decisions(of: Any, weights: Weights, method: str) -> list[Decision]:
  """Of every edge its operation, of every node its edges; of DiNTS paths and their operations.

  Arguments as of `derivation.genotype`. What has no rival is no choice.
  """
  weights = jax.tree.map(np.asarray, weights)
  if isinstance(of, Topology):
    return list(_of_paths(of, weights))
  return list(_of_cells(of, strengths_of(method)(weights)))


def _of_cells(cells: Cells, mix) -> Iterator[Decision]:
  for cell, nodes in choice.strongest(cells, mix).items():
    for node, kept in enumerate(nodes):
      rows, strengths = choice.of_sources(cells, mix, cell, node)
      for source in sorted(map(int, kept.sources)):
        names = cells.operations[cells.group(cell, source)]
        yield from _between(
          cell, f"node {node + 1} from {_source(source)}", names, np.asarray(rows[source])
        )
      each = np.asarray(strengths)
      # the first node has no more edges than are kept
      if node:
        first, then = np.argsort(-each, kind="stable")[KEPT - 1 : KEPT + 1]
        yield Decision(
          cell,
          f"node {node + 1}, which edges",
          f"that from {_source(first)}",
          f"that from {_source(then)}",
          float(each[first]),
          float(each[first] - each[then]),
        )


def _source(source: int) -> str:
  return f"input {source + 1}" if source < KEPT else f"node {source - KEPT + 1}"


def _between(cell: str, place: str, names, strengths: np.ndarray) -> Iterator[Decision]:
  """The strongest of several operations against the next one; -inf is no choice."""
  order = [i for i in np.argsort(-strengths, kind="stable") if np.isfinite(strengths[i])]
  if len(order) < 2:
    return
  best, second = order[:2]
  margin = float(strengths[best] - strengths[second])
  chosen = names[best]
  yield Decision(
    cell, place, chosen, names[second], float(strengths[best]), margin, chosen in (*SKIPS, SKIP)
  )


def _of_paths(topology: Topology, weights) -> Iterator[Decision]:
  operations = np.asarray(jax.nn.softmax(weights[paths.OPERATIONS], -1))
  used = np.asarray(jax.nn.sigmoid(weights[PATHS]))
  for block, pairs in enumerate(paths.genotype(topology, weights)["blocks"]):
    cell, chosen = f"block {block + 1}", {number for number, _ in pairs}
    for number, path in enumerate(topology.paths):
      place = f"path from resolution {path.source + 1} to {path.target + 1}"
      share = float(used[block, number] if number in chosen else 1 - used[block, number])
      words = ("used", "left out")[:: 1 if number in chosen else -1]
      # what follows from the paths beside it may be against its own probability
      yield Decision(cell, place, *words, share, 2 * share - 1)
      if number in chosen:
        yield from _between(cell, place, topology.operations, operations[block, number])


def open_share(of: Any, weights: Weights, method: str) -> float:
  """The mean entropy of the choices as a share of what it is before anything is learnt."""
  weights = jax.tree.map(np.asarray, weights)
  if isinstance(of, Topology):
    entropies = [float(part) for part in paths.entropies(weights)]
    most = np.log(2) + np.log(len(of.operations))
    return sum(entropies) / most
  mix = strengths_of(method)(weights)
  shares = {group: row / row.sum(-1, keepdims=True) for group, row in mix.items()}
  even = {group: np.full_like(row, 1 / row.shape[-1]) for group, row in shares.items()}
  most = float(choice.mean_entropy(of, even))
  return float(choice.mean_entropy(of, shares)) / most if most else 0.0


def notes(of: Any, weights: Weights, method: str, *, collapsed: Sequence[str] = ()) -> list[str]:
  """What is to be told of choices that are as good as drawn by lot, and of skips that took over.

  `collapsed` are the cells most of whose edges are skip connections.
  """
  every = decisions(of, weights, method)
  close = [one for one in every if one.undecided]
  told = []
  for cell in collapsed:
    told.append(f"The skip connections of the {cell} cell, and what would have been instead:")
    told += [f"  {one}" for one in every if one.cell == cell and one.skip]
  if (share := open_share(of, weights, method)) > _OPEN:
    told.append(
      f"Warning: the choices are as open as before anything is learnt ({100 * share:.2f} % of that "
      "entropy): the genotype is chance; expected more steps, or a higher rate of "
      "config.optimisers.architecture."
    )
  if close:
    told.append(
      f"Warning: {len(close)} of {len(every)} choices are undecided, ahead of the next one by less "
      f"than {100 * UNDECIDED:g} % of their strength:"
    )
    told += [f"  {one}" for one in close]
  return told
