"""Two processes on this machine that train as one."""

import os
import pathlib
import socket
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
SCRIPT = """
import os, sys
sys.path.insert(0, {here!r})
os.environ["JAX_PLATFORMS"] = "cpu"
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


def start(commands, environments_of) -> list[subprocess.Popen]:
  options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": HERE.parent}
  return [
    subprocess.Popen(command, env=environment, **options)
    for command, environment in zip(commands, environments_of, strict=True)
  ]


def training(workdir, *, devices: int = 1, slurm: bool = False, more: str = "", **changes):
  """Starts the toy run in two processes; `more` is done in each before it trains."""
  values = {"here": str(HERE), "changes": {**CHANGES, **changes}, "workdir": str(workdir)}
  command = [sys.executable, "-c", SCRIPT.format(more=more, **values)]
  return start([command] * 2, environments(devices=devices, slurm=slurm))


def ends(processes, seconds: float = 900) -> list[tuple[int, str]]:
  """The exit code of each process and what it said."""
  said = [process.communicate(timeout=seconds)[1] for process in processes]
  return [(process.returncode, words) for process, words in zip(processes, said, strict=True)]
