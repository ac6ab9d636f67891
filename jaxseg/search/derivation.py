"""From the weights of a search's choices to the genotype that it chose."""

from collections.abc import Callable
from typing import Any

from jaxseg.search import choice, paths, relaxation
from jaxseg.search.cells import KEPT, SKIPS, Cells
from jaxseg.search.relaxation import Mix, Weights

# the method whose operations don't compete
FAIR = "fairdarts"


def genotype(of: Any, weights: Weights, method: str) -> dict[str, Any]:
  """What was chosen, as JSON.

  Args:
    of: what a supernet's `choices` tell.
    weights: of the choices.
    method: by which they were learnt.
  """
  if not isinstance(of, Cells):
    return paths.genotype(of, weights)
  return choice.genotype(of, strengths_of(method)(weights))


def strengths_of(method: str) -> Callable[[Weights], Mix]:
  """Weights of choices -> what the strongest of each is taken by."""
  return relaxation.sigmoid if method == FAIR else relaxation.softmax


def edges(genotype: dict[str, Any]) -> dict[str, list[str]]:
  """Cell, or block, -> the operations of its edges."""
  if genotype["space"] == "dints":
    return {
      f"block {i + 1}": [name for _, name in block] for i, block in enumerate(genotype["blocks"])
    }
  cells = {name: of for name, of in genotype.items() if name != "space"}
  return {name: [op for node in of for op, _ in node] for name, of in cells.items()}


def skips(genotype: dict[str, Any]) -> dict[str, tuple[int, int]]:
  """Cell, or block, -> (skip connections, edges)."""
  return {name: (sum(op in SKIPS for op in of), len(of)) for name, of in edges(genotype).items()}


def collapsed(genotype: dict[str, Any]) -> list[str]:
  """The cells most of whose edges are skip connections; of DiNTS there is none."""
  if genotype["space"] == "dints":
    return []
  return [name for name, (number, of) in skips(genotype).items() if number > of / KEPT]
