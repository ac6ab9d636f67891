"""The sanity check: does a map change when the network's weights become random?"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxseg.batch import Array
from jaxseg.metrics.image import ssim

# a map that is more like the trained network's than this has survived (0 to 1)
SURVIVAL = 0.5
# of the strongest value
_NOTHING = 0.01


class Check(NamedTuple):
  """What became of a map.

  Attributes:
    parts: that had become random, cumulatively from the scores backwards; the last is "all".
    similarity: SSIM of each map with the trained network's.
    survives: whether the one of random weights alone is still like it.
  """

  parts: tuple[str, ...]
  similarity: tuple[float, ...]

  @property
  def survives(self) -> bool:
    return not self.similarity[-1] < SURVIVAL


def cascade(
  params: Any, fresh: Any, parts: Sequence[str], *, most: int = 5
) -> list[tuple[str, Any]]:
  """(name, parameters): the parts are re-initialised one after the other, those before them, too.

  Adebayo et al., "Sanity checks for saliency maps", arXiv 1810.03292.

  Args:
    params: the trained parameters and statistics, a tree.
    fresh: the same tree as a network begins with.
    parts: paths of layers, the one that gives the scores first.
    most: steps before the last one, evenly chosen; the last re-initialises everything.
  """
  chosen = np.unique(np.linspace(0, len(parts) - 1, min(most, len(parts))).round().astype(int))
  found = []
  for number in chosen:
    redone = tuple(part.split("/") for part in parts[: number + 1])

    def pick(path, old, new, redone=redone):
      names = [str(getattr(key, "key", getattr(key, "name", ""))) for key in path]
      return new if any(_holds(names, part) for part in redone) else old

    found.append((parts[number], jax.tree_util.tree_map_with_path(pick, params, fresh)))
  return [*found, ("all", fresh)]


def _holds(names: Sequence[str], part: Sequence[str]) -> bool:
  """Whether a path goes through a part: its names one after the other."""
  return any(names[i : i + len(part)] == list(part) for i in range(len(names)))


def check(explain: Callable[[Any], Array], steps: Sequence[tuple[str, Any]], trained) -> Check:
  """Maps of more and more random networks, beside the trained one's.

  Args:
    explain: parameters -> (*space) map.
    steps: of `cascade`.
    trained: the trained network's map.
  """
  similarity = [likeness(explain(params), trained) for _, params in steps]
  return Check(tuple(name for name, _ in steps), tuple(similarity))


def likeness(values: Array, reference: Array) -> float:
  """SSIM of two maps' sizes, where one of them is more than nothing.

  Two maps of one voxel are alike by what lies beyond its receptive field, were that counted.
  """
  one, other = strength(values), strength(reference)
  seen = np.maximum(one, other) > _NOTHING
  found = ssim(one, other, seen.astype(np.float32), data_range=1.0) if seen.any() else math.nan
  return float(ssim(one, other, data_range=1.0) if math.isnan(found) else found)


def strength(values: Array) -> np.ndarray:
  """Absolute values from 0 to 1, the 99th percentile and what is above it 1."""
  values = np.abs(np.asarray(values, np.float64))
  top = np.percentile(values, 99) or values.max()
  return np.minimum(values / top, 1) if top > 0 else values
