"""A volume as a stack of images, for 2D networks: slices on the batch axis."""

import jax.numpy as jnp


def to_slices(x, axis: int):
  """Slices of volumes (b, z, y, x, c) along a spatial axis 0, 1 or 2 -> (b * slices, *plane, c).

  The two axes of the plane keep the volume's order.
  """
  x = jnp.moveaxis(x, 1 + axis, 1)
  return x.reshape(-1, *x.shape[2:])


def from_slices(x, batch: int, axis: int):
  """The inverse, whatever the plane's size and channels: (b * slices, *plane, c) -> volumes."""
  return jnp.moveaxis(x.reshape(batch, -1, *x.shape[1:]), 1, 1 + axis)
