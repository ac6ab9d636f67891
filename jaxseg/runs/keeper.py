"""The checkpoints of a run: the latest ones, the best, and what they remember of the log."""

import logging
import math
import pathlib
from collections.abc import Sequence

import numpy as np

from jaxseg import processes
from jaxseg.method import State
from jaxseg.metrics import LESS_IS_BETTER
from jaxseg.runs import checkpoint

# of checkpoints that do not tell what judged them: those of earlier versions
_METRIC = "dice"


class Keeper:
  """The checkpoints of a run: latest and best.

  Attributes:
    latest, best: the checkpoints.
    metric: what the best is judged by; of some less is better.
    score: of the best; None without one.
  """

  def __init__(self, workdir: pathlib.Path, metric: str):
    self.latest = checkpoint.Checkpoints(workdir, checkpoint.LATEST, keep=2)
    self.best = checkpoint.Checkpoints(workdir, checkpoint.BEST, keep=1)
    self.metric, self.score = metric, None

  def tidy(self) -> None:
    """Removes what killed processes left half written or half removed."""
    self.latest.tidy()
    self.best.tidy()

  def resume(self, abstract: State, places: State) -> tuple[State, list[dict]] | None:
    """The state where the run stands, and the metrics of its steps since the last row.

    Returns None if there is no checkpoint; raises as `checkpoint.restore`.
    """
    found = checkpoint.restore(self.latest, abstract, places)
    if found is None:
      return None
    state, note = found
    processes.on_first(lambda: self.latest.prune(note["step"]))
    self.score = processes.on_first(lambda: self._best(note))
    return state, _rows(note.get("pending", []))

  def _best(self, note: dict) -> float | None:
    """The best score until the step of a note, None without one; a damaged best is set aside."""
    ahead = False
    for step in self.best.steps:
      try:
        kept = self.best.verify(step)
      except checkpoint.Damaged as error:
        self.best.set_aside(step, error)
        continue
      # the last step is saved before it is scored; one ahead comes again
      if step <= note["step"]:
        self.best.prune(step)
        return self._comparable(kept)
      ahead = True
    score = note.get("best")
    if score is None or not math.isfinite(score):
      return None
    if ahead:
      return self._comparable(note)
    logging.warning(
      "%s: the best checkpoint (score %.4g) is gone; the next evaluation starts the search for "
      "the best anew.",
      self.best.folder,
      score,
    )
    return None

  def _comparable(self, note: dict) -> float | None:
    """The score of a note; None where it is another metric's, or no number."""
    if (metric := note.get("metric", _METRIC)) == self.metric:
      return note["best"] if math.isfinite(note["best"]) else None
    logging.warning(
      "%s: was judged by %s, config.evaluate.best is %s now; the next evaluation starts the search "
      "for the best anew.",
      self.best.folder,
      metric,
      self.metric,
    )
    return None

  def keep(self, state: State, score: float | None = None, pending: Sequence[dict] = ()) -> None:
    """Saves the latest state, and the best one if `score` (NaN, infinite: none) is a new best.

    Args:
      state: the state.
      score: of it, where it was evaluated.
      pending: the metrics of the steps since the last row of the log.
    """
    if score is not None and math.isfinite(score) and self._better(score):
      self.score = score
      self.best.save(state, {"best": score, "metric": self.metric})
    rows = [{name: [str(v.dtype), v.item()] for name, v in row.items()} for row in pending]
    self.latest.save(state, {"best": self.score, "metric": self.metric, "pending": rows})

  def _better(self, score: float) -> bool:
    if self.score is None:
      return True
    return score < self.score if self.metric in LESS_IS_BETTER else score > self.score


def _rows(noted: list[dict]) -> list[dict]:
  """The metrics of a note, as the steps gave them: their mean has the same bits."""
  return [
    {name: np.asarray(value, np.dtype(kind)) for name, (kind, value) in row.items()}
    for row in noted
  ]
