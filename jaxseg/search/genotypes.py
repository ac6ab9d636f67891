"""Genotypes: what a search chose, as JSON that lives in a config or in a file.

    {"space": "nas_unet", "down": [[["down_conv", 1], ["down_dep", 0]], ...], "up": [...]}
    {"space": "darts", "normal": [[["sep3", 0], ["sep3", 1]], ...], "reduce": [...]}
    {"space": "dints", "depths": 4, "blocks": [[[0, "skip"], [3, "conv_3x3x3"]], ...]}
    {"space": "elastic", "widths": [16, 32], "kernels": [3, 5], "depth": [1, 2]}

Of cells: for each node its two edges, (operation, input): 0 and 1 are the cell's inputs, 2 the
first node. Of DiNTS: for each block its paths, (number, operation), see `topology`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxseg import files
from jaxseg.build import plain, suggestion
from jaxseg.search import cells as cell_data
from jaxseg.search import topology as topology_data

ADVICE = "derive it again (jaxseg derive RUN --output FILE)"
WHAT = "a genotype as `jaxseg derive` writes it"
KINDS = ("darts", "nas_unet", "dints", "elastic")

_V2_DOWN = [[["down_conv", 1], ["down_dep", 0]], [["down_cweight", 1], ["down_dil", 0]]]
_V2_DOWN += [[["down_dil", 1], ["down_conv", 0]]]
_V2_UP = [[["identity", 0], ["up_cweight", 1]], [["identity", 2], ["up_cweight", 1]]]
_V2_UP += [[["cweight", 3], ["up_conv", 1]]]
_EN_DOWN = [[["down_dep", 0], ["down_dil", 1]], [["down_cweight", 0], ["down_dep", 1]]]
_EN_DOWN += [[["down_dep", 1], ["down_dep", 0]]]
_EN_UP = [[["identity", 0], ["up_dep", 1]], [["cweight", 0], ["up_cweight", 1]]]
_EN_UP += [[["conv", 2], ["up_cweight", 1]]]
_DARTS_NORMAL = [[["sep3", 0], ["sep3", 1]], [["sep3", 0], ["sep3", 1]]]
_DARTS_NORMAL += [[["sep3", 1], ["skip", 0]], [["skip", 0], ["dil3", 2]]]
_DARTS_REDUCE = [[["max3", 0], ["max3", 1]], [["skip", 2], ["max3", 1]]]
_DARTS_REDUCE += [[["max3", 0], ["skip", 2]], [["skip", 2], ["max3", 1]]]

# those of the papers' own searches, by the names that their code gives them
PUBLISHED: dict[str, dict[str, Any]] = {
  "nas_unet_v2": {"space": "nas_unet", "down": _V2_DOWN, "up": _V2_UP},
  "nas_unet_v2_en": {"space": "nas_unet", "down": _EN_DOWN, "up": _EN_UP},
  "darts_v2": {"space": "darts", "normal": _DARTS_NORMAL, "reduce": _DARTS_REDUCE},
}


def read(path) -> dict[str, Any]:
  """The genotype in a file; raises ValueError in a sentence for what is none."""
  value = files.read_json(path, what=WHAT, advice=ADVICE, fields={"space": str})
  return check(value, str(path))


def write(path, genotype: Mapping[str, Any]) -> None:
  """Checks a genotype and writes it to a file."""
  files.write_json(path, check(genotype, "genotype"))


def resolve(value: Any, where: str) -> dict[str, Any]:
  """The genotype that a config's value is: itself, the name of a published one, or of a file."""
  if not isinstance(value, str):
    return check(value, where)
  if value in PUBLISHED:
    return PUBLISHED[value]
  if value.endswith(".json"):
    try:
      return read(value)
    except (ValueError, OSError) as error:
      raise type(error)(f"{where}: {error}") from error
  raise ValueError(
    f"{where}: '{value}' is no genotype{suggestion(value, PUBLISHED)}; expected a dict, the path "
    f"of a .json file, or one of {', '.join(PUBLISHED)}."
  )


def check(genotype: Any, where: str, *, kinds: Sequence[str] = KINDS) -> dict[str, Any]:
  """The genotype, its sequences as lists; raises ValueError for what it cannot be."""
  value = _lists(plain(genotype))
  if not isinstance(value, dict) or "space" not in value:
    raise ValueError(f'{where}: {genotype!r} is no genotype; expected dict(space="nas_unet", ...).')
  kind = value["space"]
  if kind not in kinds:
    raise ValueError(
      f"{where}.space: {kind!r}{suggestion(str(kind), kinds)}; expected {' or '.join(kinds)}."
    )
  if kind == "dints":
    _check_topology(value, where)
  elif kind == "elastic":
    _check_elastic(value, where)
  else:
    _check_cells(value, where)
  return value


def nodes(genotype: Mapping[str, Any]) -> int:
  """Of every cell."""
  return len(next(of for name, of in genotype.items() if name != "space"))


def _lists(value: Any) -> Any:
  if isinstance(value, dict):
    return {name: _lists(of) for name, of in value.items()}
  return [_lists(of) for of in value] if isinstance(value, tuple) else value


def _check_names(genotype: Mapping[str, Any], names: Sequence[str], where: str) -> None:
  expected = ("space", *names)
  for name in genotype:
    if name not in expected:
      raise ValueError(
        f"{where}.{name}: a genotype of '{genotype['space']}' has no such entry"
        f"{suggestion(str(name), expected)}; expected {', '.join(expected)}."
      )
  for name in expected:
    if name not in genotype:
      raise ValueError(f"{where}: lacks '{name}'; expected {', '.join(expected)}.")


def _check_cells(genotype: Mapping[str, Any], where: str) -> None:
  cells = cell_data.FULL[genotype["space"]]
  _check_names(genotype, tuple(cells.cells), where)
  number = {cell: len(genotype[cell]) for cell in cells.cells if _is_list(genotype[cell])}
  if len(number) < len(cells.cells) or len(set(number.values())) > 1 or 0 in number.values():
    raise ValueError(
      f"{where}: the cells {', '.join(cells.cells)} have {list(number.values())} nodes; expected a "
      "list of nodes for each, as many in one as in the other, and one or more."
    )
  for cell in cells.cells:
    for node, edges in enumerate(genotype[cell]):
      place = f"{where}.{cell}: node {node}"
      if not _is_list(edges) or len(edges) != cell_data.KEPT or not all(map(_is_edge, edges)):
        raise ValueError(f"{place}: {edges!r}; expected two edges, each [operation, input].")
      for name, source in edges:
        _check_edge(cells, cell, node, name, source, place)
      if edges[0][1] == edges[1][1]:
        raise ValueError(
          f"{place}: both of its edges come from input {edges[0][1]}; expected two different ones."
        )


def _check_edge(cells, cell: str, node: int, name: str, source: int, place: str) -> None:
  if not 0 <= source < 2 + node:
    raise ValueError(
      f"{place}: reads input {source}; expected 0 or 1, the cell's inputs"
      + (f", or up to {node + 1}, the nodes before it." if node else ".")
    )
  known = cells.choices(cell, source)
  if name in known:
    return
  others = {of for names in cells.operations.values() for of in names}
  if name in others - {cell_data.NONE}:
    raise ValueError(
      f"{place}: '{name}' doesn't fit its edge from input {source}, whose size would be another "
      f"one; expected {', '.join(known)}."
    )
  raise ValueError(
    f"{place}: operation '{name}' is unknown{suggestion(name, known)}; choices: {', '.join(known)}."
  )


def _check_topology(genotype: Mapping[str, Any], where: str) -> None:
  _check_names(genotype, ("depths", "blocks"), where)
  depths, blocks = genotype["depths"], genotype["blocks"]
  if not _is_int(depths) or not 2 <= depths <= 5 or not _is_list(blocks) or not blocks:
    raise ValueError(f"{where}: expected depths from 2 to 5 and a list of one block or more.")
  every = {name for names in topology_data.OPERATIONS.values() for name in names}
  of = topology_data.topology(blocks=len(blocks), depths=depths)
  made: frozenset[int] | None = None
  for number, block in enumerate(blocks):
    place = f"{where}.blocks: block {number}"
    good = _is_list(block) and block and all(_is_list(p) and len(p) == 2 for p in block)
    if not good or not all(_is_int(path) for path, _ in block):
      raise ValueError(f"{place}: {block!r}; expected one path or more, each [number, operation].")
    used = [path for path, _ in block]
    for path, name in block:
      if not 0 <= path < len(of.paths) or used.count(path) > 1:
        raise ValueError(
          f"{place}: path {path}; expected numbers from 0 to {len(of.paths) - 1}, each once."
        )
      if name not in every:
        raise ValueError(
          f"{place}: operation '{name}' is unknown{suggestion(str(name), every)}; choices: "
          f"{', '.join(sorted(every))}."
        )
    read = of.sources(tuple(used))
    if made is not None and read != made:
      raise ValueError(
        f"{place}: reads the resolutions {sorted(read)}, and the block before makes "
        f"{sorted(made)}; expected the same ones."
      )
    made = of.targets(tuple(used))
  ranks = {name.count("x") for block in blocks for _, name in block if name != topology_data.SKIP}
  if len(ranks) > 1:
    raise ValueError(f"{where}.blocks: has operations of 2D and of 3D; expected those of one.")


def _check_elastic(genotype: Mapping[str, Any], where: str) -> None:
  names = ("widths", "kernels", "depth")
  _check_names(genotype, names, where)
  number = len(genotype["widths"]) if _is_list(genotype["widths"]) else 0
  for name in names:
    of = genotype[name]
    if not _is_list(of) or len(of) != number or number < 2 or not all(map(_is_int, of)):
      raise ValueError(
        f"{where}.{name}: {of!r}; expected a list of whole numbers, one for each of two stages or "
        "more."
      )
    if min(of) < 1 or (name == "kernels" and not all(k % 2 for k in of)):
      raise ValueError(f"{where}.{name}: {of}; expected numbers from 1, odd ones of kernels.")


def _is_list(value: Any) -> bool:
  return isinstance(value, list)


def _is_int(value: Any) -> bool:
  return isinstance(value, int) and not isinstance(value, bool)


def _is_edge(value: Any) -> bool:
  return _is_list(value) and len(value) == 2 and isinstance(value[0], str) and _is_int(value[1])
