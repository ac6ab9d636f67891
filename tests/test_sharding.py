"""Placement of batches, and two processes that train as one."""

import os
import pathlib
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
import tiny
from closeness import assert_close

from jaxseg import loop, sharding
from jaxseg.runs import checkpoint

pytestmark = pytest.mark.bits

HERE = pathlib.Path(__file__).parent


def test_a_batch_takes_the_most_devices_that_divide_it_and_idle_ones_are_told():
  devices = jax.devices()[:2]
  even = sharding.layout(batches={"config.data.batch": 8}, devices=devices)
  assert (even.sizes, even.notes) == ({"batch": 2, "space": 1, "member": 1}, ())
  lone = sharding.layout(batches={"config.data.batch": 3}, devices=devices)
  assert lone.sizes["batch"] == 1
  assert lone.notes == (
    "config.data.batch=3 uses 1 of 2 devices, the others stay idle: make it a multiple of 2, or "
    "set config.mesh.space=2, which splits every patch.",
  )


def test_a_batch_is_split_and_state_replicated():
  layout = sharding.layout(batches={}, devices=jax.devices()[:2])
  array = sharding.place(np.arange(8.0).reshape(4, 2), layout.split)
  assert [s.data.shape for s in array.addressable_shards] == [(2, 2), (2, 2)]
  whole = sharding.place(np.arange(3.0), layout.replicated)
  assert all(s.data.shape == (3,) for s in whole.addressable_shards)


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
  return checkpoint.load_learner(folder).params


def train_with_two(workdir, **changes) -> list[tuple[int, str]]:
  """Trains in two processes; returns their exit codes and what they said."""
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
  script = SCRIPT.format(here=str(HERE), changes={**CHANGES, **changes}, workdir=str(workdir))
  processes = []
  for number in range(2):
    environment = {
      **os.environ,
      "XLA_FLAGS": "--xla_force_host_platform_device_count=1",
      "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
      "JAX_NUM_PROCESSES": "2",
      "JAX_PROCESS_ID": str(number),
    }
    command = [sys.executable, "-c", script]
    pipe = subprocess.PIPE
    processes.append(
      subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)
    )
  said = [process.communicate(timeout=280)[1] for process in processes]
  return [(process.returncode, words) for process, words in zip(processes, said, strict=True)]


@pytest.mark.parametrize("cache", ["device", "host"])
def test_two_processes_train_as_one(tmp_path, one_process, cache):
  (first, words), (second, more) = train_with_two(tmp_path, **{"data.cache": cache})
  assert (first, second) == (0, 0), words[-3000:] + more[-3000:]
  two = checkpoint.load_learner(tmp_path).params
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
