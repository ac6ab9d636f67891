"""Which channels of an image are there; what networks that fuse modalities do with the others."""

import jax.numpy as jnp


def present(x):
  """(b, *space, channels) -> (b, channels) float32: 1 of channels that hold anything, else 0.

  A channel that a sample lacks is 0 everywhere (`augment.modalities`). Where all are, as outside of
  a body, nothing is lacking: all count as present.
  """
  some = jnp.any(x != 0, tuple(range(1, x.ndim - 1)))
  return (some | ~some.any(-1, keepdims=True)).astype(jnp.float32)


def of_channel(there, channel: int, like):
  """Of (b, channels) one channel's, in the shape (b, 1, ..., 1) and the type of `like`."""
  return there[:, channel].reshape(-1, *(1,) * (like.ndim - 1)).astype(like.dtype)
