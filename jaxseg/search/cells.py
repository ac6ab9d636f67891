"""Cells as data: which operations each edge chooses from, and which edges share a choice's weights.

A cell has two inputs and `nodes` nodes; node i sums what it makes of inputs and earlier nodes, one
operation for each of its two edges, and the cell's output is the nodes' channels side by side.
"""

from collections.abc import Mapping
from typing import NamedTuple

from jaxseg.build import suggestion

NONE = "none"
# Liu et al. 2019, 1806.09055
DARTS = (NONE, "max3", "avg3", "skip", "sep3", "sep5", "dil3", "dil5")
# Weng et al., IEEE Access 2019
DOWN = ("avg", "max", "down_cweight", "down_dil", "down_dep", "down_conv")
UP = ("up_cweight", "up_dep", "up_conv", "up_dil")
NORMAL = ("identity", NONE, "cweight", "dil", "dep", "shuffle", "conv")
SKIPS = ("skip", "identity")
# edges that a node of a derived cell keeps
KEPT = 2


class Cells(NamedTuple):
  """The cells of one supernet.

  Attributes:
    kind: of the genotypes, "darts" or "nas_unet".
    nodes: of every cell.
    operations: group of weights -> the operations that its edges choose from.
    cells: cell -> the groups of its edges from the first input, the second one, and nodes.
  """

  kind: str
  nodes: int
  operations: Mapping[str, tuple[str, ...]]
  cells: Mapping[str, tuple[str, str, str]]

  @property
  def edges(self) -> int:
    """Of a cell: 14 of 4 nodes, 9 of 3."""
    return sum(2 + node for node in range(self.nodes))

  @property
  def shapes(self) -> dict[str, tuple[int, int]]:
    """Group -> (edges, operations) of its weights; rows of edges of other groups have no effect."""
    return {group: (self.edges, len(names)) for group, names in self.operations.items()}

  def group(self, cell: str, source: int) -> str:
    """Of the edges from an input (0, 1) or a node (2 is the first one)."""
    return self.cells[cell][min(source, 2)]

  def choices(self, cell: str, source: int) -> tuple[str, ...]:
    """The operations of a derived cell's edges from there: none is no operation."""
    names = self.operations[self.group(cell, source)]
    return tuple(name for name in names if name != NONE)


def edge(node: int, source: int) -> int:
  """The place of an edge among all of a cell: those of the first node first."""
  return sum(2 + before for before in range(node)) + source


def darts(*, nodes: int = 4, operations: tuple[str, ...] = DARTS) -> Cells:
  """DARTS' normal cell and the reduction cell, whose edges from inputs have stride 2."""
  names = tuple(operations)
  cells = {"normal": ("normal",) * 3, "reduce": ("reduce",) * 3}
  return _checked(Cells("darts", nodes, dict.fromkeys(cells, names), cells), DARTS)


def nas_unet(
  *,
  nodes: int = 3,
  down: tuple[str, ...] = DOWN,
  up: tuple[str, ...] = UP,
  normal: tuple[str, ...] = NORMAL,
  sharing: bool = True,
) -> Cells:
  """NAS-UNet's cells: the down cell halves both inputs, the up cell doubles the second one.

  The first input of the up cell is the encoder's, of the size that comes out. With `sharing` the
  edges that keep their size choose by the same weights in both.
  """
  first, second = ("normal", "normal") if sharing else ("normal_down", "normal_up")
  operations = {first: tuple(normal), "down": tuple(down), second: tuple(normal), "up": tuple(up)}
  cells = {"down": ("down", "down", first), "up": (second, "up", second)}
  return _checked(Cells("nas_unet", nodes, operations, cells), NORMAL)


CELLS = {"darts": darts, "nas_unet": nas_unet}


def _checked(cells: Cells, known: tuple[str, ...]) -> Cells:
  """Raises ValueError for a space that is empty, or for operations that its edges cannot have."""
  if cells.nodes < 1:
    raise ValueError(f"{cells.kind}: nodes={cells.nodes}; expected 1 or more.")
  for group, names in cells.operations.items():
    for_group = {"down": DOWN, "up": UP}.get(group, known)
    for name in names:
      if name not in for_group:
        raise ValueError(
          f"{cells.kind}: '{name}' is no operation of the edges of '{group}'"
          f"{suggestion(str(name), for_group)}; choices: {', '.join(for_group)}."
        )
    if not set(names) - {NONE} or len(set(names)) < len(names):
      raise ValueError(
        f"{cells.kind}: the edges of '{group}' choose from {names}; expected one or more "
        "operations beside 'none', each once."
      )
  return cells


# of all that a genotype may name
FULL = {name: make() for name, make in CELLS.items()}
