"""A distribution over the space that is moved to where scores are high: PPO and REINFORCE.

Every number has a normal distribution, truncated to its range and of a fixed deviation, in units of
that range; every choice has a probability of each of its values. What is learned are the means, by
their logits, and the logits of the choices. In double precision and without JAX, so that the draws
are the same wherever a search goes on.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from jaxseg.search.parameters import Candidate, Choices, Space, settled
from jaxseg.search.proposals import Proposal, Result, Strategy

# a mean on an end of its range would stay there
_INSIDE = 0.01


def ppo(
  space: Space,
  steps: int,
  seed: int,
  first: Sequence[Candidate],
  *,
  samples: int = 32,
  rounds: int = 12,
  updates: int = 60,
  learning_rate: float = 0.2,
  deviation: float = 0.2,
  clip: float = 0.2,
) -> Strategy:
  """Proximal policy optimisation, as Auto Seg-Loss searches (Li et al. 2021, 2010.07930).

  In every round the means themselves and `samples` - 1 draws around them are tried; the advantage
  of each is its score above that of the means. Adam then takes `updates` steps on the clipped
  objective, of each parameter on its own.

  Args:
    space: what is chosen.
    steps: that each candidate is trained for.
    seed: of the draws.
    first: the first of them is where the means start, else the middle; all are tried:
      config.search.first.
    samples: candidates of a round, which may run at the same time.
    rounds: how many.
    updates: steps of Adam in each.
    learning_rate: of these.
    deviation: of the normal distributions, as a share of the range.
    clip: how far the ratio of probabilities may leave 1.
  """
  _check(samples, deviation)
  policy = Policy(space, first, deviation, learning_rate)
  random = np.random.default_rng(seed)
  if first:
    yield [Proposal(candidate, steps) for candidate in first]
  for _ in range(rounds):
    drawn = [policy.means(), *(policy.draw(random) for _ in range(samples - 1))]
    results = yield [Proposal(policy.candidate(point), steps) for point in drawn]
    rewards = _rewards(results)
    # of the means, unless they failed
    baseline = rewards[0] if results[0].score is not None else float(np.mean(rewards))
    before = [policy.log_densities(point) for point in drawn]
    for _ in range(updates):
      gradient = np.zeros(policy.size)
      for point, old, reward in zip(drawn, before, rewards - baseline, strict=True):
        ratio = np.exp(policy.log_densities(point) - old)
        inside = np.minimum(ratio * reward, np.clip(ratio, 1 - clip, 1 + clip) * reward)
        moves = policy.spread(np.where(inside == ratio * reward, ratio * reward, 0))
        gradient += moves * policy.slopes(point) / samples
      policy.ascend(gradient)


def am_lfs(
  space: Space,
  steps: int,
  seed: int,
  first: Sequence[Candidate],
  *,
  samples: int = 8,
  rounds: int = 8,
  learning_rate: float = 0.05,
  deviation: float = 0.2,
  inherit: bool = True,
) -> Strategy:
  """REINFORCE while the networks are trained, as AM-LFS (Li et al., ICCV 2019, 1905.07375).

  The rounds are the periods of one training: all samples of a round begin with the weights of the
  best one of the round before, and Adam takes a step on the sum of rewards times the gradient of
  the draws' log probability; rewards have the mean 0 and the deviation 1 in a round.

  Args:
    space, steps, seed, first, samples, rounds, learning_rate, deviation: as of `ppo`; `steps` are
      those of one round.
    inherit: False begins every sample with new weights.
  """
  _check(samples, deviation)
  policy = Policy(space, first, deviation, learning_rate)
  random, best = np.random.default_rng(seed), None
  if first:
    yield [Proposal(candidate, steps) for candidate in first]
  for _ in range(rounds):
    drawn = [policy.draw(random) for _ in range(samples)]
    after = best if inherit else None
    results = yield [Proposal(policy.candidate(point), steps, after) for point in drawn]
    rewards = _rewards(results)
    alike = rewards.std() == 0
    rewards = np.zeros(samples) if alike else (rewards - rewards.mean()) / rewards.std()
    gradient = sum(
      reward * policy.slopes(point) for point, reward in zip(drawn, rewards, strict=True)
    )
    policy.ascend(gradient / samples)
    scored = [result for result in results if result.score is not None]
    if scored:
      best = max(scored, key=lambda result: result.score).number


def _check(samples: int, deviation: float) -> None:
  for name, value, least in (("samples", samples, 2), ("deviation", deviation, 1e-3)):
    if value < least:
      raise ValueError(f"config.search.strategy.{name}: {value}; expected {least} or more.")


def _rewards(results: Sequence[Result]) -> np.ndarray:
  """The scores; what failed is as bad as the worst that did not."""
  known = [result.score for result in results if result.score is not None]
  least = min(known, default=0.0)
  return np.array([least if result.score is None else result.score for result in results])


class Policy:
  """The distribution, and Adam's state of what is learned of it.

  A point is what is drawn: shares of the ranges, and places in the lists of choices, one for each
  parameter.

  Attributes:
    size: how many numbers are learned.
  """

  def __init__(
    self, space: Space, first: Sequence[Candidate], deviation: float, learning_rate: float
  ):
    self._space, self._deviation, self._rate = space, deviation, learning_rate
    self._groups, logits = [], []
    for name, of in space.parameters.items():
      start = first[0][name] if first else None
      begin = len(logits)
      if isinstance(of, Choices):
        own = [0.0] * len(of.values)
        if start is not None:
          # as likely as all others together
          own[int(start)] = math.log(max(1, len(of.values) - 1))
        logits += own
      else:
        share = 0.5 if start is None else of.share(start)
        logits.append(float(special.logit(min(max(share, _INSIDE), 1 - _INSIDE))))
      self._groups.append((name, of, slice(begin, len(logits))))
    self._logits = np.array(logits)
    self._moments, self._steps = np.zeros((2, len(logits))), 0

  @property
  def size(self) -> int:
    return len(self._logits)

  def means(self) -> list[float]:
    """The point in the middle: the means, and the likeliest choices."""
    return [
      int(self._logits[at].argmax()) if isinstance(of, Choices) else self._mean(at)
      for _, of, at in self._groups
    ]

  def _mean(self, at: slice) -> float:
    return float(special.expit(self._logits[at])[0])

  def draw(self, random: np.random.Generator) -> list[float]:
    """A point."""
    point = []
    for _, of, at in self._groups:
      uniform = random.random()
      if isinstance(of, Choices):
        likely = np.cumsum(special.softmax(self._logits[at]))
        point.append(int(min(np.searchsorted(likely, uniform), len(of.values) - 1)))
        continue
      mean = self._mean(at)
      low, high = special.ndtr(np.array([-mean, 1 - mean]) / self._deviation)
      share = mean + self._deviation * special.ndtri(low + uniform * (high - low))
      point.append(float(min(max(share, 0.0), 1.0)))
    return point

  def candidate(self, point: Sequence[float]) -> Candidate:
    """What a point stands for."""
    drawn = {
      name: value if isinstance(of, Choices) else of.at(value)
      for (name, of, _), value in zip(self._groups, point, strict=True)
    }
    return settled(self._space, drawn)

  def log_densities(self, point: Sequence[float]) -> np.ndarray:
    """Of each parameter's value."""
    out = []
    for (_, of, at), value in zip(self._groups, point, strict=True):
      if isinstance(of, Choices):
        out.append(float(special.log_softmax(self._logits[at])[int(value)]))
        continue
      mean, sigma = self._mean(at), self._deviation
      low, high = special.ndtr(np.array([-mean, 1 - mean]) / sigma)
      density = -0.5 * ((value - mean) / sigma) ** 2 - math.log(sigma * math.sqrt(2 * math.pi))
      out.append(density - math.log(high - low))
    return np.array(out)

  def slopes(self, point: Sequence[float]) -> np.ndarray:
    """The derivative of each log density by the logits that it is of, (size,)."""
    out = np.zeros(self.size)
    for (_, of, at), value in zip(self._groups, point, strict=True):
      if isinstance(of, Choices):
        out[at] = -special.softmax(self._logits[at])
        out[at.start + int(value)] += 1
        continue
      mean, sigma = self._mean(at), self._deviation
      ends = np.array([-mean, 1 - mean]) / sigma
      low, high = special.ndtr(ends)
      at_low, at_high = np.exp(-0.5 * ends**2) / math.sqrt(2 * math.pi)
      by_mean = (value - mean) / sigma**2 + (at_high - at_low) / (sigma * (high - low))
      out[at] = by_mean * mean * (1 - mean)
    return out

  def spread(self, each: np.ndarray) -> np.ndarray:
    """One value for each parameter -> one for each number that is learned."""
    widths = [at.stop - at.start for _, _, at in self._groups]
    return np.repeat(each, widths)

  def ascend(self, gradient: np.ndarray) -> None:
    """A step of Adam up the gradient (Kingma, Ba, 1412.6980)."""
    self._steps += 1
    first, second = self._moments
    first[:] = 0.9 * first + 0.1 * gradient
    second[:] = 0.999 * second + 0.001 * gradient**2
    mean = first / (1 - 0.9**self._steps)
    spread = np.sqrt(second / (1 - 0.999**self._steps))
    self._logits = self._logits + self._rate * mean / (spread + 1e-8)
