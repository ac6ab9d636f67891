"""Drawings of genotypes, by matplotlib: cells as graphs, paths between resolutions as a grid."""

import pathlib
from collections.abc import Mapping
from typing import Any

from jaxseg import files
from jaxseg.build import suggestion
from jaxseg.search import topology
from jaxseg.search.cells import SKIPS

ENDINGS = (".png", ".svg", ".pdf")
_INPUT, _NODE, _OUTPUT = "#d9ead3", "#cfe2f3", "#fff2cc"
_COLOURS = {"skip": "#999999", "pool": "#6aa84f", "conv": "#3d85c6", "weight": "#a64d79"}


def check_ending(path) -> None:
  """Raises ValueError for a picture of a kind that is not drawn."""
  ending = pathlib.Path(path).suffix.lower()
  if ending not in ENDINGS:
    raise ValueError(
      f"{path}: pictures end in {', '.join(ENDINGS)}, not in '{ending}'"
      f"{suggestion(ending, ENDINGS)}."
    )


def draw(genotype: Mapping[str, Any], path) -> None:
  """Draws a genotype that is checked; the picture's kind is that of the path's ending.

  Raises ValueError for another ending, or where matplotlib is missing.
  """
  check_ending(path)
  try:
    from matplotlib.figure import Figure
  except ModuleNotFoundError:
    raise ValueError(
      f"{path}: drawings need matplotlib, which is not installed; pip install matplotlib, or leave "
      "the picture out."
    ) from None
  kind = genotype["space"]
  if kind == "dints":
    figure = Figure(figsize=(1.6 + 1.1 * len(genotype["blocks"]), 0.9 + 0.9 * genotype["depths"]))
    _topology(figure.add_subplot(), genotype)
  elif kind == "elastic":
    figure = Figure(figsize=(6, 2.4))
    _stages(figure.add_subplot(), genotype)
  else:
    cells = {name: of for name, of in genotype.items() if name != "space"}
    nodes = max(map(len, cells.values()))
    figure = Figure(figsize=(2.0 + 1.9 * nodes, 3.0 * len(cells)))
    for i, (name, of) in enumerate(cells.items()):
      _cell(figure.add_subplot(len(cells), 1, i + 1), name, of)
  figure.set_layout_engine("tight")
  with files.replacing(path) as temporary:
    figure.savefig(temporary, dpi=120)


def _colour(operation: str) -> str:
  if operation in SKIPS:
    return _COLOURS["skip"]
  if operation.startswith(("max", "avg")):
    return _COLOURS["pool"]
  return _COLOURS["weight" if "cweight" in operation else "conv"]


def _box(axes, x: float, y: float, text: str, colour: str) -> None:
  axes.text(
    x,
    y,
    text,
    ha="center",
    va="center",
    fontsize=9,
    bbox=dict(boxstyle="round,pad=0.35", facecolor=colour, edgecolor="#444444"),
    zorder=3,
  )


def _arrow(axes, start, end, colour: str, text: str, via=None, at: float = 0.5) -> None:
  """From a box to a box, by way of a control point of a curve; the text lies on it at a share."""
  from matplotlib.patches import FancyArrowPatch
  from matplotlib.path import Path

  middle = tuple((a + b) / 2 for a, b in zip(start, end, strict=True)) if via is None else via
  path = Path([start, middle, end], [Path.MOVETO, Path.CURVE3, Path.CURVE3])
  arrow = FancyArrowPatch(
    path=path, arrowstyle="-|>", mutation_scale=12, color=colour, lw=1.4, shrinkA=0, zorder=1
  )
  axes.add_patch(arrow)
  shares = ((1 - at) ** 2, 2 * at * (1 - at), at**2)
  x, y = (sum(w * p[k] for w, p in zip(shares, (start, middle, end), strict=True)) for k in (0, 1))
  axes.text(
    x,
    y,
    text,
    ha="center",
    va="center",
    fontsize=7.5,
    color=colour,
    zorder=2,
    bbox=dict(boxstyle="square,pad=0.1", facecolor="white", edgecolor="none"),
  )


def _cell(axes, name: str, nodes) -> None:
  """Nodes in a row; edges from the first input come from above, from the second from below."""
  inputs, row = [(0.0, 1.5), (0.0, -1.5)], [(2.0 + 2.0 * i, 0.0) for i in range(len(nodes))]
  for i, edges in enumerate(nodes):
    x, y = row[i]
    for operation, source in edges:
      colour = _colour(operation)
      if source < 2:
        side = 1 if source == 0 else -1
        start, end = inputs[source], (x - 0.15, side * 0.3)
        via = (x - 0.6, side * (1.5 + 0.45 * i))
        _arrow(axes, start, end, colour, operation, via, at=0.5)
        continue
      j = source - 2
      if i - j == 1:
        _arrow(axes, (row[j][0] + 0.45, y), (x - 0.5, y), colour, operation)
        continue
      side = 1 if i % 2 else -1
      start, end = (row[j][0] + 0.2, side * 0.3), (x + 0.15, side * 0.3)
      _arrow(axes, start, end, colour, operation, ((start[0] + x) / 2, side * 0.55 * (i - j + 1)))
  for i, place in enumerate(inputs):
    _box(axes, *place, f"input {i}", _INPUT)
  for i, place in enumerate(row):
    _box(axes, *place, f"node {i + 2}", _NODE)
  axes.set_title(f"{name} cell: its nodes side by side", fontsize=10, loc="left")
  axes.set_xlim(-0.7, row[-1][0] + 0.8)
  high = 1.5 + 0.45 * len(nodes)
  axes.set_ylim(-high, high)
  axes.axis("off")


def _topology(axes, genotype) -> None:
  """Blocks from left to right, resolutions from the finest on top."""
  depths, blocks = genotype["depths"], genotype["blocks"]
  paths = topology.topology(blocks=len(blocks), depths=depths).paths
  for block, chosen in enumerate(blocks):
    for number, operation in chosen:
      start = (block + 0.18, -paths[number].source)
      end = (block + 0.82, -paths[number].target)
      # paths down and up cross in the middle
      at = 0.5 if start[1] == end[1] else 0.3
      _arrow(axes, start, end, _colour(operation), operation.removeprefix("conv_"), at=at)
  for column in range(len(blocks) + 1):
    for row in range(depths):
      used = column < len(blocks) and any(paths[n].source == row for n, _ in blocks[column])
      used |= column > 0 and any(paths[n].target == row for n, _ in blocks[column - 1])
      colour = (_INPUT if column == 0 else _NODE) if used else "#ffffff"
      _box(axes, column, -row, f"1/{2**row}", colour)
  axes.set_title("columns are blocks, rows are resolutions", fontsize=9, loc="left")
  axes.set_xlim(-0.5, len(blocks) + 0.5)
  axes.set_ylim(-depths + 0.5, 0.5)
  axes.axis("off")


def _stages(axes, genotype) -> None:
  """A bar for each stage, as high as it is wide, with kernel and depth."""
  widths = genotype["widths"]
  axes.bar(range(len(widths)), widths, color=_COLOURS["conv"])
  for i, (width, kernel, depth) in enumerate(
    zip(widths, genotype["kernels"], genotype["depth"], strict=True)
  ):
    axes.text(i, width, f"{depth} x {kernel}", ha="center", va="bottom", fontsize=8)
  axes.set_xticks(range(len(widths)), [f"stage {i + 1}" for i in range(len(widths))])
  axes.set_ylim(0, 1.2 * max(widths))
  axes.set_ylabel("channels")
