"""DiNTS' topology as data: blocks of paths between resolutions, and which may follow which.

Resolution 0 is the finest. A path keeps it, halves it or doubles it: of 4 resolutions there are 10
paths in a block, ordered by where they end, then by where they begin, finest first.
Source: He et al., CVPR 2021, 2103.15954; Auto-DeepLab: Liu et al., 1901.02985.
"""

import itertools
from typing import NamedTuple

SKIP = "skip"
# 3x3x1: a kernel (3, 3, 1), then one (1, 1, 3), in the order of the axes
OPERATIONS = {
  2: (SKIP, "conv_3x3"),
  3: (SKIP, "conv_3x3x3", "conv_3x3x1", "conv_3x1x3", "conv_1x3x3"),
}


class Path(NamedTuple):
  """From a resolution to another one."""

  source: int
  target: int


class Topology(NamedTuple):
  """What is chosen in each of the blocks: paths, and an operation for each of them.

  Attributes:
    blocks: one after another.
    depths: resolutions.
    operations: of every path.
  """

  blocks: int
  depths: int
  operations: tuple[str, ...]

  @property
  def paths(self) -> tuple[Path, ...]:
    """Of every block."""
    return tuple(
      Path(source, target)
      for target in range(self.depths)
      for source in range(target - 1, target + 2)
      if 0 <= source < self.depths
    )

  @property
  def subsets(self) -> tuple[tuple[int, ...], ...]:
    """Every choice of one or more paths, by their numbers: 1,023 of 4 resolutions.

    In the order of binary numbers whose first digit is the first path.
    """
    every = itertools.product((0, 1), repeat=len(self.paths))
    return tuple(tuple(i for i, used in enumerate(of) if used) for of in every if any(of))

  def sources(self, subset: tuple[int, ...]) -> frozenset[int]:
    """The resolutions that these paths read."""
    return frozenset(self.paths[i].source for i in subset)

  def targets(self, subset: tuple[int, ...]) -> frozenset[int]:
    """The resolutions that they make."""
    return frozenset(self.paths[i].target for i in subset)


def topology(
  *, blocks: int = 12, depths: int = 4, rank: int = 3, operations: tuple[str, ...] | None = None
) -> Topology:
  """DiNTS' search space; raises ValueError for one that is empty or not drawn from its parts."""
  if blocks < 1 or not 2 <= depths <= 5:
    raise ValueError(
      f"dints: blocks={blocks}, depths={depths}; expected 1 or more blocks of 2 to 5 resolutions."
    )
  if rank not in OPERATIONS:
    raise ValueError(f"dints: rank={rank}; expected 2 or 3.")
  known = OPERATIONS[rank]
  names = known if operations is None else tuple(operations)
  if not names or len(set(names)) < len(names) or set(names) - set(known):
    raise ValueError(
      f"dints: operations={names}; expected one or more of {rank}D's, each once: "
      f"{', '.join(known)}."
    )
  return Topology(blocks, depths, names)


def size(of: Topology) -> int:
  """The number of architectures in which each block reads all that the block before makes."""
  number = len(of.operations)
  # sets of resolutions that are made -> ways to make them
  made: dict[frozenset[int], int] = {}
  for block in range(of.blocks):
    after: dict[frozenset[int], int] = {}
    for subset in of.subsets:
      before = 1 if block == 0 else made.get(of.sources(subset), 0)
      target = of.targets(subset)
      after[target] = after.get(target, 0) + before * number ** len(subset)
    made = after
  return sum(made.values())
