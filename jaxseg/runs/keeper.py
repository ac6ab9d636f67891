"""The checkpoints of a run: the latest ones, the best, and what they remember of the log."""

import contextlib
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
TOGETHER = "together"


class Keeper:
  """The checkpoints of a run: latest and best.

  Attributes:
    latest, best: the checkpoints.
    metric: what the best is judged by; of some less is better.
    score: of the best; None without one.
    together: names of the run folders that are trained in one program, this one's too; () alone.
    notes: what a user should know of what was resumed, a sentence each.
  """

  def __init__(self, workdir: pathlib.Path, metric: str, *, together: Sequence[str] = ()):
    self.latest = checkpoint.Checkpoints(workdir, checkpoint.LATEST, keep=2)
    self.best = checkpoint.Checkpoints(workdir, checkpoint.BEST, keep=1)
    self.metric, self.score = metric, None
    self.together, self.notes = tuple(together), []

  @property
  def home(self) -> pathlib.Path:
    return self.latest.folder.parent

  @property
  def name(self) -> str:
    """Of the run folder."""
    return self.home.name

  def company(self, step: int) -> set[str]:
    """With whom the run was trained when a step was saved; nobody where its note is damaged."""
    with contextlib.suppress(checkpoint.Damaged):
      return set(self.latest.note(step).get(TOGETHER, ()))
    return set()

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
    others = [name for name in note.get(TOGETHER, ()) if name != self.name]
    if others and not self.together:
      self.notes.append(
        f"{self.home}: was trained together with {', '.join(others)} until step "
        f"{note['step']}; from here on it is trained alone."
      )
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
    note = {"best": self.score, "metric": self.metric, "pending": rows}
    self.latest.save(state, note | ({TOGETHER: self.together} if self.together else {}))

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


def check_level(workdirs: Sequence[pathlib.Path]) -> None:
  """Raises ValueError as `level`, for run folders whose data are not prepared yet."""
  keepers = [Keeper(workdir, _METRIC) for workdir in workdirs]
  # where the newest are of one step, nothing needs to be read
  if len({tuple(keeper.latest.steps[:1]) for keeper in keepers}) > 1:
    _standing(keepers)


def level(keepers: Sequence[Keeper]) -> list[str]:
  """Takes runs that are trained together back to the newest step that each has a checkpoint of.

  They differ where a signal that cannot be caught came while one run after the other was saved, or
  where a checkpoint was damaged: what is taken back was trained together with those behind, which
  train it again, to the same bits.

  Args:
    keepers: of the runs.

  Returns:
    Sentences to show.

  Raises:
    ValueError: the runs stand at different steps because some were trained without the others.
  """
  if len(keepers) < 2:
    return []
  ahead, lowest, highest = _standing(keepers)
  for keeper in ahead:
    keeper.latest.prune(lowest)
  if not ahead:
    return []
  at = f"step {lowest}, the newest that all have" if lowest else "the beginning"
  names = ", ".join(keeper.name for keeper in ahead)
  return [f"{names}: saved at step {highest}, others not; all go on from {at}."]


def _standing(keepers: Sequence[Keeper]) -> tuple[list[Keeper], int, int]:
  """The runs that are ahead of others, the step of those behind, and that of the foremost.

  Raises ValueError as `level`; damaged checkpoints are set aside.
  """
  newest = [keeper.latest.newest_sound() or 0 for keeper in keepers]
  lowest = min(newest)
  behind = {keeper.name for keeper, step in zip(keepers, newest, strict=True) if step == lowest}
  ahead = [keeper for keeper in keepers if keeper.name not in behind]
  for keeper in ahead:
    steps = keeper.latest.steps
    alone = any(not behind <= keeper.company(step) for step in steps if step > lowest)
    if alone or (lowest and lowest not in steps):
      stand = ", ".join(f"{of.name} at {step}" for of, step in zip(keepers, newest, strict=True))
      raise ValueError(
        f"{keeper.home}: stands at another step than {', '.join(sorted(behind))}, and went on "
        f"without ({stand}); runs are trained together from one step on: leave out --together, "
        "which trains each from where it stands, or name those of one step."
      )
  return ahead, lowest, max(newest)
