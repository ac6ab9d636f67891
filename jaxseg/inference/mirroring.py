"""Test-time augmentation by mirror images."""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

Apply = Callable[[dict[str, np.ndarray]], dict]


class Flip(NamedTuple):
  """Axes of (b, *space, k) to flip, and pairs of classes that change places with them."""

  axes: tuple[int, ...]
  pairs: tuple[tuple[int, int], ...]


def all_flips(mirror_axes, swap, swap_axis: int) -> list[Flip]:
  """All combinations of flips, none first."""
  chosen = itertools.product((False, True), repeat=len(mirror_axes))
  axes = [tuple(itertools.compress(mirror_axes, flags)) for flags in chosen]
  return [Flip(tuple(a + 1 for a in x), tuple(swap) if swap_axis in x else ()) for x in axes]


def _flip(values, flip: Flip, *, xp, per_class: bool):
  if flip.axes:
    values = xp.flip(values, flip.axes)
  if flip.pairs and per_class:
    order = np.arange(values.shape[-1])
    for a, b in flip.pairs:
      order[[a, b]] = order[[b, a]]
    values = values[..., order]
  return values


def mean_over_flips(apply: Apply, inputs: dict[str, np.ndarray], flips: list[Flip]):
  """The one output of a batch, averaged over the flips, still on the device."""
  total = None
  for flip in flips:
    flipped = {
      name: values if name == "spacing" else _flip(values, flip, xp=np, per_class=name == "prior")
      for name, values in inputs.items()
    }
    (scores,) = apply(flipped).values()
    scores = _flip(scores, flip, xp=jnp, per_class=True)
    total = scores if total is None else total + scores
  return total if len(flips) == 1 else total / len(flips)
