"""DropBlock and stochastic depth: noise that is on exactly if the caller gives a "dropout" key."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxseg.networks.blocks.options import per_axis
from jaxseg.networks.blocks.resize import pool


def drop_block_gamma(rate: float, block: Sequence[int], space: Sequence[int]) -> float:
  """Probability that a block starts at a place where it fits, for `rate` dropped voxels in all.

  gamma = rate / prod(block) x prod(space) / prod(space - block + 1), one factor per axis.
  """
  places = math.prod(n - b + 1 for n, b in zip(space, block, strict=True))
  return min(1.0, rate / math.prod(block) * math.prod(space) / places)


class DropBlock(nn.Module):
  """Drops cubes of neighbouring voxels, each channel its own; scales by the kept fraction.

  Shapes: (b, *space, c) -> the same. Without a "dropout" key the identity.

  Attributes:
    rate: the fraction to drop (overlapping blocks make it a little less).
    block: sides of a cube, an integer or one per axis; an axis that is smaller gets a block of its
      own size.
    ramp: steps over which the rate grows linearly from 0, the paper's schedule; 0: constant. The
      collection "counts" counts uses in training steps: n times as fast where each has n of them.

  Raises ValueError for a rate, block or ramp that cannot be.
  Source: Ghiasi, Lin, Le, arXiv 1810.12890.
  """

  rate: float
  block: int | Sequence[int] = 7
  ramp: int = 0

  def __post_init__(self):
    _check_rate(self.rate, "drop block: rate")
    if self.ramp < 0:
      raise ValueError(f"drop block: ramp={self.ramp}; expected 0 steps or more.")
    super().__post_init__()

  @nn.compact
  def __call__(self, x):
    if self.rate == 0:
      return x
    grown = self._grown() if self.ramp else 1.0
    if not self.has_rng("dropout"):
      return x
    space = x.shape[1:-1]
    sizes = per_axis(self.block, len(space), "drop block: block")
    if min(sizes) < 1:
      raise ValueError(f"drop block: block={sizes}; expected at least one voxel per axis.")
    block = tuple(min(b, n) for b, n in zip(sizes, space, strict=True))
    places = (n - b + 1 for n, b in zip(space, block, strict=True))
    gamma = grown * drop_block_gamma(self.rate, block, space)
    shape = (x.shape[0], *places, x.shape[-1])
    dropped = jax.random.bernoulli(self.make_rng("dropout"), gamma, shape).astype(jnp.float32)
    for axis, b in enumerate(block):  # a maximum over a cube is one over each axis
      kernel = [1] * len(space)
      kernel[axis] = b
      dropped = pool(dropped, "max", kernel=kernel, stride=1, padding=[k - 1 for k in kernel])
    kept = 1 - dropped
    return x * (kept / jnp.maximum(jnp.mean(kept), 1 / kept.size)).astype(x.dtype)

  def _grown(self):
    """The share of the rate that holds in this step, 0 to 1."""
    steps = self.variable("counts", "steps", jnp.zeros, (), jnp.float32)
    grown = jnp.minimum(steps.value / self.ramp, 1.0)
    noisy = self.has_rng("dropout") and not self.is_initializing()
    if noisy and self.is_mutable_collection("counts"):
      steps.value += 1
    return grown


class StochasticDepth(nn.Module):
  """Drops a residual branch for whole samples of the batch; the kept ones are divided by 1 - rate.

  Shapes: (b, ...) -> the same. Without a "dropout" key the identity, so that the branch's
  expectation is the same (the paper instead multiplies by 1 - rate when it predicts).
  Source: Huang et al., arXiv 1603.09382.
  """

  rate: float

  def __post_init__(self):
    _check_rate(self.rate, "stochastic depth: rate")
    super().__post_init__()

  @nn.compact
  def __call__(self, x):
    if self.rate == 0 or not self.has_rng("dropout"):
      return x
    shape = (x.shape[0],) + (1,) * (x.ndim - 1)
    kept = jax.random.bernoulli(self.make_rng("dropout"), 1 - self.rate, shape)
    return jnp.where(kept, x / (1 - self.rate), jnp.zeros((), x.dtype))


def _check_rate(rate, option):
  if not 0 <= rate < 1:
    raise ValueError(f"{option}={rate}; expected 0 <= rate < 1.")
