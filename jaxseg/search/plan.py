"""config.search -> what is searched, how, on which cases and for how long.

    config.search = dict(
      space=dict(optimiser=dict(learning_rate=dict(low=1e-4, high=1e-2, log=True))),
      strategy=dict(name="random", trials=20),
      evaluation=dict(name="full"),
      split=dict(folds=4, fold=0, seed=0),
      budget=dict(steps=20_000, minutes=60),
      first=(dict(optimiser=dict(learning_rate=1e-3)),),
      limits=dict(parameters=2e6, gflops=5.0),
    )

Only the space is needed. Minutes of the budget are of processor time, of all trials together;
`limits` are of the network that a candidate gives in the end, for one patch of its config, whatever
is evaluated on the way; `first` are candidates that are tried before the strategy's own. See
`parameters`, `strategies`, `evaluations` and `split`.
"""

import contextlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxseg.build import check_options, options_of, plain
from jaxseg.compose import complete
from jaxseg.config.option_values import check_value, check_values
from jaxseg.config.ranges import COUNT, PART, POSITIVE
from jaxseg.config.streams import MAIN_WORD
from jaxseg.experiment import evenly_spread
from jaxseg.feeding import source_of
from jaxseg.metrics import LESS_IS_BETTER
from jaxseg.planning.planned_config import resolve
from jaxseg.runs import folder as run_folder
from jaxseg.search import evaluations, parameters, split
from jaxseg.search import limits as limits_of
from jaxseg.search.parameters import Candidate, Space
from jaxseg.search.strategies import TRAINED, check_strategy, strategy
from jaxseg.task import choose_metrics

_PARTS = ("space", "strategy", "evaluation", "split", "budget", "first", "limits")
# what the search sets itself, in every trial; what a plan decides is filled in before
_OWN = ("steps", "search", "evaluate", "data.split", "members", "plan")

# what acts in training alone
_OF_TRAINING = ("optimiser", "optimisers", "average")


class Budget(NamedTuple):
  """What all trials together may cost; None is no limit."""

  steps: int | None = None
  minutes: float | None = None


class Plan(NamedTuple):
  """A search, before its first trial.

  Attributes:
    base: the config without its search, complete: what the winner is trained by.
    config: of every trial, but for its candidate; complete.
    spec: config.search with its defaults, as it is stored.
    space: what is chosen.
    evaluation: how a candidate is scored.
    budget: of all trials.
    first: candidates that are tried before the strategy's own.
    limits: of a candidate's network: "parameters", "gflops".
    metric: what the score is; less of some is better.
    sizes: (channels of the images, outputs of the network), for the limits.
    test: cases that no trial sees.
    notes: what is to be told before it begins, a sentence each.
  """

  base: dict[str, Any]
  config: dict[str, Any]
  spec: dict[str, Any]
  space: Space
  evaluation: evaluations.Evaluation
  budget: Budget
  first: tuple[Candidate, ...]
  limits: dict[str, float]
  metric: str
  sizes: tuple[int, int]
  test: tuple[str, ...]
  notes: tuple[str, ...] = ()

  @property
  def steps(self) -> int:
    """Of a trial that is trained in full."""
    return self.config["steps"] if self.evaluation.trains else 0

  @property
  def score_cases(self) -> int:
    """How many cases a trial is scored on: those that config.evaluate.cases leaves."""
    return len(self.config["data"]["split"]["validation"])

  @property
  def sign(self) -> int:
    """What a score is multiplied with so that more is better."""
    return -1 if self.metric in LESS_IS_BETTER else 1

  def strategy(self):
    """The strategy, which has proposed nothing yet."""
    spec, seed = self.spec["strategy"], self.config["seed"]
    return strategy(spec, self.space, self.steps, seed, self.first)

  def trial(self, candidate: Candidate) -> dict[str, Any]:
    """The complete config of a trial; raises ValueError in words for what cannot be trained."""
    fields = parameters.values(self.space, candidate)
    config = parameters.with_fields(self.config, fields)
    config = complete({**config, "evaluate": {**config["evaluate"], "every": config["steps"]}})
    if self.limits:
      winner = complete(parameters.with_fields(self.base, fields))
      limits_of.check(self.limits, winner, self.base, self.sizes)
    return config


def plan(config) -> Plan:
  """Checks config.search, as far as it goes without training; raises ValueError in words."""
  spec = plain(config["search"])
  if not spec:
    raise ValueError(
      "config.search: is empty; expected what is to be searched, as "
      "dict(space=dict(optimiser=dict(learning_rate=dict(low=1e-4, high=1e-2, log=True))))."
    )
  check_options("search", spec, _PARTS, "search")
  for name in _PARTS:
    if name != "first" and not isinstance(spec.get(name, {}), Mapping):
      raise ValueError(f"config.search.{name}: {spec[name]!r}; expected dict(...).")
  space = parameters.space(spec.get("space", {}))
  _check_own(space.fields, "config.search.space")
  spec = {"strategy": {"name": "random"}, "evaluation": {"name": "full"}, **spec}
  check_strategy(spec["strategy"])
  how = evaluations.evaluation(spec["evaluation"])
  _check_own(set(how.fields) - {"steps"}, "config.search.evaluation.fields")
  if not how.trains and spec["strategy"]["name"] in TRAINED:
    raise ValueError(
      f"config.search.evaluation: '{how.name}' trains nothing, but strategy "
      f"'{spec['strategy']['name']}' goes by steps of training; expected 'full' or 'proxy'."
    )
  _check_effect(space.fields, how)
  budget, limits = _budget(spec.get("budget", {})), limits_of.limits(spec.get("limits", {}))
  first = _first(spec.get("first", ()), space)
  base = complete(resolve({**plain(config), "search": {}}))
  config = complete(evaluations.prepared(how, base))
  if config["steps"] > base["steps"]:
    raise ValueError(
      f"config.search.evaluation.steps: {config['steps']}; expected at most the {base['steps']} of "
      "config.steps, with which the winner is trained: a proxy is the cheaper training."
    )
  own = spec.get("split", {})
  known = options_of(split.nested)
  known = {name: of for name, of in known.items() if name != "share"}
  check_options("split", own, known, "search.split")
  check_values("split", own, known, "search.split")
  check_value(how.share, "config.search.evaluation.share", float, PART)
  cases = split.nested(config, **own, share=how.share)
  # others would be predicted at the end of every trial too, and no score is of them
  scored = evenly_spread(cases.split["validation"], config["evaluate"]["cases"])
  source = source_of(config)
  metric = choose_metrics(
    config["task"]["name"], config["evaluate"]["metrics"], config["evaluate"]["best"]
  )[1]
  # what other streams hold back is for the comparison after the search, too
  evaluate = {**config["evaluate"], "streams": ()}
  own_split = {**cases.split, "validation": scored}
  made = Plan(
    base=base,
    config={**config, "evaluate": evaluate, "data": {**config["data"], "split": own_split}},
    spec=spec,
    space=space,
    evaluation=how,
    budget=budget,
    first=first,
    limits=limits,
    metric=metric if how.segments else how.name,
    sizes=limits_of.sizes(base, source),
    test=cases.test,
    notes=(*_seen_by_supernet(how, scored), *_of_streams(config)),
  )
  _check_beginning(made)
  _check_inherited(made)
  return made


def _seen_by_supernet(how: evaluations.Evaluation, validation) -> tuple[str, ...]:
  """A sentence where the supernet has learnt from the cases that its weights are scored on.

  Raises ValueError where there is no such run.
  """
  if how.name != "shared":
    return ()
  folder, where = how.measure["folder"], "config.search.evaluation.run"
  try:
    told = run_folder.read_dataset(folder, {"training": list}, only=True)
  except (FileNotFoundError, ValueError) as error:
    raise ValueError(f"{where}: {error}") from error
  known = set(told["training"])
  for of in (told.get("streams") or {}).values():
    known |= set(of["cases"])
  seen = known & set(validation)
  if not seen:
    return ()
  return (
    f"Warning: {where}: {folder} has learnt from {len(seen)} of the {len(validation)} cases that "
    "its weights are scored on: scores are of what it has seen, and only their order may tell "
    "something; train the supernet on config.search's own training cases for others.",
  )


def _of_streams(config: Mapping[str, Any]) -> tuple[str, ...]:
  """A sentence where the winner is scored on cases of other streams, which no trial may see."""
  if not (further := [name for name in config["evaluate"]["streams"] if name != MAIN_WORD]):
    return ()
  return (
    f"Trials are scored on cases of the main stream alone: those of {', '.join(further)} "
    "(config.evaluate.streams) are held back for the winner.",
  )


def _check_own(fields, where: str) -> None:
  """Raises ValueError for a field that all trials must have alike, or that the search sets."""
  for field in sorted(fields):
    if any(f"{field}.".startswith(f"{own}.") for own in _OWN):
      raise ValueError(
        f"{where}.{field}: is what the search sets itself, alike for all trials; leave it out "
        "(steps are config.steps, or those of evaluation 'proxy'; cases are config.search.split; a "
        "plan is read once, search the fields that it fills in)."
      )


def _check_effect(fields, how: evaluations.Evaluation) -> None:
  """Raises ValueError for a field that no score would tell apart, since nothing is trained."""
  without = [*_OF_TRAINING, *(() if how.name == "gradient_norm" else ("loss",))]
  for field in sorted(fields) if not how.trains else ():
    if field.partition(".")[0] in without:
      raise ValueError(
        f"config.search.space.{field}: evaluation '{how.name}' trains nothing, and scores all its "
        "values alike; leave it out, or choose 'full' or 'proxy'."
      )


def _check_beginning(of: Plan) -> None:
  """Raises ValueError where the strategy cannot begin, or the budget fits no candidate."""
  proposals = next(of.strategy(), [])
  least = min((proposal.steps for proposal in proposals), default=0)
  if of.budget.steps is not None and least > of.budget.steps:
    raise ValueError(
      f"config.search.budget.steps: {of.budget.steps} fit no candidate, each of which is trained "
      f"for {least} steps at least; expected {least} or more, or a smaller config.steps."
    )
  for number, candidate in enumerate(of.first):
    try:
      of.trial(candidate)
    except ValueError as error:
      raise ValueError(f"config.search.first[{number}]: cannot be tried: {error}") from error
  # all of a space may be refused for one reason
  refused, limited = None, 0
  for number in range(_TRIED):
    random = np.random.default_rng(number)
    candidate = (
      proposals[number].candidate if number < len(proposals) else parameters.draw(of.space, random)
    )
    try:
      of.trial(candidate)
      return
    except ValueError as error:
      refused, limited = error, limited + ("config.search.limits" in str(error))
  if limited == _TRIED:
    raise ValueError(
      f"config.search.limits: none of {_TRIED} candidates keeps them ({refused}); expected limits "
      "that some do, or a space of smaller networks."
    )
  raise ValueError(f"config.search.space: no candidate of {_TRIED} can be trained, as {refused}")


_TRIED = 20
# whose networks are compared
_COMPARED = 5


def _check_inherited(of: Plan) -> None:
  """Raises ValueError where candidates begin with weights of others that are of another size."""
  strategy = of.spec["strategy"]
  fields = [field for field in sorted(of.space.fields) if field.startswith("network")]
  if strategy["name"] != "am_lfs" or not strategy.get("inherit", True) or not fields:
    return
  numbers = set()
  for seed in range(_COMPARED):
    candidate = parameters.draw(of.space, np.random.default_rng(seed))
    config = parameters.with_fields(of.base, parameters.values(of.space, candidate))
    # one that cannot be trained will be a row
    with contextlib.suppress(ValueError):
      numbers.add(limits_of.costs(complete(config), *of.sizes)["parameters"])
  if len(numbers) > 1:
    raise ValueError(
      "config.search.strategy.inherit: candidates of 'am_lfs' begin with the weights of others, "
      f"but config.search.space.{fields[0]} makes networks of other sizes ({min(numbers):,} to "
      f"{max(numbers):,} parameters), which these don't fit; expected inherit=False, or a space of "
      "losses and regularisers alone."
    )


def _budget(spec: Mapping[str, Any]) -> Budget:
  check_options("budget", spec, Budget._fields, "search.budget")
  for name, kind, span in (("steps", int, COUNT), ("minutes", float, POSITIVE)):
    if name in spec:
      check_value(spec[name], f"config.search.budget.{name}", kind, span)
  return Budget(**spec)


def _first(several: Any, space: Space) -> tuple[Candidate, ...]:
  where = "config.search.first"
  if not isinstance(several, tuple) or not all(isinstance(of, Mapping) for of in several):
    raise ValueError(
      f"{where}: {several!r}; expected candidates in parentheses, each with the fields of the "
      "space, as (dict(optimiser=dict(learning_rate=1e-3)),)."
    )
  out = []
  for number, fields in enumerate(several):
    flat = dict(_by_path(fields, space.fields))
    candidate = parameters.place(space, flat, f"{where}[{number}]")
    if candidate in out:
      raise ValueError(
        f"{where}[{number}]: is the same candidate as [{out.index(candidate)}]; expected each once."
      )
    out.append(candidate)
  return tuple(out)


def _by_path(fields: Mapping[str, Any], known, path: str = ""):
  """Nested fields by their paths: those of the space, whatever they hold."""
  for name, value in fields.items():
    here = f"{path}{name}"
    if here not in known and isinstance(value, Mapping) and value:
      yield from _by_path(value, known, f"{here}.")
    else:
      yield here, value
