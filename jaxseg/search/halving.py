"""Many candidates for few steps, the best of them for more: successive halving and Hyperband.

A trial that is kept goes on from its own checkpoint: what has been trained to the end is, bit for
bit, the run that would have been trained alone.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from jaxseg.search.parameters import Candidate, Space, key
from jaxseg.search.proposals import Proposal, Strategy, worst_last
from jaxseg.search.sampling import candidates


class Rung(NamedTuple):
  """So many candidates up to so many steps."""

  count: int
  steps: int


def rungs(count: int, steps: int, *, eta: int, levels: int) -> list[Rung]:
  """`count` candidates for steps / eta^levels, a share 1 / eta of them eta times as long, ..."""
  return [
    Rung(max(1, count // eta**level), max(1, round(steps / eta ** (levels - level))))
    for level in range(levels + 1)
  ]


def brackets(steps: int, *, eta: int, smallest: int) -> list[list[Rung]]:
  """Hyperband's: from the most candidates for the fewest steps to a few that are trained in full.

  With R = steps / smallest and s from floor(log_eta R) down to 0, a bracket begins with
  ceil((s_max + 1) eta^s / (s + 1)) candidates for R / eta^s (Li et al. 2018, 1603.06560).
  """
  most = int(math.log(steps / smallest, eta) + 1e-9)
  return [
    rungs(math.ceil((most + 1) * eta**s / (s + 1)), steps, eta=eta, levels=s)
    for s in range(most, -1, -1)
  ]


def successive_halving(
  space: Space,
  steps: int,
  seed: int,
  first: Sequence[Candidate],
  *,
  trials: int = 9,
  eta: int = 3,
  levels: int | None = None,
) -> Strategy:
  """Successive halving (Jamieson, Talwalkar 2016, 1502.07943).

  Args:
    space: what is chosen.
    steps: that the last ones are trained for.
    seed: of the draws.
    first: candidates that are among the first ones: config.search.first. They go on whatever their
      scores, beside the best, so that the last comparison is with them.
    trials: candidates at the beginning.
    eta: a share 1 / eta of the candidates goes on, eta times as long.
    levels: how often; None is as often as one is left.
  """
  _check(eta)
  most = int(math.log(max(trials, 1), eta) + 1e-9)
  levels = most if levels is None else levels
  if not 1 <= levels <= most:
    raise ValueError(
      f"config.search.strategy: {trials} trials are divided by {eta} {most} times at most, levels "
      f"is {levels}; expected 1 to {most} of them, or more trials: {eta} or more."
    )
  return _climbing([rungs(trials, steps, eta=eta, levels=levels)], space, seed, first)


def hyperband(
  space: Space,
  steps: int,
  seed: int,
  first: Sequence[Candidate],
  *,
  smallest: int,
  eta: int = 3,
) -> Strategy:
  """Hyperband (Li et al. 2018, 1603.06560): successive halving from several beginnings.

  Args:
    space, steps, seed, first, eta: as of `successive_halving`.
    smallest: steps that a candidate is trained for at least.
  """
  _check(eta)
  if not 1 <= smallest <= steps / eta:
    raise ValueError(
      f"config.search.strategy.smallest: {smallest} of {steps} steps with eta={eta}; expected 1 to "
      f"{max(1, steps // eta)}."
    )
  return _climbing(brackets(steps, eta=eta, smallest=smallest), space, seed, first)


def _check(eta: int) -> None:
  if eta < 2:
    raise ValueError(f"config.search.strategy.eta: {eta}; expected 2 or more.")


def _climbing(
  of: Sequence[Sequence[Rung]], space: Space, seed: int, first: Sequence[Candidate]
) -> Strategy:
  """All brackets, one after the other; candidates are drawn once each."""
  known, keys = [*first], set(map(key, first))
  if len(known) > (places := sum(bracket[0].count for bracket in of)):
    raise ValueError(
      f"config.search.first: {len(known)} candidates, and the strategy begins with {places}; "
      "expected as many or fewer, or a strategy of more."
    )
  fresh = (one for one in candidates(space, seed, math.inf) if key(one) not in keys)
  for bracket in of:
    climbing: list[Candidate] = []
    while len(climbing) < bracket[0].count:
      candidate = known.pop(0) if known else next(fresh, None)
      if candidate is None:
        break
      climbing.append(candidate)
    for rung in bracket:
      # first those that stay: a budget that ends here has room for them before others
      staying = [candidate for candidate in climbing if key(candidate) in keys]
      best = climbing[: rung.count]
      climbing = [*staying, *(candidate for candidate in best if key(candidate) not in keys)]
      if not climbing:
        break
      results = yield [Proposal(candidate, rung.steps) for candidate in climbing]
      scores = [result.score for result in results]
      order = sorted(range(len(scores)), key=lambda i: -worst_last(scores[i]))
      climbing = [climbing[i] for i in order if scores[i] is not None]
