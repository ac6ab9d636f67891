"""Maximum mean discrepancy: features of two domains are to be distributed alike."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxseg.batch import Array
from jaxseg.losses import Loss
from jaxseg.losses.domains import BANDWIDTHS, maximum_mean_discrepancy
from jaxseg.method import Method
from jaxseg.methods.labelled import check_output, regularised, supervision
from jaxseg.schedules import Schedule


def mmd(
  network: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  *,
  weight: float | Schedule = 0.1,
  features: str = "bottleneck",
  grid: int = 4,
  bandwidths: Sequence[float] = BANDWIDTHS,
  head_decay: float = 0.5,
  drop_last_head: bool = False,
) -> Method:
  """loss(labelled) + weight * MMD^2 of features of both streams.

  Long et al., DAN, 1502.02791; kernels see `losses.domains.maximum_mean_discrepancy`. Both streams
  go through the network as one batch, whose statistics are those of both.

  Args:
    network: gives the features in its outputs.
    loss, optimiser, head_decay, drop_last_head: as for `supervised`.
    weight: of the discrepancy, a number or a schedule.
    features: name of the output that is compared.
    grid: places per axis of an image, each the mean of its part of the features: every place is a
      point of the distribution. 1 compares whole images.
    bandwidths: of the kernels, relative to the mean squared distance.

  Metrics: supervised_loss, discrepancy, weight.
  """

  def term(known, rest, batch, step):
    del batch, step
    check_output(known, features, network)
    sets = (_places(outputs[features], grid) for outputs in (known, rest))
    discrepancy = maximum_mean_discrepancy(*sets, bandwidths=bandwidths)
    return discrepancy, {"discrepancy": discrepancy}

  heads = supervision(loss, decay=head_decay, drop_last=drop_last_head)
  return regularised(network, heads, optimiser, term=term, weight=weight)


def _places(features: Array, grid: int) -> Array:
  """(b, *space, c) -> (b * places, c), means over equal parts of at most `grid` per axis."""
  pooled = features.astype(jnp.float32)
  for axis, side in enumerate(features.shape[1:-1], start=1):
    number = min(grid, side)
    ends = np.arange(1, number + 1) * side // number
    whole = jnp.split(pooled, ends[:-1], axis)
    pooled = jnp.stack([part.mean(axis) for part in whole], axis)
  return pooled.reshape(-1, pooled.shape[-1])
