"""The activations by name."""

import functools

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks.options import choice

ACTIVATIONS = {
  "relu": jax.nn.relu,
  "relu6": jax.nn.relu6,
  "leaky_relu": jax.nn.leaky_relu,
  "prelu": None,  # these have parameters: see Activation
  "prelu_shared": None,
  "elu": jax.nn.elu,
  "gelu": functools.partial(jax.nn.gelu, approximate=False),
  "silu": jax.nn.silu,
}


class Activation(nn.Module):
  """An activation by name, (..., channels) -> the same shape.

  "prelu" learns one slope per channel, "prelu_shared" one for all, starting at 0.25 (He et al.,
  arXiv 1502.01852); `slope` is the negative slope of "leaky_relu".
  """

  kind: str = "relu"
  slope: float = 0.01

  @nn.compact
  def __call__(self, x):
    choice(self.kind, ACTIVATIONS, "activation")
    if self.kind == "leaky_relu":
      return jax.nn.leaky_relu(x, self.slope)
    if self.kind in ("prelu", "prelu_shared"):
      number = x.shape[-1] if self.kind == "prelu" else 1
      slope = self.param("slope", nn.initializers.constant(0.25), (number,), jnp.float32)
      slope = slope.astype(x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))
      return jnp.where(x >= 0, x, slope * x)
    return ACTIVATIONS[self.kind](x)
