"""A search from its first trial to its report; it resumes to the same trials, bit for bit."""

import concurrent.futures
import pathlib
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxseg import files, sealed
from jaxseg.config import domains
from jaxseg.runs import checkpoint, lock, same_run
from jaxseg.runs.folder import json_like
from jaxseg.runs.makers import digest
from jaxseg.search import report, winner
from jaxseg.search.plan import Plan
from jaxseg.search.proposals import Result
from jaxseg.search.strategies import goes_by_results
from jaxseg.search.trials import (
  FAILED,
  TRIALS,
  Numbers,
  Rows,
  Runner,
  Trial,
  check_row,
  is_done,
  sent_score,
  trial_name,
)
from jaxseg.task import choose_metrics

FILE = "search.json"
_ADVICE = "copy the search's folder again, from where it is whole"
# a search may go on for longer, and is told on more devices
_MAY_DIFFER = ("budget",)
# so many trials that fail before any has a score are the config's fault, not a candidate's
_HOPELESS = 5


def search(
  plan: Plan,
  workdir,
  *,
  jobs: int = 1,
  gpus: Sequence[int] = (),
  retry: bool = False,
  say: Callable[[str], None] = print,
) -> dict[str, Any] | None:
  """Tries what the strategy proposes until it or the budget ends; writes report and winner.

  Args:
    plan: the search.
    workdir: its folder; a search that it holds goes on.
    jobs: trials that run at the same time.
    gpus: as of `trials.Runner`.
    retry: runs trials that failed before once more, from where each stands; a strategy that has
      gone on from their failure is not told of their scores, which the report and the winner are.
    say: is told what happens, a sentence each.

  Returns:
    The winner's row, or None if a signal ended the search: the same command goes on.

  Raises ValueError in words where the folder holds another search, no trial has a score, or the
  first ones all failed: no further ones are begun then.
  """
  workdir = files.writable_folder(workdir, "--workdir")
  with lock.hold(workdir):
    _check_same(plan, workdir)
    (workdir / TRIALS).mkdir(exist_ok=True)
    files.remove_leftovers(workdir)
    rows = Rows(workdir)
    runner = Runner(plan, workdir, rows, jobs, gpus)
    again = {trial_name(row) for row in rows.all() if FAILED in row} if retry else set()
    if retry:
      say(f"{len(again)} trial(s) failed before{' and run again' if again else ''}.")
    # signals can only be caught in the main thread
    caught = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGTERM, signal.SIGINT) if caught else ()
    before = {number: signal.getsignal(number) for number in numbers}
    try:
      for number in before:
        signal.signal(number, runner.stop)
      _run(plan, rows, runner, jobs, again, say)
    finally:
      for number, handler in before.items():
        signal.signal(number, handler)
    # what was stopped before stays so where the budget has no room for the rest of it
    if runner.stopped.is_set() or runner.left.is_set():
      say(f"Interrupted: saved in {workdir}. The same command goes on from there.")
      return None
    if runner.spent.is_set():
      say("The budget is spent.")
    best = winner.write(plan, rows.all(), workdir)
    report.write(plan, rows.all(), best, workdir)
    return best


def _check_same(plan: Plan, workdir: pathlib.Path) -> None:
  """Writes what the search is of, or raises ValueError where the folder holds another one's."""
  path = workdir / FILE
  spec = {name: of for name, of in plan.spec.items() if name not in _MAY_DIFFER}
  now = json_like({"search": spec, "config": plan.config, "test": plan.test})
  if supernet := plan.evaluation.measure.get("folder"):
    now["weights"] = digest(pathlib.Path(supernet), checkpoint.LATEST)
  if not path.is_file():
    if (workdir / "config.json").is_file():
      raise ValueError(f"--workdir {workdir}: holds a run, no search; choose another folder.")
    sealed.write(path, now)
    return
  fields = {"search": dict, "config": dict, "test": (list, tuple)}
  stored = json_like(
    sealed.read(path, what="what a search is of", advice=_ADVICE, fields=fields, only=True)
  )
  differing = same_run.differences(stored["config"], now["config"], same_run.RESUME)
  if stored["config"]["steps"] != now["config"]["steps"]:
    differing["steps"] = (stored["config"]["steps"], now["config"]["steps"])
  a, b = (same_run.flat(of["search"], "search.") for of in (stored, now))
  missing = "left out"
  differing |= {
    name: (a.get(name, missing), b.get(name, missing))
    for name in dict.fromkeys([*a, *b])
    if not same_run.same_value(name, a.get(name, missing), b.get(name, missing))
  }
  if plan.evaluation.segments:
    differing |= _scored_otherwise(stored["config"], now["config"])
  if stored.get("weights", now.get("weights")) != now.get("weights"):
    raise ValueError(
      f"config.search.evaluation.run: {supernet}: holds other weights than when the search in "
      f"{workdir} began, and scores by two supernets cannot be compared; choose another --workdir."
    )
  if differing:
    raise ValueError(
      f"{workdir}: holds a search that was started otherwise, and goes on only as it was started: "
      f"{same_run.sentence(differing)}. Choose another --workdir."
    )


def _scored_otherwise(before: dict[str, Any], now: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
  """What may differ where a run goes on, but tells by what the trials of a search are scored."""
  a, b = (of["evaluate"] for of in (before, now))
  task = now["task"]["name"]
  pairs = {
    "best": tuple(choose_metrics(task, of["metrics"], of["best"])[1] for of in (a, b)),
    "cases": (a["cases"], b["cases"]),
  }
  if domains.differ(now):
    pairs["streams"] = a.get("streams", ()), b["streams"]
  return {f"evaluate.{name}": pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _run(
  plan: Plan,
  rows: Rows,
  runner: Runner,
  jobs: int,
  again: set[str],
  say: Callable[[str], None],
) -> None:
  """Sends the strategy the results of what it proposes, stored or new, until one of them ends.

  `again` are trials that failed and run once more; those that ran are taken out of it.
  """
  strategy, numbers, spent = plan.strategy(), Numbers(), Steps(plan.budget.steps, rows)
  by_results = goes_by_results(plan.spec["strategy"])
  newest = rows.newest
  known: dict[str, str] = {}
  results: list[Result] | None = None
  with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
    while True:
      try:
        proposals = next(strategy) if results is None else strategy.send(results)
      except StopIteration:
        return
      trials = [Trial(numbers.of(proposal), proposal) for proposal in proposals]
      # one that is proposed twice runs once
      chosen = {trial.name: trial for trial in trials if spent.afford(trial)}
      whole = all(trial.name in chosen for trial in trials)
      # candidates that there are already were proposed without the scores that come now
      late = by_results and max((trial.number for trial in trials), default=-1) < newest
      left = []
      for trial in chosen.values():
        row = rows.get(trial.name)
        check_row(row, trial, rows.path)
        if not is_done(row) or trial.name in again:
          again.discard(trial.name)
          left.append(trial)
      before = {trial.name: rows.get(trial.name) for trial in left}
      waiting = {pool.submit(runner.run, trial, late=late): trial for trial in left}
      for ended in concurrent.futures.as_completed(waiting):
        ended.result()
        trial = waiting[ended]
        # one that was not begun keeps its row
        if (row := rows.get(trial.name)) and row is not before[trial.name]:
          say(report.line(trial.name, row, plan.metric))
          for sentence in report.new_warnings(trial.name, row, known):
            say(sentence)
          if FAILED in row and _hopeless(rows.all()):
            # those that are under way are saved first
            runner.stop()
      if left and _hopeless(tried := rows.all()):
        raise ValueError(
          f"{rows.path.parent}: the first {sum(FAILED in row for row in tried)} trials failed, "
          f"the last one {next(row[FAILED] for row in reversed(tried) if FAILED in row)} The logs "
          f"in {TRIALS} say more; mend what they name, then give the same command with --retry."
        )
      if not all(is_done(rows.get(trial.name)) for trial in chosen.values()):
        return
      if not whole:
        runner.spent.set()
        return
      results = [
        Result(trial.number, sent_score(rows.get(trial.name), plan.sign)) for trial in trials
      ]


def _hopeless(rows: Sequence[Mapping[str, Any]]) -> bool:
  """Whether so many trials failed, and none has a score, that others would fail, too."""
  scored = any("score" in row for row in rows)
  return not scored and sum(FAILED in row for row in rows) >= _HOPELESS


class Steps:
  """The steps of training that a budget has room for: those that trials go on from count once.

  Those of trials with a row are spent, also where the strategy proposes others since one that
  failed has a score.
  """

  def __init__(self, most: int | None, rows: Rows):
    self._most = most
    self._done: dict[int, int] = {}
    for row in rows.all():
      self._spend(row["number"], row["steps"])

  def afford(self, trial: Trial) -> bool:
    """Whether there is room for a trial, whose steps are then spent."""
    new = max(0, trial.proposal.steps - self._done.get(trial.number, 0))
    if new and self._most is not None and sum(self._done.values()) + new > self._most:
      return False
    self._spend(trial.number, trial.proposal.steps)
    return True

  def _spend(self, number: int, steps: int) -> None:
    self._done[number] = max(steps, self._done.get(number, 0))
