"""Which channels count as there."""

import jax.numpy as jnp
import numpy as np

from jaxseg.networks.blocks.modalities import of_channel, present


def test_a_channel_of_zeros_is_missing_and_where_all_are_none_is():
  x = np.zeros((4, 3, 5, 2), np.float32)
  x[0, 1, 2, 0] = -1e-20
  x[1, 0, 0, 1] = 2
  x[2] = 1
  np.testing.assert_array_equal(present(jnp.asarray(x)), [[1, 0], [0, 1], [1, 1], [1, 1]])


def test_one_channels_share_broadcasts_over_features():
  there = jnp.array([[1.0, 0.0], [1.0, 1.0]])
  like = jnp.zeros((2, 3, 4, 5, 6), jnp.bfloat16)
  of = of_channel(there, 1, like)
  assert of.shape == (2, 1, 1, 1, 1)
  assert of.dtype == jnp.bfloat16
  np.testing.assert_array_equal(np.asarray(of, np.float32).ravel(), [0, 1])
