"""Losses of anchor-free detectors: the heat map of centres, the boxes.

They compare a detector's own outputs, not classes of voxels: no rows of `LOSSES`.
"""

import jax
import jax.numpy as jnp
import optax


def heat_map_loss(logits, truth, *, alpha: float = 2.0, beta: float = 4.0):
  """Penalty-reduced focal loss of a heat map, (b, *cells, k) logits and truth in [0, 1] -> scalar.

  With p = sigmoid(logits): -(1 - p)^alpha log p where truth is 1, elsewhere
  -(1 - truth)^beta p^alpha log(1 - p); the sum over the number of centres (at least one).
  Source: CornerNet, arXiv 1808.01244; CenterNet, arXiv 1904.07850.
  """
  logits = logits.astype(jnp.float32)
  p = jax.nn.sigmoid(logits)
  at_centre = -((1 - p) ** alpha) * jax.nn.log_sigmoid(logits)
  elsewhere = -((1 - truth) ** beta) * p**alpha * jax.nn.log_sigmoid(-logits)
  centres = truth == 1
  return jnp.where(centres, at_centre, elsewhere).sum() / jnp.maximum(centres.sum(), 1)


def box_loss(offsets, truth, present):
  """Smooth L1 of coded boxes: two (b, k, 2 * rank) and (b, k) bool -> mean over present boxes.

  Source: Fast R-CNN, arXiv 1504.08083.
  """
  each = optax.losses.huber_loss(offsets.astype(jnp.float32), truth).mean(-1)
  return jnp.where(present, each, 0).sum() / jnp.maximum(present.sum(), 1)
