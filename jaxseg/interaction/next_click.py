"""The next click of a simulated user, in training and in evaluation alike."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxseg.batch import Array
from jaxseg.morphology import distance_transform


class Click(NamedTuple):
  """Where a user clicks next.

  Attributes:
    point: (rank,) int32, a voxel.
    of_class: () int32, the class that it has in truth.
    there: () bool, whether anything is wrong at all; if not the others mean nothing.
  """

  point: Array
  of_class: Array
  there: Array


def next_click(
  truth: Array,
  prediction: Array,
  *,
  classes: int,
  weight: Array | None = None,
  free: Array | None = None,
  key: jax.Array | None = None,
) -> Click:
  """A click into the middle of the largest error, under jit and vmap.

  Of each class the voxels that it lacks are an error: of two classes what is missed of the
  foreground, and what is wrongly foreground, which is clicked as background. The largest error is
  the one with the voxel that is farthest from all others; of equals that of the lower class, the
  background first. What lies outside of the image is no error.

  Args:
    truth, prediction: (*space) int32 classes; RITM's are 1 where the probability is above 0.49.
    classes: how many.
    weight: (*space), voxels of weight 0 are no errors.
    free: (*space) bool, where a click may be: RITM's user clicks no voxel twice.
    key: None, as in evaluation, takes the first farthest voxel in the order of storage; with it,
      as in training, any voxel of the error that is more than half as far from all others.

  Source: RITM, 2102.06583.
  """
  truth, prediction = jnp.asarray(truth), jnp.asarray(prediction)
  wrong = truth != prediction
  if weight is not None:
    wrong = wrong & (jnp.asarray(weight) > 0)
  space = truth.shape

  def depth(of_class):
    error = jnp.pad(wrong & (truth == of_class), 1)
    distance = distance_transform(~error)[(slice(1, -1),) * len(space)]
    return distance if free is None else jnp.where(free, distance, 0.0)

  def deeper(best, of_class):
    there, distance, largest = best
    own = depth(of_class)
    more = own.max() > largest
    return (
      jnp.where(more, of_class, there),
      jnp.where(more, own, distance),
      jnp.maximum(largest, own.max()),
    ), None

  start = jnp.int32(0), jnp.zeros(space, jnp.float32), jnp.float32(0)
  (of_class, distance, largest), _ = lax.scan(deeper, start, jnp.arange(classes, dtype=jnp.int32))
  order = distance
  if key is not None:
    order = jnp.where(distance > largest / 2, jax.random.uniform(key, space), -1.0)
  point = jnp.stack(jnp.unravel_index(jnp.argmax(order), space)).astype(jnp.int32)
  return Click(point, of_class, largest > 0)


def unclicked(space: tuple[int, ...], points) -> np.ndarray:
  """(*space) bool: where nobody clicked yet, for `free`; points: (n, rank) whole positions."""
  free = np.ones(space, bool)
  for point in points:
    free[tuple(point)] = False
  return free
