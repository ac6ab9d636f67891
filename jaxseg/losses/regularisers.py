"""Terms that look at the prediction alone: what a segmentation should be like, labels or not.

They are losses like the others, to be added to one with a weight. Labels give them nothing but a
shape to check. `include_ignored=True` makes them act on voxels without annotation too, which is
their use in weak supervision.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.batch import Array, Target
from jaxseg.losses import voxels


def total_variation(
  logits: Array, target: Target, *, include_ignored: bool = False, sigmoid: bool = False
) -> jax.Array:
  """Total variation of the probabilities: how much neighbouring voxels differ, |p_i - p_j|.

  The sum over the spatial axes of the mean over classes and over pairs of neighbours along that
  axis; a pair weighs as much as the lighter of its voxels. Axes of one voxel have no pairs.

  Args:
    logits: (b, *space, k), any float dtype; the sums are float32.
    target: its weight decides which voxels count.
    include_ignored: all voxels count the same.
    sigmoid: k independent channels (regions) instead of k exclusive classes.

  Returns:
    A float32 scalar, in [0, rank].

  Source: Rudin, Osher and Fatemi 1992, the anisotropic form.
  """
  logits, weight = _unlabelled(logits, target, include_ignored, sigmoid=sigmoid)
  scores = voxels.probabilities(logits, sigmoid=sigmoid)
  total = jnp.zeros((), jnp.float32)
  for axis, size in enumerate(logits.shape[1:-1], start=1):
    if size > 1:
      difference = jnp.diff(scores, axis=axis)
      lighter = jnp.minimum(
        jax.lax.slice_in_dim(weight, 0, size - 1, axis=axis),
        jax.lax.slice_in_dim(weight, 1, size, axis=axis),
      )
      total += voxels.weighted_mean(lighter * jnp.abs(difference), lighter)
  return total


def entropy(
  logits: Array, target: Target, *, include_ignored: bool = False, sigmoid: bool = False
) -> jax.Array:
  """Entropy of the prediction in nats, -sum_k p ln p, mean over voxels: 0 where it is certain.

  With `sigmoid` the mean over voxels and channels of -p ln p - (1 - p) ln(1 - p).

  Args:
    logits: (b, *space, k), any float dtype; the sums are float32.
    target: its weight decides which voxels count.
    include_ignored: all voxels count the same.
    sigmoid: k independent channels (regions) instead of k exclusive classes.

  Returns:
    A float32 scalar, at most ln k (ln 2 with `sigmoid`).

  Source: Grandvalet and Bengio 2004; for segmentation Vu et al. 2018, 1811.12833.
  """
  logits, weight = _unlabelled(logits, target, include_ignored, sigmoid=sigmoid)
  yes = voxels.log_probabilities(logits, sigmoid=sigmoid)
  each = -jnp.exp(yes) * yes
  if sigmoid:
    no = voxels.log_complements(logits, sigmoid=True)
    each -= jnp.exp(no) * no
  else:
    each = each.sum(-1, keepdims=True)
  return voxels.weighted_mean(weight * each, weight)


def size_constraint(
  logits: Array,
  target: Target,
  *,
  bounds: Sequence[Sequence[float] | None] | None = None,
  unit: str = "share",
  include_ignored: bool = False,
  sigmoid: bool = False,
) -> jax.Array:
  """Squared excess of each class's soft size over its bounds; 0 between them.

  The size is sum p over a sample's voxels, as a share of them; the loss is the mean over samples
  and bounded classes of max(0, size - high)^2 + max(0, low - size)^2. The paper's penalty, in
  voxels, is n^2 times as large for a patch of n voxels.

  Args:
    logits: (b, *space, k), any float dtype; the sums are float32.
    target: its weight decides which voxels count.
    bounds: for each channel (low, high), or None where its size is free.
    unit: of the bounds: "share" of the sample's counted voxels, or "voxels".
    include_ignored: all voxels count the same.
    sigmoid: k independent channels (regions) instead of k exclusive classes.

  Returns:
    A float32 scalar.

  Source: Kervadec et al. 2018, 1805.04628.
  """
  if unit not in ("share", "voxels"):
    raise ValueError(f"size_constraint: unit is '{unit}'; expected 'share' or 'voxels'.")
  logits, weight = _unlabelled(logits, target, include_ignored, sigmoid=sigmoid)
  free = (-np.inf, np.inf)
  pairs = np.array([free if pair is None else pair for pair in bounds or ()], np.float32)
  if pairs.shape != (logits.shape[-1], 2) or (pairs[:, 0] > pairs[:, 1]).any():
    raise ValueError(
      f"size_constraint: bounds are {bounds}; expected (low, high) with low <= high, or None, for "
      f"each of the {logits.shape[-1]} channels of the logits."
    )
  scores = voxels.probabilities(logits, sigmoid=sigmoid)
  counted = voxels.class_sums(weight, batch=False)
  filled = jnp.where(counted > 0, counted, 1)
  low, high = (jnp.asarray(bound)[None] / (filled if unit == "voxels" else 1) for bound in pairs.T)
  share = voxels.class_sums(weight * scores, batch=False) / filled
  excess = jax.nn.relu(share - high) + jax.nn.relu(low - share)
  bounded = jnp.asarray(np.isfinite(pairs).any(1), jnp.float32)[None]
  weight = jnp.where(counted > 0, 1, 0) * bounded
  return voxels.weighted_mean(weight * excess**2, weight)


def _unlabelled(logits, target, include_ignored: bool, *, sigmoid: bool):
  """float32 logits and weight, 1 everywhere with `include_ignored`."""
  logits, _, weight = voxels.prepare(logits, target, sigmoid=sigmoid)
  return logits, jnp.ones_like(weight) if include_ignored else weight


def constant(logits: Array, target: Target, *, sigmoid: bool = False) -> jax.Array:
  """0, whatever is predicted: for searches of losses, which must not gain by it.

  Arguments as of `entropy`.
  """
  prediction, _, _ = voxels.prepare(logits, target, sigmoid=sigmoid)
  # logits that are no numbers are told by a loss that is none
  return 0.0 * voxels.probabilities(prediction, sigmoid=sigmoid).sum()
