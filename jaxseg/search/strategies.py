"""The strategies that a config names, see `proposals` for what one is."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from jaxseg.build import build, check
from jaxseg.search.distribution import am_lfs, ppo
from jaxseg.search.evolution import evolution
from jaxseg.search.halving import hyperband, successive_halving
from jaxseg.search.parameters import Candidate, Space
from jaxseg.search.proposals import Constructor, Strategy
from jaxseg.search.sampling import check_installed, random, tpe

STRATEGIES: dict[str, Constructor] = {
  "am_lfs": am_lfs,
  "evolution": evolution,
  "hyperband": hyperband,
  "ppo": ppo,
  "random": random,
  "successive_halving": successive_halving,
  "tpe": tpe,
}
# candidates of these are drawn by Optuna
_DRAWN = ("hyperband", "random", "successive_halving", "tpe")
# these go by steps of training
TRAINED = ("am_lfs", "hyperband", "successive_halving")
# which candidates these propose, but for how long they are trained, follows from no result
_WITHOUT_RESULTS = ("hyperband", "random", "successive_halving")
_GIVEN = ("space", "steps", "seed", "first")
_WHERE = "search.strategy"


def check_strategy(spec: Mapping[str, Any]) -> None:
  """Raises ValueError for a strategy that there is not, its options, or a package that it lacks."""
  check(STRATEGIES, spec, _WHERE, given=_GIVEN)
  if spec["name"] in _DRAWN:
    check_installed(spec["name"])


def strategy(
  spec: Mapping[str, Any], space: Space, steps: int, seed: int, first: Sequence[Candidate]
) -> Strategy:
  """The strategy that a config names, which has proposed nothing yet."""
  given = {"space": space, "steps": steps, "seed": seed, "first": first}
  return build(STRATEGIES, spec, _WHERE, **given)


def goes_by_results(spec: Mapping[str, Any]) -> bool:
  """Whether the candidates of a strategy follow from the scores of those before."""
  return spec["name"] not in _WITHOUT_RESULTS


def most_at_once(spec: Mapping[str, Any]) -> int | None:
  """How many trials of a strategy can run at the same time; None where only jobs limit that."""
  parameters = inspect.signature(STRATEGIES[spec["name"]]).parameters
  if "at_once" not in parameters:
    return None
  return spec.get("at_once", parameters["at_once"].default)
