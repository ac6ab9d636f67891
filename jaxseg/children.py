"""Processes that this one starts and waits for: on which cores, how they end, and in what words."""

import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_WORDS = 300


def bound() -> list[str]:
  """What a command begins with to be asked to save and leave where this process is killed."""
  return ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []


def on_cores(cores: Sequence[int]) -> list[str]:
  """What a command begins with to run on these cores alone."""
  if not cores or not shutil.which("taskset"):
    return []
  return ["taskset", "-c", ",".join(map(str, cores))]


def shares(jobs: int) -> list[tuple[int, ...]]:
  """The cores of this process, divided among so many; () where there are fewer than that."""
  cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
  if len(cores) < jobs:
    return [()] * jobs
  return [tuple(cores[number::jobs]) for number in range(jobs)]


class Processes:
  """Programs that several threads start and wait for, and that a signal asks to save and leave.

  Args:
    places: what one of them is given at a time, as its cores; as many run together as there are.

  Attributes:
    stopped: whether `stop` was called; what is started after that is asked to leave, too.
  """

  def __init__(self, places: Sequence[Any] = ()):
    self._places, self._live = list(places), set()
    # a second signal may come while the first one is answered
    self._lock, self.stopped = threading.RLock(), threading.Event()

  def stop(self, *_) -> None:
    """Asks all of them to save and leave; a signal's handler."""
    self.stopped.set()
    with self._lock:
      for process in self._live:
        _ask_to_leave(process)

  @contextlib.contextmanager
  def place(self) -> Iterator[Any]:
    """One of the places, for the length of a block; no more blocks than places at a time."""
    with self._lock:
      place = self._places.pop(0)
    try:
      yield place
    finally:
      with self._lock:
        self._places.append(place)

  def run(
    self,
    command: Sequence[str],
    log: pathlib.Path,
    *,
    cores: Sequence[int] = (),
    environment: Mapping[str, str] | None = None,
    folder: pathlib.Path | None = None,
  ) -> tuple[int, float]:
    """Runs a command to its end; it leaves where this process is killed.

    Args:
      command: the program and its arguments.
      log: what it says is added to this file.
      cores: it runs on these alone, with as many threads; () is all.
      environment: beside this process's own.
      folder: where it runs; None is here.

    Returns:
      Its exit code, and the seconds of processor time that it took.
    """
    here = {**os.environ, **(environment or {})}
    if cores:
      here |= {name: str(len(cores)) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    with open(log, "a", encoding="utf-8") as out:
      process = subprocess.Popen(
        [*bound(), *on_cores(cores), *command],
        cwd=folder,
        env=here,
        stdout=out,
        stderr=subprocess.STDOUT,
        start_new_session=True,
      )
      with self._lock:
        self._live.add(process.pid)
      if self.stopped.is_set():
        _ask_to_leave(process.pid)
      _, status, used = os.wait4(process.pid, 0)
      with self._lock:
        self._live.discard(process.pid)
      process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, used.ru_utime + used.ru_stime


def _ask_to_leave(process: int) -> None:
  """By its number: Popen's own call waits for what has ended, which another thread does."""
  with contextlib.suppress(ProcessLookupError):
    os.kill(process, signal.SIGTERM)


def failure(code: int | str, last: str) -> str:
  """Why a process failed, by its exit code and the last line that it wrote."""
  if code == -signal.SIGKILL:
    return "killed, probably out of memory."
  if isinstance(code, int) and code < 0:
    return f"ended by signal {-code} ({signal.Signals(-code).name})."
  return f"ended with status {code}: {(last or 'no words are given')[:_WORDS]}"
