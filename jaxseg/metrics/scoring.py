"""Scoring one case by several metrics, each of which says by its arguments what it looks at."""

import inspect
from collections.abc import Callable, Mapping

import numpy as np

from jaxseg.batch import Array
from jaxseg.metrics.class_masks import class_masks
from jaxseg.metrics.overlap import confusion
from jaxseg.metrics.surface import surface_distances

# made from the others at most once, when a metric asks: name -> function of the inputs so far
_MADE = {
  "counts": lambda of: confusion(
    of["prediction"], of["label"], of["weight"], classes=of["classes"]
  ),
  "masks": lambda of: class_masks(
    of["prediction"], of["label"], of["weight"], classes=of["classes"]
  ),
  "surfaces": lambda of: surface_distances(of["masks"], of["spacing"]),
}
INPUTS = (
  *_MADE,
  "prediction",
  "label",
  "weight",
  "spacing",
  "classes",
  "probabilities",
  "instances",
)


class _Inputs(dict):
  """What metrics look at, by name; what is not given is made and kept."""

  def __missing__(self, name: str):
    self[name] = _MADE[name](self)
    return self[name]


def _needs(metric: Callable) -> tuple[str, ...]:
  parameters = inspect.signature(metric).parameters.values()
  return tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)


def needs_probabilities(metric: Callable) -> bool:
  """Whether a metric cannot do without probabilities; those that can have a default for them."""
  parameter = inspect.signature(metric).parameters.get("probabilities")
  return parameter is not None and parameter.default is parameter.empty


def score(
  metrics: Mapping[str, Callable],
  prediction: Array,
  label: Array,
  weight: Array | None = None,
  *,
  classes: int,
  spacing: Array | None = None,
  probabilities: Array | None = None,
  instances: tuple[Array, Array] | None = None,
) -> dict[str, Array]:
  """Name -> (classes,) values, for every metric.

  Counts, masks and surface distances are made once, if any metric asks for them. Class 0 of
  integer classes, the background, has no masks: what looks at them scores it NaN.

  Args:
    metrics: name -> function whose positional arguments are named among `INPUTS`; options bound.
    prediction, label, weight: as for `confusion`.
    classes: number of classes, background included, or of regions.
    spacing: (rank,) millimetres.
    probabilities: (*space, classes); metrics that need them raise ValueError without.
    instances: (*space) int maps of prediction and label that tell the objects of a class apart;
      None takes connected components.
  """
  # regions, which are not all integers, have an axis of their own
  regions = not all(np.issubdtype(x.dtype, np.integer) for x in (prediction, label))
  rank = label.ndim - regions
  given = _Inputs(
    prediction=prediction,
    label=label,
    weight=weight,
    spacing=np.ones(rank) if spacing is None else spacing,
    classes=classes,
    probabilities=probabilities,
    instances=instances,
  )
  values = {}
  for name, metric in metrics.items():
    needs = _needs(metric)
    unknown = [need for need in needs if need not in INPUTS]
    if unknown:
      raise ValueError(
        f"metric '{name}' asks for {', '.join(unknown)}; a metric's positional arguments are "
        f"among {', '.join(INPUTS)}, its options keyword-only."
      )
    if probabilities is None and needs_probabilities(metric):
      raise ValueError(f"metric '{name}' needs probabilities, (*space, classes); none are given.")
    values[name] = metric(*(given[need] for need in needs))
  return values
