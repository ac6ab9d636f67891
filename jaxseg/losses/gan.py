"""What a critic and the network that it judges minimise: losses of scores, and of features.

Scores are logits of any shape, (b, ...): one for an image, for each patch, or for each voxel. All
sums are float32.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxseg.batch import Array
from jaxseg.losses import voxels


class Game(NamedTuple):
  """The losses of each score, elementwise.

  Attributes:
    real: the critic's, of what is real.
    fake: the critic's, of what is made.
    fool: the network's, of what it made.
    share: factor of the critic's two means.
    middle: a score above is taken for real; None where only the order of scores means something.
  """

  real: Callable[[Array], Array]
  fake: Callable[[Array], Array]
  fool: Callable[[Array], Array]
  share: float
  middle: float | None


def _towards_one(score):
  return jnp.square(1 - score)


def _below(score):
  return jax.nn.softplus(-score)


GAMES = {
  # Goodfellow et al., 1406.2661; the network's loss is the one that doesn't saturate
  "bce": Game(_below, jax.nn.softplus, _below, 0.5, 0.0),
  # Mao et al., 1611.04076
  "lsgan": Game(_towards_one, jnp.square, _towards_one, 0.5, 0.5),
  # Miyato et al., 1802.05957
  "hinge": Game(
    lambda score: jax.nn.relu(1 - score),
    lambda score: jax.nn.relu(1 + score),
    jnp.negative,
    1.0,
    0.0,
  ),
  # Arjovsky et al., 1701.07875: the critic must be kept from growing
  "wgan": Game(jnp.negative, jnp.positive, jnp.negative, 1.0, None),
}


def mean(values: Array, weight: Array | None = None) -> jax.Array:
  """Mean of (b, ..., 1) values, of those with a `weight` (b, ...) if there is one for each."""
  values = jnp.asarray(values, jnp.float32)
  if weight is None or weight.shape != values.shape[:-1]:
    return values.mean()
  weight = jnp.asarray(weight, jnp.float32)[..., None]
  return voxels.weighted_mean(values * weight, weight)


def critic_loss(
  mode: str,
  real: Array,
  fake: Array,
  *,
  real_weight: Array | None = None,
  fake_weight: Array | None = None,
) -> jax.Array:
  """The critic's loss of scores (b, ..., 1), the weights (b, ...) where each voxel has a score."""
  game = GAMES[mode]
  return game.share * (mean(game.real(real), real_weight) + mean(game.fake(fake), fake_weight))


def network_loss(mode: str, fake: Array, *, weight: Array | None = None) -> jax.Array:
  """The loss of the network whose output has those scores."""
  return mean(GAMES[mode].fool(fake), weight)


def accuracy(
  mode: str,
  real: Array,
  fake: Array,
  *,
  real_weight: Array | None = None,
  fake_weight: Array | None = None,
) -> jax.Array:
  """The share of scores that the critic gives on the right side: 0.5 is guessing, 1 never wrong.

  Where no score is in the middle ("wgan"), the share of pairs of which the real one scores higher.
  """
  middle = GAMES[mode].middle
  if middle is None:
    return mean(real > fake, real_weight)
  return (mean(real > middle, real_weight) + mean(fake <= middle, fake_weight)) / 2


def gradient_penalty(scores: Callable[[Array], Array], inputs: Array) -> jax.Array:
  """Mean over samples of (|slope| - 1)^2, the slope of a sample's mean score by its input.

  Args:
    scores: inputs (b, ...) -> scores (b, ...), each of its own sample alone.
    inputs: where the slope is taken, between real and fake ones.

  Source: Gulrajani et al., 1704.00028, where its weight is 10.
  """

  def total(inputs):
    of = scores(inputs)
    return of.reshape(len(of), -1).mean(-1).sum()

  slopes = jax.grad(total)(jnp.asarray(inputs, jnp.float32))
  square = jnp.square(slopes).reshape(len(slopes), -1).sum(-1)
  # the root has no slope at 0
  return jnp.mean(jnp.square(jnp.sqrt(jnp.maximum(square, 1e-20)) - 1))


def feature_distance(
  a: Sequence[Array], b: Sequence[Array], weights: Sequence[float] | None = None
) -> jax.Array:
  """Mean over all features of weight * |a - b|, one weight for each scale (None is 1 for all).

  Every feature counts once, so that a scale weighs by its size and its weight, as in SegAN's code
  (Xue et al., 1706.01805).
  """
  weights = (1.0,) * len(a) if weights is None else weights
  differences = [
    weight * jnp.abs(jnp.asarray(x, jnp.float32) - jnp.asarray(y, jnp.float32)).sum()
    for weight, x, y in zip(weights, a, b, strict=True)
  ]
  return sum(differences) / sum(x.size for x in a)
