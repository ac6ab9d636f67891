"""Regularised evolution: parents are the best of a few, and the oldest dies, not the worst."""

from collections.abc import Sequence

import numpy as np

from jaxseg.search.parameters import Candidate, Space, draw, key, mutated
from jaxseg.search.proposals import TRIES, Proposal, Strategy, worst_last


def evolution(
  space: Space,
  steps: int,
  seed: int,
  first: Sequence[Candidate],
  *,
  trials: int = 50,
  population: int = 10,
  tournament: int = 3,
  at_once: int = 1,
  width: float = 0.2,
) -> Strategy:
  """Aging evolution (Real et al. 2019, 1802.01548).

  A population of random candidates; then, again and again, the best of `tournament` members drawn
  with replacement has a child, one parameter of it changed, that takes the place of the oldest.
  A child that was tried before is changed again. With `at_once` above 1 so many children have
  parents of the same population: they may run at the same time.

  Args:
    space: what is chosen.
    steps: that each candidate is trained for.
    seed: of draws and changes.
    first: candidates that the population begins with: config.search.first.
    trials: how many candidates, the first population among them; a budget may end them before.
    population: members.
    tournament: of which a parent is the best.
    at_once: children of one population.
    width: deviation of the change of a number, as a share of its range.
  """
  if not 1 <= tournament <= population:
    raise ValueError(
      f"config.search.strategy.tournament: {tournament}; expected 1 to {population}, the members "
      "of the population."
    )
  if trials < population:
    raise ValueError(
      f"config.search.strategy.trials: {trials} candidates do not fill a population of "
      f"{population}; expected {population} or more."
    )
  if len(first) > population:
    raise ValueError(
      f"config.search.first: {len(first)} candidates, and a population has {population} members; "
      "expected as many or fewer, or a larger config.search.strategy.population."
    )
  random = np.random.default_rng(seed)
  tried: set[tuple] = set()
  members: list[tuple[Candidate, float]] = []

  def new(make) -> Candidate | None:
    """The first of what `make` gives that was not tried yet; None where none is left."""
    for _ in range(TRIES if len(tried) < space.size else 0):
      candidate = make()
      if key(candidate) not in tried:
        tried.add(key(candidate))
        return candidate
    return None

  def child() -> Candidate:
    drawn = [members[int(random.integers(len(members)))] for _ in range(tournament)]
    parent = max(drawn, key=lambda member: member[1])[0]
    candidate = mutated(space, parent, random, width=width)
    # near a parent whose neighbours are all known the way leads farther
    for _ in range(TRIES):
      if key(candidate) not in tried:
        break
      candidate = mutated(space, candidate, random, width=width)
    return candidate

  beginning = list(first)
  tried.update(map(key, beginning))
  while len(beginning) < population:
    if (candidate := new(lambda: draw(space, random))) is None:
      break
    beginning.append(candidate)
  batch, left = beginning, trials - len(beginning)
  while batch:
    results = yield [Proposal(candidate, steps) for candidate in batch]
    for candidate, result in zip(batch, results, strict=True):
      members.append((candidate, worst_last(result.score)))
    del members[:-population]
    batch = []
    while len(batch) < min(at_once, left) and (candidate := new(child)) is not None:
      batch.append(candidate)
    left -= len(batch)
