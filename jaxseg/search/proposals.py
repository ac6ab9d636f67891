"""What a strategy and the trials pass each other.

A strategy is a generator: it yields proposals that may run at the same time, and is sent a result
for each, in their order. What it proposes follows from its seed and these results alone, so that a
search that is resumed sends the stored ones again and comes to the same trials.
"""

from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple

from jaxseg.search.parameters import Candidate

# draws in vain after which a space counts as tried out
TRIES = 1000


class Proposal(NamedTuple):
  """A candidate to be tried.

  Attributes:
    candidate: its parameters.
    steps: up to which it is trained; one that was trained for fewer goes on from there.
    after: number of the trial whose weights it begins with; None for new ones.
  """

  candidate: Candidate
  steps: int
  after: int | None = None


class Result(NamedTuple):
  """What came of a proposal: the trial's number, and its score, more is better; None: it failed."""

  number: int
  score: float | None


Strategy = Generator[Sequence[Proposal], Sequence[Result], None]
Constructor = Callable[..., Strategy]


def worst_last(score: float | None) -> float:
  """For sorting: what failed is worse than any score."""
  return float("-inf") if score is None else score
