"""Whole validation cases through the run's predictor, scored on the network's grid."""

from typing import NamedTuple

import numpy as np

from jaxseg.batch import inputs
from jaxseg.inference import Case, pictures
from jaxseg.metrics import dice, iou

PANELS = 4
METRICS = {"dice": dice, "iou": iou}


class Scores(NamedTuple):
  """The scores of a set of cases.

  Attributes:
    names: the scored classes (background left out) or regions.
    cases: case name -> metric -> class -> value; NaN where a class is empty in both.
    panels: pictures image | label | prediction of some cases.
  """

  names: tuple[str, ...]
  cases: dict[str, dict[str, dict[str, float]]]
  panels: list[np.ndarray]

  def of(self, metric: str) -> dict[str, float]:
    """Mean over cases per class, of finite values: neither empty classes nor absent surfaces."""
    return {
      name: _mean([case[metric][name] for case in self.cases.values()]) for name in self.names
    }

  @property
  def metrics(self) -> tuple[str, ...]:
    """Names of the metrics, Dice among them."""
    return tuple(next(iter(self.cases.values())))

  @property
  def mean(self) -> float:
    """Mean Dice over the foreground classes."""
    return _mean(list(self.of("dice").values()))

  def scalars(self) -> dict[str, float]:
    values = {"validation/dice": self.mean}
    for metric in self.metrics:
      values |= {f"validation/{metric}/{name}": v for name, v in self.of(metric).items()}
    return values

  def summary(self) -> dict:
    per_class = {metric: self.of(metric) for metric in self.metrics}
    means = {metric: _mean(list(values.values())) for metric, values in per_class.items()}
    return {"cases": len(self.cases), "mean": means, "classes": per_class}

  def table(self) -> str:
    """The summary as text."""
    width = max(len(name) for name in (*self.names, "class"))
    columns = [self.of(metric) for metric in self.metrics]
    rows = [f"{'class':<{width}}" + "".join(f"{metric:>9}" for metric in self.metrics)]
    for name in self.names:
      rows.append(f"{name:<{width}}" + "".join(f"{column[name]:9.4f}" for column in columns))
    means = (_mean(list(column.values())) for column in columns)
    rows.append(f"{'mean':<{width}}" + "".join(f"{mean:9.4f}" for mean in means))
    rows.append(f"({len(self.cases)} validation cases)")
    return "\n".join(rows)


def _mean(values: list[float]) -> float:
  values = [v for v in values if np.isfinite(v)]
  return float(np.mean(values)) if values else float("nan")


def validate(run, apply, state, cases, metrics=METRICS) -> Scores:
  """Predicts and scores cases.

  Args:
    run: the experiment.
    apply: jitted (state, batch) -> {the task's output}.
    state: the state to predict with.
    cases: indices into the data set.
    metrics: name -> metric, as in `jaxseg.metrics.METRICS`; Dice and IoU among them.
  """
  labels = run.main.dataset.labels
  table, panels = {}, []

  def window(batch):
    return apply(state, batch)

  for index in cases:
    sample = run.main.dataset.load(index)
    scores = run.predict(window, Case(inputs(sample)))
    truth = sample[labels.field]
    predicted = run.task.decode(scores)
    table[run.main.dataset.names[index]] = run.task.score(
      metrics, predicted, truth, sample.get("weight"), sample["spacing"]
    )
    if len(panels) < PANELS:
      shown = (labels.index(truth), labels.index(predicted))
      panels.append(pictures.panel(*(_turn(run, array) for array in (sample["image"], *shown))))
  return Scores(run.task.scored, table, panels)


def absent_classes(run) -> list[str]:
  """A sentence for each side of the split on which a class is in no case."""
  labels, told = run.main.dataset.labels, []
  sides = (
    ("training", run.main.cases, "the network cannot learn"),
    ("validation", run.validation, "the scores tell nothing of"),
  )
  for side, cases, loss in sides:
    missing = set(range(1, len(labels.scored) + 1))
    for index in cases:
      if missing:
        missing -= set(run.main.dataset.locations(index))
    if missing:
      names = ", ".join(labels.scored[k - 1] for k in sorted(missing))
      told.append(
        f"Warning: none of the {len(cases)} {side} cases holds {names}: {loss} what is absent; "
        "choose another split (config.data.split)."
      )
  return told


def _turn(run, array):
  """The sliced axis of a volume first: the axis that a picture is taken along."""
  slices = run.main.sampling.slices
  return np.moveaxis(array, slices, 0) if slices else array
