"""How far two sets of features lie apart: what a network is to make alike of two domains."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxseg.batch import Array

# powers of two around the mean distance, as in DAN's released code
BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)


def maximum_mean_discrepancy(
  a: Array, b: Array, *, bandwidths: Sequence[float] = BANDWIDTHS
) -> jax.Array:
  """Mean k(a, a') + mean k(b, b') - 2 mean k(a, b), a scalar from 0: 0 where a and b are alike.

  k is the mean of exp(-|x - y|^2 / (bandwidth * s)) over the bandwidths, s the mean of |x - y|^2
  over all pairs of different points of both sets, into which no gradient goes. The means are over
  all pairs, a point with itself among them.

  Args:
    a, b: (n, features) and (m, features).
    bandwidths: of the kernels, relative to s.

  Source: Gretton et al. 2012; as a loss of features Long et al., DAN, 1502.02791.
  """
  points = jnp.concatenate([a, b]).astype(jnp.float32)
  # distances stay, and are not lost between squares of a common part, nor to half precision
  points -= jax.lax.stop_gradient(points.mean(0, keepdims=True))
  squares = jnp.square(points).sum(-1)
  products = jnp.matmul(points, points.T, precision=jax.lax.Precision.HIGHEST)
  # rounding may leave a distance below 0
  distance = jnp.maximum(squares[:, None] + squares[None] - 2 * products, 0.0)
  number = len(points)
  scale = jax.lax.stop_gradient(distance.sum()) / (number * (number - 1))
  scale = jnp.maximum(scale, 1e-12)
  kernel = sum(jnp.exp(-distance / (factor * scale)) for factor in bandwidths) / len(bandwidths)
  n = len(a)
  return kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()
