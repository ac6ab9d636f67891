"""Mirroring, which may exchange the names of left and right, and quarter turns of a plane."""

import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
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


def quarter_turn(key, sample: Batch, *, p: float = 0.5) -> Batch:
  """Turns the last two axes by 90, 180 or 270 degrees, with probability `p` of a turn.

  Args:
    key: random key.
    sample: fields without batch axis. Where it has not as many voxels along y as along x, it is
      turned by 180 degrees: the others don't keep its shape.
    p: probability; 0.75 makes all four directions equally likely.

  Returns:
    The sample, every spatial field turned alike, from y to x as `numpy.rot90` does; numbers per
    axis (`spacing`) change places. Names of left and right are kept, as they are by any rotation.
  """
  size = space_of(sample)
  checked_probability("quarter_turn.p", p)
  plane = (len(size) - 2, len(size) - 1)
  exchanged = np.array([*range(plane[0]), plane[1], plane[0]])

  def act(row, x, turns):
    if row.spatial:
      return jnp.rot90(x, turns, plane)
    return x[..., exchanged] if row.axes and turns % 2 else x

  choices = (1, 2, 3) if size[-1] == size[-2] else (2,)
  draw = jax.random.uniform(key, (2,))
  which = 1 + jnp.floor(len(choices) * draw[1]).astype(jnp.int32)
  branches = [functools.partial(by_kind, functools.partial(act, turns=n)) for n in choices]
  return lax.switch(jnp.where(draw[0] < p, which, 0), [dict, *branches], dict(sample))
