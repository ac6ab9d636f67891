"""How good is a candidate: by its full training, a shorter one, another's weights, or none."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from jaxseg.build import build, check
from jaxseg.search.parameters import with_fields

_WHERE = "search.evaluation"


class Evaluation(NamedTuple):
  """How candidates are scored.

  Attributes:
    name: in `EVALUATIONS`.
    fields: of the config, that are set for the trials.
    share: of the training cases that trials learn from.
    measure: what `zero_cost.MEASURES` or `shared.score` is given, {} where trials are trained.
  """

  name: str
  fields: Mapping[str, Any]
  share: float = 1.0
  measure: Mapping[str, Any] = MappingProxyType({})

  @property
  def trains(self) -> bool:
    return not self.measure

  @property
  def segments(self) -> bool:
    """Whether its score is one of segmentations, by the config's metric."""
    return self.name in ("full", "proxy", "shared")


def full() -> Evaluation:
  """The config as it is, trained to its end: the score of the last weights."""
  return Evaluation("full", {})


def proxy(
  *, steps: int | None = None, share: float = 1.0, fields: Mapping | None = None
) -> Evaluation:
  """A cheaper training: fewer steps, fewer cases, other fields of the config.

  Args:
    steps: of training; None is the config's own number.
    share: of the training cases.
    fields: of the config, as the config has them: dict(data=dict(patch=(64, 64))).
  """
  changes = dict(_flat(fields or {}))
  if steps is not None:
    changes["steps"] = steps
  if not changes and share == 1:
    raise ValueError(
      f"config.{_WHERE}: 'proxy' is the full training unless steps, share or fields say otherwise; "
      "give one of them, as steps=200."
    )
  return Evaluation("proxy", changes, share)


def _flat(fields: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
  """Nested fields by their paths; a component, which has a name, is one of them."""
  for name, value in fields.items():
    if isinstance(value, Mapping) and value and "name" not in value:
      yield from _flat(value, f"{path}{name}.")
    else:
      yield f"{path}{name}", value


def shared(*, run: str) -> Evaluation:
  """The score of a supernet's weights where the candidate's are a part of them, untrained further.

  Args:
    run: run folder of the supernet, as ENAS (1802.03268) and one-shot search have it.
  """
  return Evaluation("shared", {}, measure={"name": "shared", "folder": run})


def synflow(*, batches: int = 1) -> Evaluation:
  """`zero_cost.synflow` of the untrained network."""
  return Evaluation("synflow", {}, measure={"name": "synflow", "batches": batches})


def naswot(*, batches: int = 4) -> Evaluation:
  """`zero_cost.naswot` of the untrained network, on the samples of so many batches."""
  return Evaluation("naswot", {}, measure={"name": "naswot", "batches": batches})


def gradient_norm(*, batches: int = 1) -> Evaluation:
  """`zero_cost.gradient_norm` of the untrained network, on so many batches."""
  return Evaluation("gradient_norm", {}, measure={"name": "gradient_norm", "batches": batches})


EVALUATIONS: dict[str, Callable[..., Evaluation]] = {
  "full": full,
  "gradient_norm": gradient_norm,
  "naswot": naswot,
  "proxy": proxy,
  "shared": shared,
  "synflow": synflow,
}


def evaluation(spec: Mapping[str, Any]) -> Evaluation:
  """What config.search.evaluation names; raises ValueError in words."""
  check(EVALUATIONS, spec, _WHERE)
  return build(EVALUATIONS, spec, _WHERE)


def prepared(of: Evaluation, config: Mapping[str, Any]) -> dict[str, Any]:
  """The config of every trial, but for its candidate."""
  return with_fields(config, of.fields)
