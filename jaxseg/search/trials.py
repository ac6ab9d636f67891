"""The trials of a search: rows on disk, and the processes that make them.

A search's folder holds `search.json`, what it is of; `trials.json`, a row for every trial and
length of training; `trials/0003`, the run folder of a trial, with its log and request beside it.
"""

import math
import os
import pathlib
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxseg import files
from jaxseg.children import Processes, failure, shares
from jaxseg.runs import lock
from jaxseg.search.parameters import key, values
from jaxseg.search.plan import Plan
from jaxseg.search.proposals import Proposal
from jaxseg.verbs.train import LEFT

TRIALS, ROWS = "trials", "trials.json"
_ADVICE = "copy the search's folder again, from where it is whole"
# what a row may have in place of a score
FAILED, REFUSED, STOPPED = "failed", "refused", "stopped"
# why earlier tries of a trial failed; whether the strategy went on without its score
FAILURES, LATE = "failures", "late"
# sentences of a trial's log that its score is not to be read without
WARNINGS = "warnings"
_WARNING = "Warning: "
_REQUEST = ".request.json"


class Rows:
  """The rows of a search, on disk after each; used by several threads."""

  def __init__(self, folder: pathlib.Path):
    self.path, self._lock = folder / ROWS, threading.Lock()
    self._rows: dict[str, dict[str, Any]] = {}
    if self.path.is_file():
      self._rows = files.read_json(self.path, what="the trials of a search", advice=_ADVICE)

  def get(self, name: str) -> dict[str, Any]:
    return self._rows.get(name, {})

  def keep(self, name: str, row: dict[str, Any]) -> None:
    with self._lock:
      self._rows[name] = row
      files.write_json(self.path, dict(sorted(self._rows.items())))

  def all(self) -> list[dict[str, Any]]:
    """In the order of their numbers, then of their steps."""
    return sorted(self._rows.values(), key=lambda row: (row["number"], row["steps"]))

  @property
  def newest(self) -> int:
    """The highest number of a trial that has a row or was begun, -1 without one."""
    begun = self.path.parent.glob(f"{TRIALS}/*{_REQUEST}")
    names = (path.name.removesuffix(_REQUEST) for path in begun)
    numbers = [int(name) for name in names if name.isdigit()]
    return max([*numbers, *(row["number"] for row in self._rows.values())], default=-1)

  @property
  def cpu_minutes(self) -> float:
    """Processor time of all trials so far."""
    return sum(row.get("cpu_seconds", 0.0) for row in self._rows.values()) / 60


class Numbers:
  """The numbers of the trials: of a candidate and the weights that it begins with, once each."""

  def __init__(self):
    self._known: dict[tuple, int] = {}

  def of(self, proposal: Proposal) -> int:
    identity = (key(proposal.candidate), proposal.after)
    return self._known.setdefault(identity, len(self._known))


class Trial(NamedTuple):
  """A proposal with its number."""

  number: int
  proposal: Proposal

  @property
  def name(self) -> str:
    return trial_name({"number": self.number, "steps": self.proposal.steps})


def trial_name(row: Mapping[str, Any]) -> str:
  """What a row is known by: the trial's number and its steps."""
  return f"{row['number']:04d}@{row['steps']}"


def score_of(row: dict[str, Any], sign: int) -> float | None:
  """A row's score so that more is better; None without one."""
  score = row.get("score")
  if score is None or isinstance(score, str) or not math.isfinite(score):
    return None
  return sign * score


def sent_score(row: dict[str, Any], sign: int) -> float | None:
  """The score that a strategy is sent: None also where it went on without one, as it did then."""
  return None if LATE in row else score_of(row, sign)


def is_done(row: dict[str, Any]) -> bool:
  """Whether a row is one that is not tried again: all but those that a signal stopped."""
  return bool(row) and STOPPED not in row


def check_row(row: dict[str, Any], trial: Trial, path: pathlib.Path) -> None:
  """Raises ValueError where a stored row is of another candidate than the search proposes now."""
  proposal = trial.proposal
  if row and (row["candidate"] != proposal.candidate or row["after"] != proposal.after):
    raise ValueError(
      f"{path}: trial {trial.name} is of another candidate than this search proposes; its draws "
      "are those of another version of Optuna or NumPy, or the file was edited: go on with those "
      "that made it, or choose another --workdir."
    )


class Runner:
  """Runs trials, each in a process; a signal saves those that are under way.

  Args:
    plan: the search.
    folder: of the search.
    rows: its rows.
    jobs: trials that run at the same time.
    gpus: numbers of the devices that they are given in turn; () is all to each.
  """

  def __init__(
    self, plan: Plan, folder: pathlib.Path, rows: Rows, jobs: int, gpus: Sequence[int] = ()
  ):
    self._plan, self._folder, self._rows = plan, folder, rows
    devices = [gpus[number % len(gpus)] for number in range(jobs)] if gpus else [None] * jobs
    self._crowded = len(set(devices)) < jobs
    self._processes = Processes(list(zip(shares(jobs), devices, strict=True)))
    self.stop, self.stopped = self._processes.stop, self._processes.stopped
    self._lock, self._running = threading.Lock(), 0
    # whether the budget has no room for another trial; whether a signal came to one
    self.spent, self.left = threading.Event(), threading.Event()

  def run(self, trial: Trial, *, late: bool = False) -> None:
    """Makes the row of a trial, unless the search ends before; `late` as of its row."""
    with self._lock:
      if not self._affordable(trial):
        self.spent.set()
      if self.stopped.is_set() or self.spent.is_set():
        return
      self._running += 1
    try:
      with self._processes.place() as place:
        self._try(trial, *place, late=late)
    except BaseException:
      # as of a full disk: others are saved before it is told, and none is begun
      self.stop()
      raise
    finally:
      with self._lock:
        self._running -= 1

  def _affordable(self, trial: Trial) -> bool:
    """Whether the budget has room for a trial as dear as the dearest of its steps so far."""
    minutes = self._plan.budget.minutes
    if minutes is None:
      return True
    like = [row for row in self._rows.all() if row["steps"] == trial.proposal.steps]
    dearest = max((row.get("cpu_seconds", 0.0) for row in like), default=0.0) / 60
    # of one that was stopped, a part is paid; those under way are not on disk yet
    before = self._rows.get(trial.name)
    paid = before.get("cpu_seconds", 0.0) / 60 if STOPPED in before else 0.0
    return self._rows.cpu_minutes - paid + (self._running + 1) * dearest <= minutes

  def _try(self, trial: Trial, cores: Sequence[int], gpu: int | None, *, late: bool) -> None:
    number, proposal = trial
    before = self._rows.get(trial.name)
    fields = values(self._plan.space, proposal.candidate)
    row = proposal._asdict() | {"number": number, "fields": fields} | _history(before, late=late)
    try:
      config = self._plan.trial(proposal.candidate)
    except ValueError as error:
      self._rows.keep(trial.name, row | {REFUSED: str(error)})
      return
    place = self._folder / TRIALS / f"{number:04d}"
    if proposal.after is not None:
      start = self._folder / TRIALS / f"{proposal.after:04d}"
      config = {**config, "initialise": {**config["initialise"], "network": {"run": str(start)}}}
    output = place.with_name(f"{place.name}.score.json")
    output.unlink(missing_ok=True)
    request = {
      "config": config,
      "folder": str(place),
      "metric": self._plan.metric,
      "until": proposal.steps,
      "measure": dict(self._plan.evaluation.measure),
      "output": str(output),
    }
    told = place.with_name(f"{place.name}{_REQUEST}")
    files.write_json(told, request)
    log, began = place.with_name(f"{place.name}.log"), time.monotonic()
    log.touch()
    written = log.stat().st_size
    # of a search that was killed a trial may still save
    lock.wait(place, stopped=self.stopped)
    code, used = self._process(told, log, cores, gpu)
    lines = log.read_bytes()[written:].decode("utf-8", errors="replace").strip().splitlines()
    # of a trial that was stopped and goes on, all of its time and of its warnings
    row["cpu_seconds"] = round(before.get("cpu_seconds", 0.0) + used, 1)
    row["seconds"] = round(before.get("seconds", 0.0) + time.monotonic() - began, 1)
    if warnings := _warnings([*before.get(WARNINGS, ()), *lines]):
      row[WARNINGS] = warnings
    if code == 0 and output.is_file():
      row["score"] = files.read_json(output, what="a trial's score", advice="search again")["score"]
    elif code == LEFT or self.stopped.is_set():
      row[STOPPED] = True
      self.left.set()
    else:
      row[FAILED] = failure(code or "0 without a score", lines[-1] if lines else "")
    self._rows.keep(trial.name, row)

  def _process(
    self, request: pathlib.Path, log: pathlib.Path, cores: Sequence[int], gpu: int | None
  ) -> tuple[int, float]:
    """Its exit code and processor time."""
    environment = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": str(gpu)}
    # the first of several on a device would take its memory
    if self._crowded and _PREALLOCATE not in os.environ:
      environment[_PREALLOCATE] = "false"
    command = [sys.executable, "-m", "jaxseg.search.trial", str(request)]
    return self._processes.run(command, log, cores=cores, environment=environment)


_PREALLOCATE = "XLA_PYTHON_CLIENT_PREALLOCATE"


def _history(before: dict[str, Any], *, late: bool) -> dict[str, Any]:
  """What a row keeps of earlier tries of its trial."""
  failures = [*before.get(FAILURES, ()), *([before[FAILED]] if FAILED in before else ())]
  told = {FAILURES: failures} if failures else {}
  return told | ({LATE: True} if late or LATE in before else {})


def _warnings(lines: Sequence[str]) -> list[str]:
  """The sentences that warn, each once."""
  stripped = map(str.strip, lines)
  return list(dict.fromkeys(line for line in stripped if line.startswith(_WARNING)))
