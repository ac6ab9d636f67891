"""Processes that this one starts and waits for: on which cores, how they end, and in what words."""

import os
import shutil
import signal
from collections.abc import Sequence

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


def failure(code: int | str, last: str) -> str:
  """Why a process failed, by its exit code and the last line that it wrote."""
  if code == -signal.SIGKILL:
    return "killed, probably out of memory."
  if isinstance(code, int) and code < 0:
    return f"ended by signal {-code} ({signal.Signals(-code).name})."
  return f"ended with status {code}: {(last or 'no words are given')[:_WORDS]}"
