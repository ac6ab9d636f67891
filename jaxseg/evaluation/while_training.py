"""Whole validation cases through the run's predictor, scored on the network's grid."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from jaxseg.batch import inputs
from jaxseg.config.streams import MAIN_WORD
from jaxseg.data.prepared.dataset import Dataset
from jaxseg.data.stream import HeldCases
from jaxseg.evaluation.scores import Scores
from jaxseg.inference import Case

PANELS = 4


def validate(run, apply, state, held: Sequence[HeldCases]) -> Scores:
  """Predicts cases, and scores them by the task's metrics.

  Args:
    run: the experiment.
    apply: jitted (state, batch) -> {the task's output}.
    state: the state to predict with.
    held: cases of one or more streams.
  """
  table, panels = {}, []

  def window(batch):
    return apply(state, batch)

  for number, (dataset, index) in in_turns(held):
    sample = dataset.load(index)
    scores = run.predict(window, Case(inputs(sample)))
    truth, predicted = run.task.truth(sample), run.task.decode(scores)
    table[dataset.names[index]] = run.task.score(
      run.task.metrics, predicted, truth, sample.get("weight"), sample["spacing"]
    )
    if number < PANELS:
      shown = (sample["image"], truth, predicted)
      panels.append(run.task.panel(*(_turn(run, array) for array in shown)))
  return Scores(run.task.scored, table, run.task.best, panels, streams_of(held))


def in_turns(held: Sequence[HeldCases]) -> Iterator[tuple[int, tuple[Dataset, int]]]:
  """Numbers and cases, a stream's beside another's: pictures are made of the first few."""
  streams = [[(of.dataset, case) for case in of.cases] for of in held]
  rows = itertools.zip_longest(*streams)
  return enumerate(case for row in rows for case in row if case is not None)


def streams_of(held: Sequence[HeldCases]) -> dict[str, tuple[str, ...]]:
  """Stream -> its cases, to tell what each scores; {} of a single one."""
  return {of.stream or MAIN_WORD: of.names for of in held} if len(held) > 1 else {}


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
