"""The pool of made images that a critic learns from: older ones among those of this step."""

import jax
import jax.numpy as jnp
from flax import struct

from jaxseg.batch import Array


@struct.dataclass
class Pool:
  """Images of earlier steps; of `State.extra`, so that a resumed run goes on from it.

  Attributes:
    images: (size, *space, channels) float32, the first `number` of them made.
    number: int32.
  """

  images: Array
  number: Array


def empty(size: int, like: jax.ShapeDtypeStruct | Array) -> Pool | None:
  """A pool for images like those of a batch (b, *space, channels); None where its size is 0."""
  if not size:
    return None
  return Pool(jnp.zeros((size, *like.shape[1:]), jnp.float32), jnp.zeros((), jnp.int32))


def exchange(key, pool: Pool | None, images: Array) -> tuple[Array, Pool | None]:
  """(what the critic is shown, the pool afterwards) for images (b, *space, channels).

  One image after the other: while the pool is not full it is kept and shown; then, with probability
  1/2, it takes the place of one of the pool, which is shown, or else is shown itself and not kept.
  No gradient goes through. Without a pool the images are shown.

  The turns are taken with the numbers of images alone; the images move at once, after them, so that
  a batch that is split over devices is sent once, and all devices hold the same pool.
  Source: Shrivastava et al., arXiv 1612.07828; of 50 images in Zhu et al., arXiv 1703.10593.
  """
  images = jax.lax.stop_gradient(jnp.asarray(images, jnp.float32))
  if pool is None:
    return images, None
  size, count = len(pool.images), len(images)

  def turn(state, slot):
    held, number = state
    new, key = slot
    whether, which = jax.random.split(key)
    filling = number < size
    place = jnp.where(filling, number, jax.random.randint(which, (), 0, size))
    kept = filling | jax.random.bernoulli(whether)
    shown = jnp.where(kept & ~filling, held[place], new)
    held = held.at[place].set(jnp.where(kept, new, held[place]))
    return (held, jnp.minimum(number + 1, size)), shown

  # by numbers: the pool's places first, then the batch
  begin = jnp.arange(size), pool.number
  slots = size + jnp.arange(count), jax.random.split(key, count)
  (held, number), shown = jax.lax.scan(turn, begin, slots)
  every = jnp.concatenate([pool.images, images])
  return every[shown], Pool(every[held], number)
