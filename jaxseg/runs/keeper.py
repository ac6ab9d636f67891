"""The checkpoints of a run: the latest ones, the best, and what they remember of the log."""

import logging
import math
import pathlib
from collections.abc import Sequence

import numpy as np

from jaxseg import sharding
from jaxseg.method import State
from jaxseg.runs import checkpoint


class Keeper:
  """The checkpoints of a run: latest and best."""

  def __init__(self, workdir: pathlib.Path):
    self.latest = checkpoint.Checkpoints(workdir, checkpoint.LATEST, keep=2)
    self.best = checkpoint.Checkpoints(workdir, checkpoint.BEST, keep=1)
    self.score = -math.inf

  def tidy(self) -> None:
    """Removes what killed processes left half written or half removed."""
    self.latest.tidy()
    self.best.tidy()

  def resume(self, abstract: State, replicated) -> tuple[State, list[dict]] | None:
    """The state where the run stands, and the metrics of its steps since the last row.

    Returns None if there is no checkpoint; raises as `checkpoint.restore`.
    """
    found = checkpoint.restore(self.latest, abstract, replicated)
    if found is None:
      return None
    state, note = found
    sharding.on_first(lambda: self.latest.prune(note["step"]))
    score = sharding.on_first(lambda: self._best(note))
    self.score = -math.inf if score is None else score
    return state, _rows(note.get("pending", []))

  def _best(self, note: dict) -> float | None:
    """The best score until the step of a note, None without one; a damaged best is set aside."""
    ahead = False
    for step in self.best.steps:
      try:
        score = self.best.verify(step)["best"]
      except checkpoint.Damaged as error:
        self.best.set_aside(step, error)
        continue
      # the last step is saved before it is scored; one ahead comes again
      if step <= note["step"]:
        self.best.prune(step)
        return score
      ahead = True
    score = note.get("best")
    if ahead or score is None or not math.isfinite(score):
      return score
    logging.warning(
      "%s: the best checkpoint (score %.4g) is gone; the next evaluation starts the search for "
      "the best anew.",
      self.best.folder,
      score,
    )
    return None

  def keep(self, state: State, score: float | None = None, pending: Sequence[dict] = ()) -> None:
    """Saves the latest state, and the best one if `score` (NaN counts as none) is a new best.

    Args:
      state: the state.
      score: of it, where it was evaluated.
      pending: the metrics of the steps since the last row of the log.
    """
    if score is not None and score > self.score:
      self.score = score
      self.best.save(state, {"best": score})
    rows = [{name: [str(v.dtype), v.item()] for name, v in row.items()} for row in pending]
    best = self.score if math.isfinite(self.score) else None
    self.latest.save(state, {"best": best, "pending": rows})


def _rows(noted: list[dict]) -> list[dict]:
  """The metrics of a note, as the steps gave them: their mean has the same bits."""
  return [
    {name: np.asarray(value, np.dtype(kind)) for name, (kind, value) in row.items()}
    for row in noted
  ]
