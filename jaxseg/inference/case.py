"""What a predictor is given: one whole case; what becomes of its fields, each by its kind."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxseg.batch import Batch, Kind, by_kind, space_of, swap_classes

# one patch's network: the fields of a batch of windows -> {"logits": ...}, or another one field
Apply = Callable[[Batch], Batch]


class Case(NamedTuple):
  """One case in the training orientation.

  Attributes:
    fields: those of a batch, without its axis: "image" (*space, channels), normalised as in
      training, "spacing" (rank,) in millimetres, and what else a method takes: "prior", "clicks",
      ... Predictors cut, pad and mirror each by its kind; nested ones as well.
  """

  fields: Batch

  @property
  def image(self) -> np.ndarray:
    return self.fields["image"]

  @property
  def spacing(self) -> np.ndarray:
    return self.fields["spacing"]

  @property
  def space(self) -> tuple[int, ...]:
    """Voxels per axis."""
    return space_of(self.fields)


def padded_fields(case: Case, pads: Sequence[tuple[int, int]], *, mirror: bool = False) -> Batch:
  """A case's fields with (before, after) voxels outside of it: its mirror image or their kind's.

  Raises ValueError for a field that lies on another grid.
  """
  space = case.space

  def padded(row: Kind, values) -> np.ndarray:
    values = np.asarray(values, row.dtype)
    if not row.spatial:
      return values
    if values.shape[: len(space)] != space or values.ndim != len(space) + row.channels:
      raise ValueError(
        f"its shape in a case is {values.shape}; expected {space}, the voxels of the others"
        f"{', and channels' if row.channels else ''}."
      )
    if not np.any(pads):
      return values
    if mirror:
      return np.pad(values, [*pads, *[(0, 0)] * row.channels], mode="reflect")
    return row.padded(values, pads)

  return by_kind(padded, case.fields)


def cut(fields: Batch, windows: Sequence[tuple[slice, ...]]) -> Batch:
  """A batch of windows; what is not spatial is the same for all."""

  def of_windows(row: Kind, values: np.ndarray) -> np.ndarray:
    if row.spatial:
      return np.stack([values[window] for window in windows])
    return np.broadcast_to(values, (len(windows), *values.shape))

  return by_kind(of_windows, fields)


class Flip(NamedTuple):
  """Axes of (b, *space, k) to flip, and pairs of classes that change places with them."""

  axes: tuple[int, ...]
  pairs: tuple[tuple[int, int], ...]


def all_flips(mirror_axes, swap, swap_axis: int) -> list[Flip]:
  """All combinations of flips, none first."""
  chosen = itertools.product((False, True), repeat=len(mirror_axes))
  axes = [tuple(itertools.compress(mirror_axes, flags)) for flags in chosen]
  return [Flip(tuple(a + 1 for a in x), tuple(swap) if swap_axis in x else ()) for x in axes]


def _flipped(row: Kind, values, flip: Flip):
  if not row.spatial or not flip.axes:
    return values
  xp = np if isinstance(values, np.ndarray) else jnp
  return swap_classes(row, xp.flip(values, flip.axes), flip.pairs)


def mean_over_flips(apply: Apply, inputs: Batch, flips: list[Flip]):
  """The one output for a batch, averaged over the flips, still on the device."""
  total = None
  for flip in flips:
    act = functools.partial(_flipped, flip=flip)
    (scores,) = by_kind(act, apply(by_kind(act, inputs))).values()
    total = scores if total is None else total + scores
  return total if len(flips) == 1 else total / len(flips)
