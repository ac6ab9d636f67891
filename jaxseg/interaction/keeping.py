"""What an answer may not change: against a new mark, where a user froze something."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxseg.interaction.places import MARKS, kind_of, positions_of


class Freeze(NamedTuple):
  """What is frozen.

  Attributes:
    mask: (*space) bool, on the network's grid: logits there stay.
    classes: that no further voxel gets.
    own: (*own_space) bool, on the scan's own grid.
    own_classes: (*own_space) int32, what is kept there.
  """

  mask: np.ndarray
  classes: tuple[int, ...]
  own: np.ndarray
  own_classes: np.ndarray

  def kept(self, decoded: np.ndarray) -> np.ndarray:
    """(*own_space) classes, what is frozen as it was."""
    out = np.where(np.isin(decoded, self.classes) & ~self.own, 0, decoded)
    return np.where(self.own, self.own_classes, out).astype(np.int32)


def freeze_region(
  held: Freeze | None, mask: np.ndarray, own: np.ndarray, decoded: np.ndarray
) -> Freeze:
  """What is frozen together with a region; `decoded` are the (*own_space) classes now."""
  if held is None:
    return Freeze(mask, (), own, np.where(own, decoded, 0))
  # what was frozen before stays what it was then
  values = np.where(held.own, held.own_classes, np.where(own, decoded, 0))
  return Freeze(held.mask | mask, held.classes, held.own | own, values)


def freeze_label(
  held: Freeze | None, index: int, logits: np.ndarray, decoded: np.ndarray
) -> Freeze:
  """What is frozen together with all of a class."""
  made = freeze_region(held, logits.argmax(-1) == index, decoded == index, decoded)
  return made._replace(classes=tuple(dict.fromkeys((*made.classes, index))))


def thawed(held: Freeze, index: int, logits: np.ndarray) -> Freeze | None:
  """What stays frozen without a class, in regions as well; None if that is nothing."""
  own = held.own & (held.own_classes != index)
  left = tuple(of for of in held.classes if of != index)
  if not left and not own.any():
    return None
  # what is frozen has the logits that it had then
  return Freeze(held.mask & (logits.argmax(-1) != index), left, own, held.own_classes * own)


def held_back(old, new, held: Freeze | None, region) -> np.ndarray:
  """(*region, k) logits, those before where they are frozen."""
  if held is None:
    return new
  stays = held.mask[region].copy()
  now, before = new.argmax(-1), old.argmax(-1)
  for index in held.classes:
    stays |= (now == index) & (before != index)
  return np.where(stays[..., None], old, new)


def confined(
  old: np.ndarray,
  new: np.ndarray,
  turn: Sequence[Mapping[str, Any]],
  corner: np.ndarray,
  *,
  radius: float,
) -> np.ndarray:
  """(*region, k) logits that don't go against the marks of a turn: they are monotone there.

  Within the radius of a click of class c, and at a stroke of it, the logit of every other class
  minus that of c is at most what it was. Where clicks of several classes are near, that of the
  lowest class holds, the background's in any case.

  Args:
    old, new: logits before and after.
    turn: placed prompts that are new.
    corner: (rank,) the region's first voxel.
    radius: of clicks, in voxels.
  """
  marks: dict[int, np.ndarray] = {}
  for prompt in turn:
    if (kind := kind_of(prompt)) not in MARKS:
      continue
    near = _near(prompt, corner, old.shape[:-1], radius if kind == "point" else 0.5)
    index = prompt["class"]
    marks[index] = marks[index] | near if index in marks else near
  out = new.copy()
  for index in sorted(marks, reverse=True):
    at = marks[index]
    before, after = old[at], out[at]
    was = before - before[:, index, None]
    now = after - after[:, index, None]
    more = now > was
    more[:, index] = False
    others = np.delete(more, index, -1)
    bounded = np.where(others.any(-1)[:, None], np.minimum(now, was), after)
    # of two classes, and of several that all gained: as it was, to the bit
    out[at] = np.where(others.all(-1)[:, None], before, bounded)
  return out


def _near(prompt: Mapping[str, Any], corner, space, radius: float) -> np.ndarray:
  """(*space) bool: within a radius of a prompt's positions; at least the voxel of each."""
  inside = np.zeros(space, bool)
  reach = int(np.floor(radius)) + 1
  for position in positions_of(prompt) - corner:
    middle = np.floor(position + 0.5).astype(int)
    low = np.maximum(middle - reach, 0)
    high = np.minimum(middle + reach + 1, space)
    if (low >= high).any():
      continue
    spans = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    axes = np.ix_(*(np.arange(a, b) for a, b in zip(low, high, strict=True)))
    distance = sum((axis - at) ** 2 for axis, at in zip(axes, position, strict=True))
    inside[spans] |= distance <= radius**2
    if (middle >= 0).all() and (middle < space).all():
      inside[tuple(middle)] = True
  return inside
