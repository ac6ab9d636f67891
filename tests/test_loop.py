"""The loop: bit-exact resume, kill, signals, divergence, devices, caches, recompilation."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest
import tiny

from jaxseg import loop
from jaxseg.config.weights import Weights
from jaxseg.data.stream import Feeder
from jaxseg.runs import checkpoint, lock
from jaxseg.runs.initialise import Start
from jaxseg.step import compile_step

HERE = pathlib.Path(__file__).parent


def weights(workdir, kind=checkpoint.LATEST):
  checkpoints = checkpoint.Checkpoints(workdir, kind)
  return {k: np.asarray(v) for k, v in checkpoints.arrays(checkpoints.steps[0]).items()}


def assert_same_bits(a, b):
  assert a.keys() == b.keys()
  for name in a:
    np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """An uninterrupted run of six steps."""
  workdir = tmp_path_factory.mktemp("whole")
  report = loop.train(tiny.experiment(), workdir)
  return workdir, report


def rows(workdir):
  return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_a_run_leaves_config_curves_panels_checkpoints_and_report(whole):
  workdir, report = whole
  for name in ("config.json", "dataset.json", "versions.json", "report.json", "panels/final.png"):
    assert (workdir / name).is_file()
  assert json.loads((workdir / "report.json").read_text())["validation"]["cases"] == 2
  assert set(report["cases"]) == {"case_4", "case_5"}
  logged = [row["step"] for row in rows(workdir) if "loss" in row]
  assert logged == [2, 4, 6]
  assert [row["step"] for row in rows(workdir) if "validation/dice" in row] == [3, 6]
  assert list((workdir / "tensorboard").iterdir())
  assert checkpoint.Checkpoints(workdir).steps[0] == 6


def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(whole, tmp_path):
  run = tiny.experiment()
  # stops as a signal would, after the third step
  stop_after(run, 3, tmp_path)
  assert checkpoint.Checkpoints(tmp_path).steps[0] == 3
  loop.train(tiny.experiment(), tmp_path)
  assert_same_bits(weights(whole[0]), weights(tmp_path))
  scores = {r["step"]: r for r in rows(whole[0]) if "validation/dice" in r}
  again = {r["step"]: r for r in rows(tmp_path) if "validation/dice" in r}
  assert scores == again


WALL_CLOCK = {"images_per_second", "data_wait"}


def without_clock(workdir):
  return [{k: v for k, v in row.items() if k not in WALL_CLOCK} for row in rows(workdir)]


def test_the_log_of_a_run_stopped_twice_is_that_of_an_uninterrupted_one(tmp_path):
  """At steps that are no multiples of log_every, one of them a multiple of nothing."""
  changes = {"steps": 7, "log_every": 4, "checkpoint_every": 3, "evaluate.every": 6}
  loop.train(tiny.experiment(**changes), tmp_path / "whole")
  for steps in (1, 2, 3):  # at step 1, then 3, then 6
    stop_after(tiny.experiment(**changes), steps, tmp_path / "parts")
  loop.train(tiny.experiment(**changes), tmp_path / "parts")
  assert without_clock(tmp_path / "parts") == without_clock(tmp_path / "whole")
  assert [row["step"] for row in rows(tmp_path / "parts")] == [4, 6, 7, 7]


def test_two_trainings_at_once_in_one_folder_are_refused_before_anything_is_written(tmp_path):
  with lock.hold(tmp_path), pytest.raises(ValueError, match="is training there; wait for its end"):
    loop.train(tiny.experiment(), tmp_path)
  assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_left_is_removed_at_the_next_start(whole, tmp_path):
  stop_after(tiny.experiment(), 5, tmp_path)
  dead = subprocess.Popen(["true"])
  dead.wait()
  left = [
    f"panels/.{dead.pid}.final.png",
    f"validation/views/.{dead.pid}.case_4.npz",
    "checkpoints/.saving-6/state/data",
    "best/.removing-2/note.json",
    "checkpoints/6.orbax-checkpoint-tmp/state/data",
  ]
  living = f"panels/.{os.getppid()}.report.png"
  for name in [*left, living]:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("")
  loop.train(tiny.experiment(), tmp_path)
  assert not [name for name in left if (tmp_path / name).exists()]
  assert (tmp_path / living).exists(), "another verb may be writing"
  assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["5", "6"]


def stop_after(run, steps, workdir):
  """Trains, sending this process a SIGTERM in the given step; the loop saves and leaves."""
  advance, seen = loop.Display.advance, []

  def counting(self, count=1):
    advance(self, count)
    seen.append(1)
    if len(seen) == steps:
      os.kill(os.getpid(), signal.SIGTERM)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(loop.Display, "advance", counting)
    several = isinstance(run, list)
    train = loop.train_together if several else loop.train
    assert train(run, workdir) is None


def test_killed_in_mid_training_and_rerun_equals_uninterrupted_bit_for_bit(whole, tmp_path):
  """kill -9 in a process of its own, between a checkpoint and the next."""
  script = f"""
import sys; sys.path.insert(0, {str(HERE)!r})
import conftest, tiny, os
from jaxseg import loop
from jaxseg.runs import display
advance = display.Display.advance
def killed(self, steps=1):
  advance(self, steps)
  self.count = getattr(self, "count", 0) + 1
  if self.count == 5:
    os.kill(os.getpid(), 9)
display.Display.advance = killed
loop.train(tiny.experiment(), {str(tmp_path)!r})
"""
  ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
  assert ended.returncode == -9, ended.stderr
  assert checkpoint.Checkpoints(tmp_path).steps[0] == 4
  loop.train(tiny.experiment(), tmp_path)
  assert_same_bits(weights(whole[0]), weights(tmp_path))


@pytest.mark.bits
def test_device_and_host_cache_give_the_same_bits(whole, tmp_path):
  loop.train(tiny.experiment(**{"data.cache": "host"}), tmp_path)
  assert_same_bits(weights(whole[0]), weights(tmp_path))


def test_damaged_latest_checkpoint_falls_back_to_the_one_before(whole, tmp_path, caplog):
  stop_after(tiny.experiment(), 5, tmp_path)
  steps = checkpoint.Checkpoints(tmp_path).steps
  assert steps == [5, 4]
  data = [p for p in (tmp_path / "checkpoints" / "5").rglob("*") if p.is_file()]
  for file in data:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
  loop.train(tiny.experiment(), tmp_path)
  assert "falling back to the one before" in caplog.text
  assert_same_bits(weights(whole[0]), weights(tmp_path))


def test_flipped_bits_in_a_checkpoint_are_noticed(whole, tmp_path, caplog):
  stop_after(tiny.experiment(), 5, tmp_path)
  data = [p for p in (tmp_path / "checkpoints" / "5" / "state").rglob("d/*") if p.is_file()]
  assert data
  for file in data:
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    file.write_bytes(damaged)
  loop.train(tiny.experiment(), tmp_path)
  assert "falling back to the one before" in caplog.text
  assert_same_bits(weights(whole[0]), weights(tmp_path))


def test_resume_with_a_changed_network_is_refused_in_words(whole):
  workdir, _ = whole
  changed = tiny.experiment(**{"network.widths": (4, 12)})
  with pytest.raises(ValueError, match=r"config.network.widths was \(4, 8\), is \(4, 12\)\. "):
    loop.train(changed, workdir)


def test_nan_loss_stops_with_a_word_and_keeps_the_last_good_checkpoint(tmp_path):
  broken = tiny.diverging(tiny.experiment(), step=3)
  with pytest.raises(loop.Diverged, match=r"loss is nan near step 4.*checkpoint of step 3 is kept"):
    loop.train(broken, tmp_path)
  good = weights(tmp_path)
  assert int(good["step"]) == 3
  assert all(np.isfinite(v).all() for v in good.values())


def test_the_second_step_does_not_recompile():
  run = tiny.experiment()
  feeder = Feeder(run.streams, cache="device")
  store = feeder.store()
  step = compile_step(run, feeder.element(0), store)
  state = step.init(np.uint32(0))
  for number in range(3):
    state, _ = step.train(state, store, feeder.element(number), np.uint32(0))
  assert step.train._cache_size() == 1


def test_output_folder_that_cannot_be_made_is_told(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(ValueError, match=r"--workdir .*file/run: cannot be written"):
    loop.train(tiny.experiment(), tmp_path / "file" / "run")


def test_training_starts_from_another_runs_weights(whole, tmp_path):
  run = tiny.experiment(steps=1)
  run = run._replace(starts={"network": Start(Weights(run=str(whole[0])))})
  run.config["optimiser"]["learning_rate"] = 0.0
  before, after = weights(whole[0]), {}
  still = run._replace(method=run.method._replace(train_step=_no_update(run.method)))
  loop.train(still, tmp_path)
  after = weights(tmp_path)
  for name in before:
    if "/params/" in name:
      np.testing.assert_array_equal(before[name], after[name], err_msg=name)


def _no_update(method):
  def train_step(state, batch, key):
    _, metrics = method.train_step(state, batch, key)
    return state.replace(step=state.step + 1), metrics

  return train_step
