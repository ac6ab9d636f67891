"""Strategies as generators: what they propose, how often, by which rule, the same for one seed."""

import itertools
import math

import numpy as np
import pytest
from closeness import assert_close

from jaxseg.packages import installed
from jaxseg.search import halving, parameters
from jaxseg.search.distribution import Policy
from jaxseg.search.parameters import key
from jaxseg.search.proposals import Result
from jaxseg.search.strategies import STRATEGIES, check_strategy, most_at_once, strategy

needs_optuna = pytest.mark.skipif(
  not installed("optuna"), reason="Optuna is not installed: pip install 'jaxseg[search]'"
)
SPACE = parameters.space(
  dict(
    average=dict(low=0.0, high=1.0),
    steps=dict(choices=(1, 2, 3, 4)),
    optimiser=dict(learning_rate=dict(low=1e-4, high=1e-1, log=True)),
  )
)
SPECS = (
  dict(name="random", trials=30),
  dict(name="tpe", trials=30, at_once=3),
  dict(name="evolution", trials=40, population=8, at_once=2),
  dict(name="successive_halving", trials=27),
  dict(name="hyperband", smallest=11),
  dict(name="ppo", samples=8, rounds=4, updates=20),
  dict(name="am_lfs", samples=8, rounds=4),
)


def score(candidate):
  """Best where the average is 0.7, of the third choice, whatever the rate."""
  return 1 - abs(candidate["average"] - 0.7) - 0.2 * abs(candidate["steps"] - 2)


def run(spec, space=SPACE, *, seed=0, first=(), steps=300, of=score, fails=lambda number: False):
  """All proposals of a strategy, their numbers and scores, in batches."""
  made, numbers, batches = strategy(spec, space, steps, seed, first), {}, []
  results = None
  while True:
    try:
      proposals = next(made) if results is None else made.send(results)
    except StopIteration:
      return batches
    batch, results = [], []
    for proposal in proposals:
      number = numbers.setdefault((key(proposal.candidate), proposal.after), len(numbers))
      value = None if fails(number) else of(proposal.candidate)
      batch.append((proposal, number, value))
      results.append(Result(number, value))
    batches.append(batch)


def test_every_strategy_is_tried():
  assert {spec["name"] for spec in SPECS} == set(STRATEGIES)


@needs_optuna
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec["name"])
def test_one_seed_proposes_the_same_whenever_it_is_asked(spec):
  once, again = run(spec, fails=lambda n: n % 7 == 3), run(spec, fails=lambda n: n % 7 == 3)
  assert once == again
  assert once != run(spec, seed=1, fails=lambda n: n % 7 == 3)


@needs_optuna
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec["name"])
def test_what_all_strategies_propose_is_of_the_space(spec):
  for batch in run(spec):
    for proposal, _, _ in batch:
      fields = parameters.values(SPACE, proposal.candidate)
      assert parameters.place(SPACE, fields, "where") == proposal.candidate
      assert 1 <= proposal.steps <= 300


@needs_optuna
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec["name"])
def test_trials_that_all_fail_end_in_no_error(spec):
  assert run(spec, fails=lambda number: True)


@needs_optuna
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec["name"])
def test_known_candidates_come_first(spec):
  first = ({"average": 0.25, "steps": 1, "optimiser.learning_rate": 1e-3},)
  batches = run(spec, first=first)
  assert key(batches[0][0][0].candidate) == key(first[0])


@needs_optuna
@pytest.mark.parametrize("name", ["random", "tpe", "evolution"])
def test_a_small_space_is_tried_once_and_out(name):
  space = parameters.space(dict(steps=dict(choices=(1, 2, 3)), seed=dict(choices=(0, 1))))
  spec = dict(name=name, trials=50, **(dict(population=3) if name == "evolution" else {}))
  tried = [
    key(p.candidate) for batch in run(spec, space, of=lambda c: c["seed"]) for p, *_ in batch
  ]
  assert len(tried) == len(set(tried)) == 6


@needs_optuna
def test_random_search_proposes_as_many_as_it_is_told():
  batches = run(dict(name="random", trials=100), first=())
  assert [len(batch) for batch in batches] == [64, 36]


def test_evolution_replaces_the_oldest_by_a_child_of_the_best_of_a_few():
  spec = dict(name="evolution", trials=60, population=6, tournament=6)
  batches = run(spec)
  assert [len(batch) for batch in batches] == [6, *[1] * 54]
  population = [(p.candidate, value) for p, _, value in batches[0]]
  for ((proposal, _, value),) in batches[1:]:
    # the child of one of the living: one parameter differs
    distances = [
      sum(proposal.candidate[name] != one[name] for name in one) for one, _ in population
    ]
    assert min(distances) == 1
    population = [*population[1:], (proposal.candidate, value)]
  best = max(value for batch in batches for *_, value in batch)
  assert best > 0.9
  assert best > max(value for *_, value in batches[0])


def test_evolution_with_several_children_at_once_breeds_from_one_population():
  batches = run(dict(name="evolution", trials=20, population=6, at_once=4))
  assert [len(batch) for batch in batches] == [6, 4, 4, 4, 2]


def test_hyperbands_brackets_are_the_papers():
  # Li et al. 2018, table 1: R = 81, eta = 3
  assert [[tuple(rung) for rung in of] for of in halving.brackets(81, eta=3, smallest=1)] == [
    [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    [(34, 3), (11, 9), (3, 27), (1, 81)],
    [(15, 9), (5, 27), (1, 81)],
    [(8, 27), (2, 81)],
    [(5, 81)],
  ]


@needs_optuna
def test_successive_halving_goes_on_with_the_best_third():
  batches = run(dict(name="successive_halving", trials=27), steps=270)
  assert [(len(batch), batch[0][0].steps) for batch in batches] == [
    (27, 10),
    (9, 30),
    (3, 90),
    (1, 270),
  ]
  for before, after in itertools.pairwise(batches):
    order = sorted(before, key=lambda of: -of[2])
    assert [number for _, number, _ in after] == [n for _, n, _ in order[: len(after)]]


@needs_optuna
def test_what_failed_goes_no_farther():
  batches = run(dict(name="successive_halving", trials=9), fails=lambda number: number > 1)
  assert [len(batch) for batch in batches] == [9, 2, 1]


@needs_optuna
@pytest.mark.parametrize(
  ("spec", "counts"),
  [
    (dict(name="successive_halving", trials=9), [9, 3 + 2, 1 + 2]),
    (dict(name="hyperband", smallest=33), [9, 3 + 2, 1 + 2, 5, 1, 3]),
  ],
)
def test_the_first_candidates_are_compared_at_the_full_length_too(spec, counts):
  """However bad they are at first: what is chosen is never worse than they are."""
  first = [{"average": 0.0, "steps": place, "optimiser.learning_rate": 1e-3} for place in (0, 1)]
  batches = run(spec, first=first)
  assert [len(batch) for batch in batches] == counts
  for before, after in itertools.pairwise(batches[:3]):
    keys = [key(proposal.candidate) for proposal, _, _ in after]
    # before the others, so that a budget that ends here has had room for them
    assert {*keys[:2]} == set(map(key, first))
    best = sorted(before, key=lambda of: -of[2])[: len(after) - 2]
    assert keys[2:] == [key(proposal.candidate) for proposal, _, _ in best]
  assert batches[2][0][0].steps == 300


@needs_optuna
def test_a_first_candidate_that_fails_stays_no_longer():
  first = ({"average": 0.0, "steps": 0, "optimiser.learning_rate": 1e-3},)
  batches = run(
    dict(name="successive_halving", trials=9), first=first, fails=lambda number: number == 0
  )
  assert [len(batch) for batch in batches] == [9, 3, 1]


@needs_optuna
def test_more_first_candidates_than_halving_begins_with_are_refused():
  first = tuple({"average": 0.1 * i, "steps": 0, "optimiser.learning_rate": 1e-3} for i in range(4))
  with pytest.raises(ValueError, match=r"first: 4 candidates, and the strategy begins with 3"):
    run(dict(name="successive_halving", trials=3), first=first)


def test_the_gradient_of_the_policy_is_that_of_its_densities():
  policy = Policy(SPACE, (), 0.2, 0.1)
  random = np.random.default_rng(0)
  policy._logits = random.normal(size=policy.size)
  point = policy.draw(random)
  slopes, before = policy.slopes(point), policy._logits.copy()
  for at in range(policy.size):
    ends = []
    for sign in (1, -1):
      policy._logits = before + sign * 1e-5 * (np.arange(policy.size) == at)
      ends.append(policy.log_densities(point).sum())
    assert_close(slopes[at], (ends[0] - ends[1]) / 2e-5, rtol=1e-4, atol=1e-6)


def test_draws_of_the_policy_are_of_a_truncated_normal():
  space = parameters.space(dict(average=dict(low=0.0, high=1.0)))
  policy = Policy(space, ({"average": 0.9},), 0.2, 0.1)
  random = np.random.default_rng(0)
  drawn = np.array([policy.draw(random)[0] for _ in range(4000)])
  assert 0 <= drawn.min() < drawn.max() <= 1
  from scipy import stats

  known = stats.truncnorm(-0.9 / 0.2, 0.1 / 0.2, 0.9, 0.2)
  assert stats.kstest(drawn, known.cdf).pvalue > 0.01
  assert_close(policy.log_densities([0.8])[0], known.logpdf(0.8), rtol=1e-6)


@pytest.mark.parametrize("name", ["ppo", "am_lfs"])
def test_the_distribution_moves_to_where_scores_are_high(name):
  spec = dict(name=name, samples=16, rounds=12)
  spec |= dict(updates=20) if name == "ppo" else dict(learning_rate=0.3)
  batches = run(spec)
  # of the first and the last draws
  ends = [np.mean([value for *_, value in batch]) for batch in (batches[0], batches[-1])]
  assert ends[1] > ends[0] + 0.1
  chosen = [p.candidate["steps"] for p, *_ in batches[-1]]
  assert chosen.count(2) > len(chosen) / 3


def test_ppo_tries_the_means_and_starts_where_it_is_told():
  first = ({"average": 0.25, "steps": 1, "optimiser.learning_rate": 1e-3},)
  batches = run(dict(name="ppo", samples=4, rounds=1), first=first)
  mean = batches[1][0][0].candidate
  assert_close([mean[name] for name in first[0]], list(first[0].values()), rtol=1e-6)


def test_am_lfs_goes_on_from_the_best_of_the_round_before():
  batches = run(dict(name="am_lfs", samples=4, rounds=3))
  assert {p.after for p, *_ in batches[0]} == {None}
  for before, after in itertools.pairwise(batches):
    best = max(before, key=lambda of: of[2])[1]
    assert {p.after for p, *_ in after} == {best}
  alone = run(dict(name="am_lfs", samples=4, rounds=3, inherit=False))
  assert {p.after for batch in alone for p, *_ in batch} == {None}


@pytest.mark.parametrize(
  ("spec", "words"),
  [
    (dict(name="randm"), "did you mean 'random'"),
    (dict(name="random", trails=3), "did you mean 'trials'"),
    (dict(name="random", trials=0), "from 1"),
    (dict(name="hyperband"), "needs smallest"),
    (dict(name="evolution", width=1e-9), "width: 1e-09; expected a number from 0.001 to 1"),
  ],
)
@needs_optuna
def test_a_strategy_that_there_is_not_is_refused(spec, words):
  with pytest.raises(ValueError, match=words):
    check_strategy(spec)


@pytest.mark.parametrize(
  ("spec", "words"),
  [
    (dict(name="evolution", population=3, tournament=4), "tournament: 4; expected 1 to 3"),
    (dict(name="evolution", population=30, trials=20), "do not fill a population of 30"),
    (dict(name="hyperband", smallest=200), "expected 1 to 100"),
    (dict(name="successive_halving", trials=2), "3 or more"),
    (dict(name="successive_halving", trials=9, levels=3), "2 times at most"),
    (dict(name="ppo", samples=1), "samples: 1; expected 2"),
  ],
)
def test_options_that_do_not_go_together_are_refused(spec, words):
  with pytest.raises(ValueError, match=words):
    next(strategy(spec, SPACE, 300, 0, ()))


def test_without_optuna_the_sentence_says_how_it_is_installed(monkeypatch):
  monkeypatch.setattr("jaxseg.search.sampling.installed", lambda name: False)
  with pytest.raises(ValueError, match=r"pip install 'jaxseg\[search\]'"):
    check_strategy(dict(name="random"))
  check_strategy(dict(name="evolution"))


def test_how_many_trials_may_run_at_the_same_time():
  assert most_at_once(dict(name="random")) is None
  assert most_at_once(dict(name="evolution")) == 1
  assert most_at_once(dict(name="tpe", at_once=4)) == 4


def test_the_size_of_the_space_ends_a_search_of_numbers_never():
  assert SPACE.size == math.inf


def test_more_first_candidates_than_a_population_holds_are_refused():
  one = {"average": 0.25, "steps": 1, "optimiser.learning_rate": 1e-3}
  spec = dict(name="evolution", trials=4, population=2, tournament=2)
  with pytest.raises(ValueError, match=r"config\.search\.first: 3 candidates"):
    run(spec, first=tuple({**one, "steps": n} for n in (1, 2, 3)))
