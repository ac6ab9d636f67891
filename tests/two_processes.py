"""Two processes on this machine that train as one."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
# imports once, forks a process for each command, and notes how it ended
FORKS = """
import json, os, pathlib, runpy, sys
sys.path.insert(0, sys.argv[1])
import tiny
from jaxseg import loop, processes
from jaxseg.verbs import train
folder, forked = pathlib.Path(sys.argv[2]), {}
def note(name, value):
  (folder / "note").write_text(str(value))
  (folder / "note").rename(folder / name)
def begin(number, words, environment):
  os.environ.update(environment)
  for file, name in ((1, os.devnull), (2, folder / f"{number}.said")):
    os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), file)
  if words[0] == "-c":
    exec(words[1], {"__name__": "__main__"})
  else:
    sys.argv = words
    runpy.run_path(words[0], run_name="__main__")
for number, of in enumerate(json.load(sys.stdin)):
  child = os.fork()
  if not child:
    sys.exit(begin(number, *of))
  forked[child] = number
  note(f"{number}.pid", child)
while forked:
  child, status = os.wait()
  note(f"{forked.pop(child)}.code", os.waitstatus_to_exitcode(status))
"""
SCRIPT = """
import os, sys
from jaxseg import processes
processes.start_processes()
import tiny
from jaxseg import loop
run = tiny.experiment(**{changes!r})
{more}
with processes.ending():
  ended = loop.train(run, {workdir!r})
sys.exit(130 if ended is None else 0)
"""
CHANGES = {"steps": 3, "optimiser.name": "sgd", "optimiser.weight_decay": 0.0}


def environments(
  *, devices: int = 1, slurm: bool = False, heartbeat: int = 200
) -> list[dict[str, str]]:
  """Of two processes of some fake devices each; with `slurm` as srun would start them.

  A machine that is very busy keeps them from giving signs of life for a while.
  """
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = str(probe.getsockname()[1])
  count = "--xla_force_host_platform_device_count="
  flags = [word for word in os.environ["XLA_FLAGS"].split() if not word.startswith(count)]
  shared = {
    **os.environ,
    "XLA_FLAGS": " ".join([*flags, f"{count}{devices}"]),
    "PYTHONPATH": str(HERE.parent),
    "JAXSEG_HEARTBEAT": str(heartbeat),
  }
  if slurm:
    shared |= {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_STEP_NODELIST": "localhost"}
    shared |= {"SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "2"}
    shared |= {"SLURM_NODEID": "0", "JAX_COORDINATOR_PORT": port}
    own = ("SLURM_PROCID", "SLURM_LOCALID")
  else:
    shared |= {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}", "JAX_NUM_PROCESSES": "2"}
    own = ("JAX_PROCESS_ID",)
  return [shared | dict.fromkeys(own, str(number)) for number in range(2)]


class Forked:
  """A process that another one has forked, as `subprocess` has those of its own."""

  def __init__(self, parent: subprocess.Popen, home: tempfile.TemporaryDirectory, number: int):
    # the folder is there as long as one of them is
    self._parent, self._home, self._number = parent, home, number
    self._folder = pathlib.Path(home.name)
    self._pid = self._wait_for("pid", 300)

  @property
  def returncode(self) -> int | None:
    file = self._folder / f"{self._number}.code"
    return int(file.read_text()) if file.exists() else None

  poll = returncode.fget

  def send_signal(self, number: int) -> None:
    os.kill(self._pid, number)

  def communicate(self, timeout: float = 900) -> tuple[None, str]:
    """What it said on stderr, once it ended."""
    self._wait_for("code", timeout)
    if len([*self._folder.glob("*.code")]) == len([*self._folder.glob("*.pid")]):
      self._parent.wait(60)
      self._parent.stderr.close()
    return None, (self._folder / f"{self._number}.said").read_text(encoding="utf-8")

  def _wait_for(self, what: str, seconds: float) -> int:
    file, until = self._folder / f"{self._number}.{what}", time.monotonic() + seconds
    while not file.exists():
      # it ends when all that it has forked have
      if self._parent.poll() is not None and not file.exists():
        raise RuntimeError(self._parent.stderr.read())
      if time.monotonic() > until:
        raise subprocess.TimeoutExpired(self._parent.args, seconds)
      time.sleep(0.02)
    return int(file.read_text())


def start(commands, environments_of) -> list[Forked]:
  """Processes of these words each: a program and its arguments, or "-c" and a program's text."""
  home = tempfile.TemporaryDirectory()
  parent = subprocess.Popen(
    [sys.executable, "-c", FORKS, str(HERE), home.name],
    stdin=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    cwd=HERE.parent,
    env=environments_of[0],
  )
  parent.stdin.write(json.dumps(list(zip(commands, environments_of, strict=True))))
  parent.stdin.close()
  return [Forked(parent, home, number) for number in range(len(commands))]


def training(workdir, *, devices: int = 1, slurm: bool = False, more: str = "", **changes):
  """Starts the toy run in two processes; `more` is done in each before it trains."""
  script = SCRIPT.format(more=more, changes={**CHANGES, **changes}, workdir=str(workdir))
  return start([["-c", script]] * 2, environments(devices=devices, slurm=slurm))


def ends(processes, seconds: float = 900) -> list[tuple[int, str]]:
  """The exit code of each process and what it said."""
  said = [process.communicate(seconds)[1] for process in processes]
  return [(process.returncode, words) for process, words in zip(processes, said, strict=True)]
