"""Strategies that draw their candidates by Optuna, which is asked and told: random search, TPE."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from jaxseg.packages import OnDemand, installed
from jaxseg.search.parameters import Candidate, Choices, Space, key, settled
from jaxseg.search.proposals import TRIES, Proposal, Strategy

optuna = OnDemand("optuna")
# candidates of random search that may run at the same time: no result is waited for
_BATCH = 64


def check_installed(strategy: str) -> None:
  """Raises ValueError without Optuna."""
  if not installed("optuna"):
    raise ValueError(
      f"config.search.strategy: '{strategy}' draws its candidates by Optuna, which is not "
      "installed: pip install 'jaxseg[search]'; 'evolution' needs no package."
    )


class Engine:
  """An Optuna study that is asked for candidates, each of which is new, and told scores."""

  def __init__(self, space: Space, sampler: str, seed: int, **options: Any):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    self._space, self._asked, self._drawn = space, {}, set()
    with warnings.catch_warnings():
      # of options whose form may change
      warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
      made = getattr(optuna.samplers, sampler)(seed=seed, **options)
    self._study = optuna.create_study(direction="maximize", sampler=made)

  def ask(self) -> Candidate | None:
    """A candidate that was not drawn before; None where no other is left."""
    if len(self._drawn) >= self._space.size:
      return None
    for _ in range(TRIES):
      trial = self._study.ask()
      parameters = self._space.parameters.items()
      candidate = settled(
        self._space, {name: _suggested(trial, name, of) for name, of in parameters}
      )
      if key(candidate) not in self._drawn:
        self._drawn.add(key(candidate))
        self._asked[key(candidate)] = trial
        return candidate
      self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
    return None

  def tell(self, candidate: Candidate, score: float | None) -> None:
    """The score of a candidate, asked for or another one; None where it failed."""
    trial = self._asked.pop(key(candidate), None)
    if trial is not None:
      state = optuna.trial.TrialState
      self._study.tell(trial, score, state=state.FAIL if score is None else state.COMPLETE)
      return
    self._drawn.add(key(candidate))
    if score is not None:
      kinds = {name: _distribution(of) for name, of in self._space.parameters.items()}
      known = optuna.trial.create_trial(params=candidate, distributions=kinds, value=score)
      self._study.add_trial(known)


def _distribution(of):
  if isinstance(of, Choices):
    return optuna.distributions.CategoricalDistribution(tuple(range(len(of.values))))
  if of.whole:
    return optuna.distributions.IntDistribution(int(of.low), int(of.high), log=of.log)
  return optuna.distributions.FloatDistribution(of.low, of.high, log=of.log)


def _suggested(trial, name: str, of) -> float:
  if isinstance(of, Choices):
    return trial.suggest_categorical(name, tuple(range(len(of.values))))
  if of.whole:
    return trial.suggest_int(name, int(of.low), int(of.high), log=of.log)
  return trial.suggest_float(name, of.low, of.high, log=of.log)


def candidates(space: Space, seed: int, count: float) -> Iterator[Candidate]:
  """Different ones, drawn at random; fewer where the space has no more."""
  engine, number = Engine(space, "RandomSampler", seed), 0
  while number < count and (candidate := engine.ask()) is not None:
    number += 1
    yield candidate


def random(
  space: Space, steps: int, seed: int, first: Sequence[Candidate], *, trials: int = 20
) -> Strategy:
  """Draws `trials` different candidates, each parameter's values equally likely.

  Args:
    space: what is chosen.
    steps: that each is trained for.
    seed: of the draws.
    first: candidates that are tried before and are not among the draws: config.search.first.
    trials: how many, those apart; a budget may end them before.
  """
  return _drawn(Engine(space, "RandomSampler", seed), steps, first, trials, _BATCH)


def tpe(
  space: Space,
  steps: int,
  seed: int,
  first: Sequence[Candidate],
  *,
  trials: int = 20,
  startup: int = 10,
  at_once: int = 1,
) -> Strategy:
  """Tree-structured Parzen estimators (Bergstra et al. 2011), by Optuna.

  Args:
    space, steps, seed, first, trials: as of `random`.
    startup: candidates that are drawn at random before.
    at_once: candidates that are drawn by the same results, and so may run at the same time.
  """
  engine = Engine(space, "TPESampler", seed, n_startup_trials=startup, constant_liar=at_once > 1)
  return _drawn(engine, steps, first, trials, at_once)


def _drawn(
  engine: Engine, steps: int, first: Sequence[Candidate], trials: int, at_once: int
) -> Strategy:
  """The first candidates, then so many drawn ones, `at_once` at a time."""
  batch, left = list(first), trials
  while True:
    if batch:
      results = yield [Proposal(candidate, steps) for candidate in batch]
      for candidate, result in zip(batch, results, strict=True):
        engine.tell(candidate, result.score)
    batch = _asked(engine, min(left, at_once))
    left -= len(batch)
    if not batch:
      return


def _asked(engine: Engine, count: int) -> list[Candidate]:
  drawn: list[Candidate] = []
  while len(drawn) < count and (candidate := engine.ask()) is not None:
    drawn.append(candidate)
  return drawn
