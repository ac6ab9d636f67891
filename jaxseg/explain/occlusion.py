"""Occlusion: how the score falls when a box of the image is covered."""

import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.explain.baselines import BASELINES
from jaxseg.explain.target import Apply, Attribution, score
from jaxseg.networks.blocks.options import choice, per_axis


def occlusion(
  apply: Apply,
  params,
  image,
  target,
  *,
  box: int | Sequence[int] = 0,
  step: int | Sequence[int] = 0,
  baseline: str = "zero",
) -> Attribution:
  """The mean fall of the score over the boxes that cover a voxel (Zeiler, Fergus, 1311.2901).

  Args:
    apply, params, image, target: as `gradient`'s.
    box: sides of the box in voxels; 0 is an eighth of the image's.
    step: from box to box; 0 is half a box in 2D, a whole one in 3D.
    baseline: what a box is covered by, a name of `baselines.BASELINES`.

  Returns:
    (1, *space), of an image that is alone; 0 where no box lay; numbers: "boxes".
  """
  choice(baseline, BASELINES, "occlusion: baseline")
  space, rank = image.shape[1:-1], image.ndim - 2
  sides = per_axis(box, rank, "occlusion: box") if box else [max(1, n // 8) for n in space]
  sides = tuple(min(side, n) for side, n in zip(sides, space, strict=True))
  share = 2 if rank == 2 else 1
  steps = per_axis(step, rank, "occlusion: step") if step else [-(-s // share) for s in sides]
  if min(*sides, *steps) < 1:
    raise ValueError(f"occlusion: box={box}, step={step}; expected whole numbers from 1, or 0.")
  starts = [
    sorted({*range(0, n - side, s), n - side})
    for n, side, s in zip(space, sides, steps, strict=True)
  ]
  corners = np.array(list(itertools.product(*starts)), np.int32)
  values = _falls(apply, params, jnp.asarray(image), target, corners, sides, baseline)
  return Attribution(values, {"boxes": len(corners)})


@functools.partial(jax.jit, static_argnames=("apply", "sides", "baseline"))
def _falls(apply: Apply, params, image, target, corners, sides, baseline):
  cover, space = BASELINES[baseline](image), image.shape[1:-1]
  whole = score(apply(params, image), target)
  grid = jnp.meshgrid(*map(jnp.arange, space), indexing="ij", sparse=True)

  def add(sums, corner):
    inside = jnp.ones((1,) * len(space), bool)
    for axis, side in enumerate(sides):
      inside = inside & (grid[axis] >= corner[axis]) & (grid[axis] < corner[axis] + side)
    covered = jnp.where(inside[None, ..., None], cover, image)
    fall = whole - score(apply(params, covered), target)
    return (sums[0] + fall * inside, sums[1] + inside), None

  zeros = jnp.zeros(space, jnp.float32)
  (falls, times), _ = jax.lax.scan(add, (zeros, zeros), corners)
  return (falls / jnp.maximum(times, 1))[None]
