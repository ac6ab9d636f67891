"""Between two outputs of networks: how far they differ, how sure one of them is.

Plain functions, float32 inside. They are given probabilities (`voxels.probabilities`) or logits,
(b, *space, k): of k exclusive classes, or with `sigmoid` of k channels of their own (regions).
"""

import math

import jax
import jax.numpy as jnp

from jaxseg.batch import Array
from jaxseg.losses import voxels


def squared_difference(a: Array, b: Array, weight: Array | None = None) -> jax.Array:
  """Mean over voxels and channels of (a - b)^2, a scalar; a and b are probabilities.

  Args:
    a, b: (b, *space, k). The gradient goes into both: stop it where one of them teaches.
    weight: (b, *space) of the voxels, None for 1 everywhere; 0 when all of it is 0.

  Source: Tarvainen and Valpola 2017, 1703.01780.
  """
  a, b = (jnp.asarray(x, jnp.float32) for x in (a, b))
  squares = ((a - b) ** 2).mean(-1)
  weight = jnp.ones_like(squares) if weight is None else jnp.asarray(weight, jnp.float32)
  return voxels.weighted_mean(squares * weight, weight)


def entropy_map(probabilities: Array, *, sigmoid: bool = False) -> jax.Array:
  """How unsure each voxel is, (b, *space), in nats: from 0 to `largest_entropy`.

  -sum_k p ln p, or with `sigmoid` the mean over channels of -p ln p - (1 - p) ln(1 - p).
  """
  p = jnp.asarray(probabilities, jnp.float32)
  if sigmoid:
    return (_plogp(p) + _plogp(1 - p)).mean(-1)
  return _plogp(p).sum(-1)


def largest_entropy(classes: int, *, sigmoid: bool = False) -> float:
  """The entropy of even odds, in nats: ln k, or ln 2 of each channel with `sigmoid`."""
  return math.log(2 if sigmoid else classes)


def pseudo_labels(
  logits: Array, *, threshold: Array | float = 0.0, sigmoid: bool = False
) -> tuple[jax.Array, jax.Array]:
  """What a network says, as labels to learn from: (labels, weight); no gradient goes into it.

  Args:
    logits: (b, *space, k).
    threshold: a voxel counts where the probability of its label is at least that; of regions where
      that of each of them is, or of its absence.
    sigmoid: k channels of their own.

  Returns:
    labels (b, *space) int32, with `sigmoid` (b, *space, k) float32 of 0 and 1; and weight
    (b, *space) float32 of 0 and 1.

  Source: Lee 2013; with a threshold Sohn et al. 2020, FixMatch, 2001.07685.
  """
  p = voxels.probabilities(jax.lax.stop_gradient(jnp.asarray(logits, jnp.float32)), sigmoid=sigmoid)
  labels = (p > 0.5).astype(jnp.float32) if sigmoid else jnp.argmax(p, -1).astype(jnp.int32)
  sure = jnp.maximum(p, 1 - p).min(-1) if sigmoid else p.max(-1)
  return labels, (sure >= threshold).astype(jnp.float32)


def _plogp(p: jax.Array) -> jax.Array:
  """-p ln p, whose gradient is finite at 0."""
  return -p * jnp.log(jnp.maximum(p, jnp.finfo(jnp.float32).tiny))
