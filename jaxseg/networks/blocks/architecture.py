"""The weights of a supernet's choices, apart from those of its operations."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

# the module's name in every supernet: what lies there is no weight of an operation
NAME = "architecture"


class Architecture(nn.Module):
  """Group of choices -> its weights, near 0 or near another number: {name: shape} of float32.

  Attributes:
    shapes: group -> shape.
    near: group -> the mean that they start from, 0 where it says nothing.
    deviation: of the normal distribution around it.
  """

  shapes: Mapping[str, Sequence[int]]
  near: Mapping[str, float] | None = None
  deviation: float = 1e-3

  @nn.compact
  def __call__(self) -> dict[str, jax.Array]:
    def start(key, shape, dtype, mean):
      return mean + self.deviation * jax.random.normal(key, shape, dtype)

    means = self.near or {}
    return {
      group: self.param(group, start, tuple(shape), jnp.float32, means.get(group, 0.0))
      for group, shape in sorted(self.shapes.items())
    }
