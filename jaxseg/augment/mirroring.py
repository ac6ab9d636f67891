"""Mirroring, which moves voxels and may exchange the names of left and right."""

import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.augment.draws import checked_axes, checked_probability
from jaxseg.batch import Batch, by_kind, space_of, swap_classes


def mirror(
  key,
  sample: Batch,
  *,
  p: float = 0.5,
  axes: Sequence[int] | None = None,
  swap: Sequence[tuple[int, int]] = (),
  swap_axis: int = -1,
) -> Batch:
  """Mirrors each axis with probability `p`.

  Args:
    key: random key.
    sample: fields without batch axis.
    p: probability per axis.
    axes: the spatial axes that may be mirrored; None for all.
    swap: pairs of class indices (channels of soft labels) that exchange their names when
      `swap_axis` is mirrored, as left and right organs do.
    swap_axis: the left/right axis; -1 is x, the last spatial axis.

  Returns:
    The sample, every spatial field mirrored alike. Source: nnU-Net (arXiv 1809.10486).
  """
  rank = len(space_of(sample))
  checked_probability("mirror.p", p)
  chosen = () if axes == () else checked_axes("mirror.axes", axes, rank)
  (named,) = checked_axes("mirror.swap_axis", (swap_axis,), rank)
  drawn = jax.random.uniform(key, (rank,)) < p

  def act(row, x, axes):
    if not row.spatial:
      return x
    return swap_classes(row, jnp.flip(x, axes), swap if named in axes else ())

  # one branch for each set of axes, so that every field is written once
  sets = list(itertools.product((False, True), repeat=len(chosen)))
  branches = [
    functools.partial(
      by_kind, functools.partial(act, axes=tuple(itertools.compress(chosen, flipped)))
    )
    if any(flipped)
    else dict
    for flipped in sets
  ]
  index = sum(drawn[axis] * 2**place for place, axis in enumerate(reversed(chosen)))
  return lax.switch(index, branches, dict(sample)) if chosen else dict(sample)
