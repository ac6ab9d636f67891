"""Where prompts are: what a user wrote -> positions, checked, and the voxels that they cover."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxseg.interaction.prompts import positions

# kind of prompt -> the kind of `pack` that shows it: painted voxels are strokes, lassos boxes
SHOWN_AS = {
  "point": "point",
  "box": "box",
  "stroke": "stroke",
  "voxels": "stroke",
  "lasso": "box",
}
# kinds that say of their own voxels which class they have
MARKS = ("point", "stroke", "voxels")


def read_prompt(
  prompt: Any,
  space: Sequence[int],
  class_of: Callable[[Any, str], int],
  kinds: Sequence[str],
  where: str,
) -> dict[str, Any]:
  """A prompt as a user wrote it -> {"class": index, its kind: (n, rank) float64 positions}.

  Args:
    prompt: {"class": ..., "point": (y, x)}, a "box" of its first and last voxel, a "stroke" or
      "voxels" of one or more positions, a "lasso" of three or more in one plane.
    space: of the scan.
    class_of: (what stands for the class, where) -> its index.
    kinds: of `pack`, those that the run was trained with.
    where: for messages.

  Raises ValueError in words for all that this is not.
  """
  if not isinstance(prompt, Mapping):
    raise ValueError(
      f"{where}: {prompt!r}; expected an object with a class and a point, or others."
    )
  kind = [key for key in prompt if key in SHOWN_AS]
  if len(kind) != 1 or set(prompt) != {"class", *kind}:
    raise ValueError(
      f"{where}: has {', '.join(map(repr, prompt)) or 'nothing'}; expected 'class' and one of "
      f"{', '.join(map(repr, SHOWN_AS))}."
    )
  (kind,) = kind
  if SHOWN_AS[kind] not in kinds:
    known = [name for name, of in SHOWN_AS.items() if of in kinds]
    raise ValueError(
      f"{where}: is a {kind}, but the run was trained without; it takes {', '.join(known)}."
    )
  index = class_of(prompt["class"], f"{where}.class")
  counted = {"point": "point", "box": "box"}.get(kind, "stroke")
  places = positions(prompt[kind], counted, space, where, name=kind)
  if kind == "box":
    low, high = np.floor(places + 0.5).astype(int)
    if (low > high).any():
      raise ValueError(
        f"{where}.box: first voxel {tuple(low.tolist())}, last {tuple(high.tolist())}; expected no "
        "axis along which the last comes before the first."
      )
  if kind == "lasso":
    _plane(places, where)
  return {"class": index, kind: places}


def _plane(places: np.ndarray, where: str) -> int | None:
  """The axis that a lasso's plane is across, None in 2D; raises ValueError where there is none."""
  rank = places.shape[1]
  if len(places) < 3:
    raise ValueError(f"{where}.lasso: {len(places)} position(s); expected three or more.")
  if rank == 2:
    return None
  flat = [axis for axis in range(rank) if len(np.unique(np.floor(places[:, axis] + 0.5))) == 1]
  if not flat:
    raise ValueError(
      f"{where}.lasso: its positions are in no plane of the scan; expected one axis along which "
      "all have the same voxel."
    )
  return flat[0]


def kind_of(prompt: Mapping[str, Any]) -> str:
  """The kind of a prompt that was read."""
  return next(key for key in prompt if key in SHOWN_AS)


def chain(places: np.ndarray) -> np.ndarray:
  """(n, rank) positions along a stroke, at most half a voxel from one to the next."""
  out = [places[:1]]
  for a, b in itertools.pairwise(places):
    steps = max(int(np.ceil(2 * np.abs(b - a).max())), 1)
    out.append(a + (b - a) * (np.arange(1, steps + 1) / steps)[:, None])
  return np.concatenate(out)


def filled(places: np.ndarray, where: str = "lasso") -> np.ndarray:
  """(n, rank) whole positions of all voxels whose middle a lasso encircles, and of its own line."""
  axis = _plane(places, where)
  plane = places if axis is None else np.delete(places, axis, 1)
  low = np.floor(plane.min(0)).astype(int)
  high = np.ceil(plane.max(0)).astype(int)
  y, x = np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(low, high, strict=True)), indexing="ij")
  inside = np.zeros(y.shape, bool)
  for (y0, x0), (y1, x1) in zip(plane, np.roll(plane, -1, 0), strict=True):
    if y0 == y1:
      continue
    crosses = (y0 > y) != (y1 > y)
    inside ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
  line = np.floor(chain(np.concatenate([plane, plane[:1]])) + 0.5).astype(int)
  voxels = np.unique(np.concatenate([np.stack([y[inside], x[inside]], 1), line]), axis=0)
  if axis is None:
    return voxels
  return np.insert(voxels, axis, int(np.floor(places[0, axis] + 0.5)), axis=1)


def positions_of(prompt: Mapping[str, Any]) -> np.ndarray:
  """(n, rank) positions of a mark, those of a stroke close to one another."""
  kind = kind_of(prompt)
  places = np.asarray(prompt[kind], np.float64)
  return chain(places) if kind == "stroke" else places


def voxels_within(positions: np.ndarray, shape: Sequence[int]) -> np.ndarray:
  """(n, rank) whole numbers: the voxels of an array of that shape that positions lie in."""
  whole = np.floor(positions + 0.5).astype(int)
  return whole[((whole >= 0) & (whole < shape)).all(1)]


def check_apart(prompts: Sequence[Mapping[str, Any]], where: str = "prompts") -> None:
  """Raises ValueError for two prompts that say different classes of one voxel, or of one box."""
  voxels: dict[tuple[int, ...], tuple[int, int]] = {}
  boxes: dict[tuple, tuple[int, int]] = {}
  for number, prompt in enumerate(prompts):
    kind, index = kind_of(prompt), prompt["class"]
    if kind in MARKS:
      covered = np.unique(np.floor(positions_of(prompt) + 0.5).astype(int), axis=0)
      seen, named = voxels, "at voxel {}"
      keys = map(tuple, covered.tolist())
    else:
      whole = np.floor(np.asarray(prompt[kind]) + 0.5).astype(int)
      seen, named = boxes, f"of the {kind} {{}}"
      keys = [tuple(map(tuple, whole.tolist()))]
    for key in keys:
      before, other = seen.setdefault(key, (number, index))
      if other != index:
        raise ValueError(
          f"{where}[{number}]: class {index} {named.format(key)}, of which {where}[{before}] says "
          f"class {other}; leave one of them out, or undo it."
        )


def runs_of(region: np.ndarray) -> list[list[int]]:
  """A mask as [first, count] of the voxels in it, one after the other in the order of storage."""
  flat = np.concatenate([[False], np.asarray(region, bool).reshape(-1), [False]])
  edges = np.flatnonzero(flat[1:] != flat[:-1]).reshape(-1, 2)
  return [[int(a), int(b - a)] for a, b in edges]


def from_runs(value: Sequence[Sequence[int]], space: Sequence[int]) -> np.ndarray:
  """The inverse of `runs_of`; raises ValueError for what it does not give."""
  flat = np.zeros(int(np.prod(space)), bool)
  spans = np.asarray(value)
  whole = np.issubdtype(spans.dtype, np.integer)
  if spans.ndim != 2 or spans.shape[1] != 2 or not whole or (spans < 0).any():
    raise ValueError("freeze_region: expected pairs of a first voxel and a number of voxels.")
  if (spans.sum(1) > len(flat)).any():
    raise ValueError(f"freeze_region: has voxels outside of the scan, which has {len(flat)}.")
  for first, count in spans:
    flat[first : first + count] = True
  return flat.reshape(space)
