"""Processes that train as one, and what becomes of them when one is killed."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import jax
import pytest
import tiny
from closeness import assert_close

from jaxseg import loop
from jaxseg.runs import checkpoint

pytestmark = pytest.mark.bits

HERE = pathlib.Path(__file__).parent


SCRIPT = """
import os, sys
sys.path.insert(0, {here!r})
os.environ["JAX_PLATFORMS"] = "cpu"
from jaxseg import processes
processes.start_processes()
import tiny
from jaxseg import loop
loop.train(tiny.experiment(**{changes!r}), {workdir!r})
"""


CHANGES = {"steps": 3, "optimiser.name": "sgd", "optimiser.weight_decay": 0.0}


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
  folder = tmp_path_factory.mktemp("one")
  loop.train(tiny.experiment(**CHANGES), folder)
  return checkpoint.load_learners(folder)["network"].params


def environments(*, devices: int) -> list[dict[str, str]]:
  """Of two processes of some fake devices each."""
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
  return [
    {
      **os.environ,
      "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
      "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
      "JAX_NUM_PROCESSES": "2",
      "JAX_PROCESS_ID": str(number),
      "JAXSEG_HEARTBEAT": "10",
    }
    for number in range(2)
  ]


def started(workdir, *, devices: int, **changes) -> list[subprocess.Popen]:
  """Two processes of some fake devices each that train as one."""
  script = SCRIPT.format(here=str(HERE), changes={**CHANGES, **changes}, workdir=str(workdir))
  command, pipe = [sys.executable, "-c", script], subprocess.PIPE
  return [
    subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)
    for environment in environments(devices=devices)
  ]


def train_with_two(workdir, **changes) -> list[tuple[int, str]]:
  """Trains in two processes; returns their exit codes and what they said."""
  processes = started(workdir, devices=1, **changes)
  said = [process.communicate(timeout=280)[1] for process in processes]
  return [(process.returncode, words) for process, words in zip(processes, said, strict=True)]


@pytest.mark.parametrize(
  "changes",
  [{}, {"data.cache": "host"}, {"data.cache": "host", "mesh.batch": 1, "mesh.space": 2}],
  ids=["device", "host", "space"],
)
def test_two_processes_train_as_one(tmp_path, one_process, changes):
  (first, words), (second, more) = train_with_two(tmp_path, **changes)
  assert (first, second) == (0, 0), words[-3000:] + more[-3000:]
  two = checkpoint.load_learners(tmp_path)["network"].params
  for a, b in zip(jax.tree.leaves(one_process), jax.tree.leaves(two), strict=True):
    assert_close(a, b, atol=2e-6)
  rows = (tmp_path / "metrics.jsonl").read_text().splitlines()
  assert len([row for row in rows if '"loss"' in row]) == 2, "one process alone writes"


def test_two_processes_fall_back_together_and_stop_together(tmp_path, one_process):
  assert [code for code, _ in train_with_two(tmp_path, steps=2)] == [0, 0]
  (note,) = tmp_path.glob("checkpoints/2/note.json")
  note.write_text("[]")
  for process, (code, words) in enumerate(train_with_two(tmp_path)):
    assert code == 1
    assert "no checkpoint can be read; damaged ones were set aside as 2.damaged-1" in words
    assert ("falling back" in words) == (process == 0), "the first one looks and tells"


def test_a_process_that_fails_alone_says_why_and_ends_the_others(tmp_path):
  command = [sys.executable, "train.py", "--config=configs/unet_phantom2d.py"]
  command += [f"--workdir={tmp_path / 'run'}", f"--config.data.folder={tmp_path / 'prepared'}"]
  processes = []
  for cases, environment in zip((8, 2), environments(devices=1), strict=True):
    here = [*command, f"--config.data.source.cases={cases}"]
    options = {"env": environment, "stderr": subprocess.PIPE, "text": True}
    processes.append(subprocess.Popen(here, cwd=HERE.parent, **options))
  _, words = processes[1].communicate(timeout=120)
  assert "train: config.data.split" in words.splitlines()[-1]
  assert processes[1].returncode == 1
  begun = time.monotonic()
  processes[0].communicate(timeout=120)
  assert processes[0].returncode != 0
  assert time.monotonic() - begun < 60


def losses(folder) -> dict[int, float]:
  rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
  return {row["step"]: row["loss"] for row in rows if "loss" in row}


FSDP = {"mesh.batch": 4, "mesh.parameters": "fsdp", "mesh.smallest": 1, "data.batch": 4}


def test_a_killed_process_ends_the_other_and_one_alone_resumes_by_another_layout(tmp_path):
  options = {"steps": 40, "checkpoint_every": 2, "evaluate.every": 1000, "data.batch": 4}
  killed, whole = tmp_path / "killed", tmp_path / "whole"
  first, second = started(killed, devices=2, **{**options, **FSDP})
  while not (killed / "checkpoints" / "4").is_dir() and first.poll() is None:
    time.sleep(0.05)
  second.send_signal(signal.SIGKILL)
  begun = time.monotonic()
  _, words = first.communicate(timeout=120)
  second.communicate()
  assert time.monotonic() - begun < 60
  assert first.returncode != 0, words
  assert "another task died" in words
  stopped = max(checkpoint.Checkpoints(killed).steps)
  assert 4 <= stopped < 40
  layout = {"mesh.batch": 1, "mesh.space": 2}
  loop.train(tiny.experiment(**{**CHANGES, **options, **layout}), killed)
  loop.train(tiny.experiment(**{**CHANGES, **options}), whole)
  ours, theirs = losses(killed), losses(whole)
  assert ours.keys() == theirs.keys()
  assert_close([ours[n] for n in theirs], list(theirs.values()), atol=1e-5)
