"""Which noise something is made of, where a method is applied: batch["draw"] tells."""

import jax
import jax.numpy as jnp

from jaxseg.batch import Array, Batch


def key_of(batch: Batch) -> Array:
  """The key of a batch's noise.

  It follows from the first sample's `draw`, a number; without one from the bits of the images, so
  that a case is made alike whenever it is made.
  """
  if "draw" in batch:
    return jax.random.key(batch["draw"][0])
  bits = jax.lax.bitcast_convert_type(batch["image"].astype(jnp.float32), jnp.uint32).reshape(-1)
  # of each value and its place, so that neither signs nor places cancel out
  mixed = (bits ^ (bits >> 15)) * jnp.uint32(2654435761)
  mixed = (mixed ^ (mixed >> 13)) * (2 * jnp.arange(bits.size, dtype=jnp.uint32) + 1)
  # a sum of integers is the same in any order
  return jax.random.key(jnp.sum(mixed, dtype=jnp.uint32))
