"""Normalised focal loss: focal loss whose gradient stays as large as cross entropy's."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.batch import Array, Target
from jaxseg.losses import voxels


def normalized_focal(
  logits: Array,
  target: Target,
  *,
  alpha: float | Sequence[float] = 0.5,
  gamma: float = 2.0,
  sigmoid: bool = False,
) -> jax.Array:
  """-alpha (1 - p_t)^gamma log p_t of each voxel, times n / sum of its sample's (1 - p_t)^gamma.

  That factor, through which no gradient passes, makes up for what certain voxels lose, so that a
  sample that is nearly right weighs as much as any. Mean over a sample's n voxels, then over the
  samples that have any.

  Args:
    logits: (b, *space, k), any float dtype.
    target: labels (b, *space) int, or (b, *space, k) soft or region labels; optional weight, with
      which a voxel enters all three sums.
    alpha: of every class but 0, 1 - alpha of class 0 (with `sigmoid`, inside of a region and
      outside); or k numbers.
    gamma: 0 or more.
    sigmoid: k independent channels (regions) instead of k exclusive classes. A single channel is
      class 1 of integer labels.

  Returns:
    A float32 scalar.

  Source: Sofiiuk et al., "AdaptIS", 1909.07829; alpha 0.5 and gamma 2 are RITM's, 2102.06583.
  """
  logits, truth, weight = voxels.prepare(logits, target, sigmoid=sigmoid)
  inside, outside = voxels.class_factors(alpha, logits, sigmoid=sigmoid)
  terms = [(truth, inside, voxels.log_probabilities(logits, sigmoid=sigmoid))]
  if sigmoid:
    terms.append((1 - truth, outside, voxels.log_complements(logits, sigmoid=True)))

  def total(values):
    return (weight * values).sum(tuple(range(1, logits.ndim)))

  hard, losses = jnp.zeros(len(logits)), jnp.zeros(len(logits))
  for share, factor, log_p in terms:
    focus = share * voxels.power(-jnp.expm1(log_p), gamma)
    hard += total(focus)
    losses -= total(factor * focus * log_p)
  size = total(jnp.ones_like(truth if sigmoid else weight))
  means = losses / jnp.where(hard > 0, lax.stop_gradient(hard), 1)
  return voxels.weighted_mean(means, (size > 0).astype(jnp.float32))
