"""Processes that are asked to leave, or killed, and the runs that go on from where they stood."""

import json
import shutil
import signal
import time

import pytest
import tiny
from closeness import assert_close
from two_processes import CHANGES, ends, training

from jaxseg import loop
from jaxseg.runs import checkpoint

SCARCE = {"evaluate.every": 10**6}
OPTIONS = {"steps": 24, "checkpoint_every": 2, "data.batch": 4, **SCARCE}
FSDP = {"mesh.batch": 4, "mesh.parameters": "fsdp", "mesh.smallest": 1}


def losses(folder) -> dict[int, float]:
  rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
  return {row["step"]: row["loss"] for row in rows if "loss" in row}


def wait_for_step(workdir, step: int, process) -> None:
  while not (workdir / "checkpoints" / str(step)).is_dir() and process.poll() is None:
    time.sleep(0.02)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  folder = tmp_path_factory.mktemp("whole")
  loop.train(tiny.experiment(**{**CHANGES, **OPTIONS}), folder)
  return losses(folder)


def test_a_killed_process_ends_the_other_and_two_go_on_or_one(tmp_path, whole):
  first, second = training(tmp_path, devices=2, **OPTIONS, **FSDP)
  wait_for_step(tmp_path, 4, first)
  second.send_signal(signal.SIGKILL)
  _, words = first.communicate(timeout=900)
  second.communicate()
  assert first.returncode not in (0, 130), words
  stopped = max(checkpoint.Checkpoints(tmp_path).steps)
  assert 4 <= stopped < 24
  copy = shutil.copytree(tmp_path, tmp_path.with_name("copy"))
  for code, said in ends(training(tmp_path, **OPTIONS)):
    assert code == 0, said
  layout = {"mesh.batch": 1, "mesh.space": 2}
  loop.train(tiny.experiment(**{**CHANGES, **OPTIONS, **layout}), copy)
  for folder in (tmp_path, copy):
    ours = losses(folder)
    assert ours.keys() == whole.keys()
    assert_close([ours[n] for n in whole], list(whole.values()), atol=1e-5)


@pytest.mark.parametrize(
  ("number", "process"), [(signal.SIGTERM, 1), (signal.SIGUSR1, 0)], ids=["SIGTERM", "SIGUSR1"]
)
def test_one_process_that_is_asked_to_leave_takes_the_other_along(tmp_path, number, process):
  endless = {"steps": 10**6, "checkpoint_every": 20, "log_every": 10**5, **SCARCE}
  both = training(tmp_path, **endless)
  wait_for_step(tmp_path, 20, both[0])
  both[process].send_signal(number)
  (first, words), (second, more) = ends(both)
  assert (first, second) == (130, 130), words[-2000:] + more[-2000:]
  assert "Interrupted: saved in" in words
  checkpoints = checkpoint.Checkpoints(tmp_path)
  newest = checkpoints.newest_sound()
  assert newest > 20
  # every step since the last row of the log is remembered: none was lost, none done twice
  assert len(checkpoints.note(newest)["pending"]) == newest
