"""What critics say of pairs of label map and image: can they tell those that were made?"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxseg.losses import gan
from jaxseg.method import Learner, forward
from jaxseg.methods import critics

_BATCH = 8
_GAME = "bce"


class Pairs(NamedTuple):
  """Label maps and their images, as networks see them.

  Attributes:
    maps: (n, *space, k) float32, one-hot.
    images: (n, *space, channels) float32, normalised.
  """

  maps: np.ndarray
  images: np.ndarray

  def part(self, which) -> "Pairs":
    """Some of them, by their numbers."""
    return Pairs(self.maps[which], self.images[which])


def accuracy(
  critic: nn.Module, judge: Learner, mode: str, real: Pairs, fake: Pairs
) -> dict[str, float]:
  """How often a critic is right about pairs of both kinds: 0.5 is guessing.

  Args:
    critic, judge: the network and its weights; it is asked as in use, not as in training.
    mode: the game that it has learnt, see `losses.gan`.
    real, fake: as many or not: each kind counts half.

  Returns:
    "scores": of each score that the critic gives, as one for each patch; "pairs": of each pair's
    mean score.
  """

  @jax.jit
  def score(maps, images):
    inputs = critics.show(critic, maps, images, inputs="basic")
    return forward(critic, judge.params, judge.stats, *inputs)[0]["score"]

  def of(pairs: Pairs) -> np.ndarray:
    each = [score(m[None], i[None])[0] for m, i in zip(*pairs, strict=True)]
    return np.stack(each).astype(np.float32)

  truth, made = of(real), of(fake)
  means = [x.reshape(len(x), -1).mean(1, keepdims=True) for x in (truth, made)]
  if gan.GAMES[mode].middle is None:
    # only the order of scores means something: of all pairs of one of each kind
    return {"scores": _higher(truth, made), "pairs": _higher(*means)}
  return {
    "scores": float(gan.accuracy(mode, truth, made)),
    "pairs": float(gan.accuracy(mode, *means)),
  }


def _higher(a: np.ndarray, b: np.ndarray) -> float:
  """Of all pairs of a value of each the share of those in which that of `a` is the higher one."""
  # by ranks: the pairs themselves may be more than memory holds
  return float(np.searchsorted(np.sort(b, None), a.ravel(), side="left").mean() / b.size)


def trained_anew(
  critic: nn.Module,
  real: Pairs,
  fake: Pairs,
  *,
  steps: int = 300,
  rate: float = 2e-4,
  seed: int = 0,
) -> Learner:
  """A critic that has learnt to tell pairs, from nothing, with mirror images of them.

  Args:
    critic: gives scores.
    real, fake: what it learns from.
    steps: of 8 pairs of each kind.
    rate: of Adam.
    seed: of its weights and the order.
  """
  tx, random = optax.adam(rate, b1=0.5), np.random.default_rng(seed)
  rank = real.maps.ndim - 2

  def drawn(pairs: Pairs):
    chosen = pairs.part(random.integers(len(pairs.maps), size=_BATCH))
    axes = [axis for axis in range(1, rank + 1) if random.integers(2)]
    return [np.flip(x, axes) for x in chosen]

  first, _ = critics.critic_learner(
    critic, tx, jax.random.key(seed), lambda: _shown(critic, *drawn(real))
  )

  @jax.jit
  def step(judge, real, fake, key):
    pair = (_shown(critic, *of) for of in (real, fake))
    return critics.learn(tx, judge, critics.tell_apart(critic, *pair, mode=_GAME), key)[0]

  judge = first
  for number in range(steps):
    key = jax.random.fold_in(jax.random.key(seed), number)
    judge = step(judge, drawn(real), drawn(fake), key)
  return judge


def _shown(critic: nn.Module, maps, images):
  return critics.show(critic, jnp.asarray(maps), jnp.asarray(images), inputs="basic")


def verdict(
  real: Mapping[str, Pairs],
  fake: Pairs,
  *,
  critic: nn.Module,
  judge: tuple[nn.Module, Learner, str] | None = None,
  steps: int = 300,
  seed: int = 0,
) -> dict[str, Any]:
  """Both critics' accuracy on real pairs that neither has seen.

  Args:
    real: "training" and "held_out" pairs.
    fake: made ones; half of them teach the new critic, the other half is asked about.
    critic: that learns anew.
    judge: the critic that the images were trained against, its weights and its game, if any.
    steps, seed: of the new critic's training.
  """
  half = len(fake.maps) // 2
  taught, asked = fake.part(slice(half)), fake.part(slice(half, None))
  new = trained_anew(critic, real["training"], taught, steps=steps, seed=seed)
  out = {
    "new_critic": accuracy(critic, new, _GAME, real["held_out"], asked),
    "new_critic_on_what_it_learnt": accuracy(critic, new, _GAME, real["training"], taught),
    "asked": {"real": len(real["held_out"].maps), "made": len(asked.maps)},
  }
  if judge is not None:
    out["own_critic"] = accuracy(*judge, real["held_out"], fake)
  return out
