"""Test-time augmentation by mirror images."""

import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxseg.batch import Batch, Kind, by_kind, swap_classes

# one patch's network: the fields of a batch of windows -> {"logits": ...}, or another one field
Apply = Callable[[Batch], Batch]


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
