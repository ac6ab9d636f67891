"""Whole validation cases through the run's predictor, scored on the network's grid."""

import numpy as np

from jaxseg.batch import inputs
from jaxseg.evaluation.scores import Scores
from jaxseg.inference import Case

PANELS = 4


def validate(run, apply, state, cases) -> Scores:
  """Predicts cases, and scores them by the task's metrics.

  Args:
    run: the experiment.
    apply: jitted (state, batch) -> {the task's output}.
    state: the state to predict with.
    cases: indices into the data set.
  """
  table, panels = {}, []

  def window(batch):
    return apply(state, batch)

  for index in cases:
    sample = run.main.dataset.load(index)
    scores = run.predict(window, Case(inputs(sample)))
    truth, predicted = run.task.truth(sample), run.task.decode(scores)
    table[run.main.dataset.names[index]] = run.task.score(
      run.task.metrics, predicted, truth, sample.get("weight"), sample["spacing"]
    )
    if len(panels) < PANELS:
      shown = (sample["image"], truth, predicted)
      panels.append(run.task.panel(*(_turn(run, array) for array in shown)))
  return Scores(run.task.scored, table, run.task.best, panels)


def absent_classes(run) -> list[str]:
  """A sentence for each side of the split on which a class is in no case."""
  labels, lines = run.main.dataset.labels, []
  if run.task.output == "image":
    return []
  sides = [("training", run.main.dataset, run.main.cases, "the network cannot learn")]
  for of in run.scored_cases:
    side = f"of stream '{of.stream}' validation" if of.stream else "validation"
    sides.append((side, of.dataset, of.cases, "the scores tell nothing of"))
  for side, dataset, cases, loss in sides:
    missing = set(range(1, len(labels.scored) + 1)) if cases else set()
    for index in cases:
      if missing:
        missing -= set(dataset.locations(index))
    if missing:
      names = ", ".join(labels.scored[k - 1] for k in sorted(missing))
      lines.append(
        f"Warning: none of the {len(cases)} {side} cases holds {names}: {loss} what is absent; "
        "choose another split (config.data.split)."
      )
  return lines


def _turn(run, array):
  """The sliced axis of a volume first: the axis that a picture is taken along."""
  slices = run.main.sampling.slices
  return np.moveaxis(array, slices, 0) if slices else array
