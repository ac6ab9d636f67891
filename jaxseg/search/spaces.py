"""Spaces of architectures as data: choices, what each may be, and how many architectures that is.

space = spaces.build(dict(name="nas_unet", nodes=3))
chosen = spaces.draw(space, np.random.default_rng(0))   # {choice: option}
spaces.genotype(space, chosen)                          # JSON, see `genotypes`
spaces.changed(space, chosen, random)                   # another one, for evolution
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxseg import build as builder
from jaxseg.search import cells as cell_data
from jaxseg.search import topology as topology_data
from jaxseg.search.cells import KEPT, Cells
from jaxseg.search.topology import Topology

Chosen = dict[str, Any]
# the place of whatever is not there
ABSENT = None


class Space(NamedTuple):
  """What may be chosen.

  Attributes:
    name: in `SPACES`, or of what is searched.
    choices: choice -> all its options, in the order in which they are chosen.
    size: the number of different architectures.
    encode: chosen -> genotype, as JSON has it.
    decode: genotype -> chosen.
    allowed: (choice, its options, what was chosen before) -> those that go with that; None: all do.
  """

  name: str
  choices: Mapping[str, tuple]
  size: int
  encode: Callable[[Chosen], Any]
  decode: Callable[[Any], Chosen]
  allowed: Callable[[str, tuple, Chosen], tuple] | None = None


def check(space: Space) -> Space:
  """Raises ValueError for a space that is empty."""
  empty = [name for name, options in space.choices.items() if not len(options)]
  if empty or not space.choices or space.size < 1:
    what = f"choice '{empty[0]}' has no option" if empty else "nothing is to be chosen"
    raise ValueError(f"search space '{space.name}' is empty: {what}; expected one or more options.")
  return space


def options(space: Space, name: str, before: Chosen) -> tuple:
  """The options of a choice after what was chosen before it."""
  of = space.choices[name]
  return of if space.allowed is None else space.allowed(name, of, before)


def draw(space: Space, random: np.random.Generator) -> Chosen:
  """One of the architectures: each choice uniform among its options, in their order."""
  return completed(space, {}, random)


def changed(space: Space, chosen: Chosen, random: np.random.Generator) -> Chosen:
  """The architecture with one choice made anew, and those that no longer go with it.

  Raises ValueError where nothing else can be chosen.
  """
  several = [name for name in space.choices if len(options(space, name, chosen)) > 1]
  if not several:
    raise ValueError(f"search space '{space.name}': has one architecture, which cannot be changed.")
  name = several[random.integers(len(several))]
  before = dict(itertools.takewhile(lambda of: of[0] != name, chosen.items()))
  others = [of for of in options(space, name, before) if of != chosen[name]]
  new = {**before, name: others[random.integers(len(others))]}
  return completed(space, new, random, like=chosen)


def completed(
  space: Space, start: Chosen, random: np.random.Generator, *, like: Chosen | None = None
) -> Chosen:
  """The choices that `start` leaves open: as in `like` where that goes with them, else drawn."""
  out: Chosen = {}
  for name in space.choices:
    if name in start:
      out[name] = start[name]
      continue
    of = options(space, name, out)
    keep = like is not None and like[name] in of
    out[name] = like[name] if keep else of[random.integers(len(of))]
  return out


def genotype(space: Space, chosen: Chosen) -> Any:
  """What was chosen, as JSON."""
  return space.encode(chosen)


def within(space: Space, value: Mapping[str, Any], where: str) -> Chosen:
  """What was chosen for a genotype; raises ValueError for one that is not of the space."""
  try:
    chosen = space.decode(value)
  except (KeyError, IndexError, ValueError):
    chosen = {}
  before: Chosen = {}
  for name in space.choices:
    if name not in chosen or chosen[name] not in options(space, name, before):
      break
    before[name] = chosen[name]
  if len(before) < max(len(space.choices), len(chosen)) or _named(space.encode(before)) != _named(
    value
  ):
    raise ValueError(
      f"{where}: a genotype of '{value['space']}' that does not lie in the space '{space.name}' as "
      "it is searched; expected one of its operations and sizes."
    )
  return before


def _named(genotype: Mapping[str, Any]) -> dict[str, Any]:
  """What a genotype says but for its lists: its space, the depths of DiNTS."""
  return {name: of for name, of in genotype.items() if isinstance(of, str | int)}


def of_cells(cells: Cells) -> Space:
  """Two different inputs for each node, and an operation for each of them."""
  choices, size = {}, 1
  for cell in cells.cells:
    for node in range(cells.nodes):
      pairs = tuple(
        tuple(zip(names, sources, strict=True))
        for sources in itertools.combinations(range(2 + node), KEPT)
        for names in itertools.product(*(cells.choices(cell, source) for source in sources))
      )
      choices[f"{cell}.{node}"] = pairs
      size *= len(pairs)

  def encode(chosen):
    of = {
      cell: [[list(edge) for edge in chosen[f"{cell}.{node}"]] for node in range(cells.nodes)]
      for cell in cells.cells
    }
    return {"space": cells.kind, **of}

  def decode(genotype):
    return {
      f"{cell}.{node}": tuple(sorted(map(tuple, edges), key=lambda edge: edge[1]))
      for cell in cells.cells
      for node, edges in enumerate(genotype[cell])
    }

  return Space(cells.kind, choices, size, encode, decode)


def of_topology(topology: Topology) -> Space:
  """Paths of every block, and an operation for each of them."""
  subsets, blocks = topology.subsets, range(topology.blocks)
  by_sources: dict[frozenset[int], tuple] = {}
  for subset in subsets:
    key = topology.sources(subset)
    by_sources[key] = (*by_sources.get(key, ()), subset)
  choices: dict[str, tuple] = {}
  for block in blocks:
    choices[f"{block}.paths"] = subsets
    for path in range(len(topology.paths)):
      choices[f"{block}.{path}"] = (ABSENT, *topology.operations)

  def allowed(name, options, before):
    block, _, part = name.partition(".")
    if part != "paths":
      used = int(part) in before[f"{block}.paths"]
      return topology.operations if used else (ABSENT,)
    if block == "0":
      return options
    return by_sources[topology.targets(before[f"{int(block) - 1}.paths"])]

  def encode(chosen):
    return {
      "space": "dints",
      "depths": topology.depths,
      "blocks": [
        [[path, chosen[f"{block}.{path}"]] for path in chosen[f"{block}.paths"]] for block in blocks
      ],
    }

  def decode(genotype):
    chosen: Chosen = {}
    for block, paths in enumerate(genotype["blocks"]):
      named = dict(paths)
      chosen[f"{block}.paths"] = tuple(sorted(named))
      for path in range(len(topology.paths)):
        chosen[f"{block}.{path}"] = named.get(path, ABSENT)
    return chosen

  return Space("dints", choices, topology_data.size(topology), encode, decode, allowed)


def of_fields(
  choices: Mapping[str, Sequence], *, name: str = "fields", groups: Sequence[str] = ()
) -> Space:
  """Independent choices, such as fields of a config: {"network.kernels": (3, 5), ...}.

  The genotype is {"space": name, choice: option}; those of `groups` are lists of several choices,
  "widths" of "widths.0", "widths.1", ...
  """
  of = {key: tuple(values) for key, values in choices.items()}
  members = {group: [key for key in of if key.startswith(f"{group}.")] for group in groups}
  single = [key for key in of if not any(key in keys for keys in members.values())]

  def encode(chosen):
    lists = {group: [chosen[key] for key in keys] for group, keys in members.items()}
    return {"space": name, **{key: chosen[key] for key in single}, **lists}

  def decode(genotype):
    by_key = {key: genotype[key] for key in single}
    for group, keys in members.items():
      by_key |= dict(zip(keys, genotype[group], strict=True))
    return {key: by_key[key] for key in of}

  size = math.prod(len(values) for values in of.values())
  return Space(name, of, size, encode, decode)


def darts(*, nodes: int = 4, operations: Sequence[str] = cell_data.DARTS) -> Space:
  """The cells of DARTS, see `cells.darts`."""
  return of_cells(cell_data.darts(nodes=nodes, operations=tuple(operations)))


def nas_unet(
  *,
  nodes: int = 3,
  down: Sequence[str] = cell_data.DOWN,
  up: Sequence[str] = cell_data.UP,
  normal: Sequence[str] = cell_data.NORMAL,
) -> Space:
  """The cells of NAS-UNet, see `cells.nas_unet`."""
  names = {"down": tuple(down), "up": tuple(up), "normal": tuple(normal)}
  return of_cells(cell_data.nas_unet(nodes=nodes, **names))


def dints(
  *, blocks: int = 12, depths: int = 4, rank: int = 3, operations: Sequence[str] | None = None
) -> Space:
  """DiNTS' topology, see `topology`."""
  names = None if operations is None else tuple(operations)
  return of_topology(
    topology_data.topology(blocks=blocks, depths=depths, rank=rank, operations=names)
  )


def elastic(
  *,
  widths: Sequence[Sequence[int]] = ((16, 24, 32), (32, 48, 64), (64, 96, 128), (96, 128, 160)),
  kernels: Sequence[int] = (3, 5),
  depth: Sequence[int] = (1, 2),
) -> Space:
  """Channels, kernel sizes and depth of every stage of a `plain_conv_unet`.

  `widths` has the options of each stage, the finest first; kernels and depth are those of all, and
  a stage of the decoder has the kernel and the width of the encoder's.
  """
  if len(widths) < 2 or not all(len(of) for of in (*widths, kernels, depth)):
    raise ValueError(
      f"elastic: widths={tuple(map(tuple, widths))}, kernels={tuple(kernels)}, "
      f"depth={tuple(depth)}; expected two stages or more and one option or more of each."
    )
  stages = range(len(widths))
  choices = {f"widths.{i}": tuple(of) for i, of in enumerate(widths)}
  choices |= {f"kernels.{i}": tuple(kernels) for i in stages}
  choices |= {f"depth.{i}": tuple(depth) for i in stages}
  return of_fields(choices, name="elastic", groups=("widths", "kernels", "depth"))


SPACES: dict[str, Callable[..., Space]] = {
  "darts": darts,
  "nas_unet": nas_unet,
  "dints": dints,
  "elastic": elastic,
}


def build(spec: Mapping[str, Any], where: str = "space") -> Space:
  """The space that a dict names, as a config has it; raises ValueError in words."""
  with builder.in_field(where):
    return check(builder.build(SPACES, spec, where))
