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

  Every device holds the whole pool and goes through the whole batch, so that it stays one pool,
  whatever the number of devices.
  Source: Shrivastava et al., arXiv 1612.07828; of 50 images in Zhu et al., arXiv 1703.10593.
  """
  images = jax.lax.stop_gradient(jnp.asarray(images, jnp.float32))
  if pool is None:
    return images, None
  size = len(pool.images)

  def one(pool, slot):
    image, key = slot
    whether, which = jax.random.split(key)
    filling = pool.number < size
    place = jnp.where(filling, pool.number, jax.random.randint(which, (), 0, size))
    kept = filling | jax.random.bernoulli(whether)
    old = jax.lax.dynamic_index_in_dim(pool.images, place, keepdims=False)
    stored = jnp.where(kept, image, old)
    after = jax.lax.dynamic_update_index_in_dim(pool.images, stored, place, 0)
    shown = jnp.where(kept & ~filling, old, image)
    return Pool(after, jnp.minimum(pool.number + 1, size)), shown

  pool, shown = jax.lax.scan(one, pool, (images, jax.random.split(key, len(images))))
  return shown, pool
