"""Scoring one case by several metrics, each of which says by its arguments what it looks at."""

import inspect
from collections.abc import Callable, Mapping

import numpy as np

from jaxseg.batch import Array
from jaxseg.metrics.overlap import confusion

INPUTS = ("counts", "prediction", "label", "weight", "spacing", "classes")


def _needs(metric: Callable) -> tuple[str, ...]:
  parameters = inspect.signature(metric).parameters.values()
  return tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)


def score(
  metrics: Mapping[str, Callable],
  prediction: Array,
  label: Array,
  weight: Array | None = None,
  *,
  classes: int,
  spacing: Array | None = None,
) -> dict[str, Array]:
  """Name -> (classes,) values, for every metric; the counts are made once, if any asks for them.

  Args:
    metrics: name -> function whose positional arguments are named among `INPUTS`; options bound.
    prediction, label, weight: as for `confusion`.
    classes: number of classes, background included, or of regions.
    spacing: (rank,) millimetres.
  """
  # region labels, which are not integers, have an axis of their own
  rank = label.ndim - (not np.issubdtype(label.dtype, np.integer))
  given = {
    "prediction": prediction,
    "label": label,
    "weight": weight,
    "spacing": np.ones(rank) if spacing is None else spacing,
    "classes": classes,
  }
  values = {}
  for name, metric in metrics.items():
    needs = _needs(metric)
    unknown = [need for need in needs if need not in INPUTS]
    if unknown:
      raise ValueError(
        f"metric '{name}' asks for {', '.join(unknown)}; a metric's positional arguments are "
        f"among {', '.join(INPUTS)}, its options keyword-only."
      )
    if "counts" in needs and "counts" not in given:
      given["counts"] = confusion(prediction, label, weight, classes=classes)
    values[name] = metric(*(given[need] for need in needs))
  return values
