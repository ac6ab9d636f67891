"""jaxseg submit: which jobs there are, and that they run on this machine by submitit."""

import importlib.util
import json
import pathlib
import pickle
import sys
import threading
import time

import pytest

from jaxseg.verbs import submit

CONFIG = "--config=configs/unet_phantom2d.py"
ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def root(monkeypatch):
  monkeypatch.chdir(ROOT)


def test_every_setting_and_fold_is_a_job_with_a_folder_of_its_own(tmp_path, capsys):
  fields = ["optimiser.learning_rate=1e-3,1e-4", "data.batch=2,4"]
  arguments = [CONFIG, f"--workdir={tmp_path}", "--fold=0,3", "--dry-run", "--config.steps=5"]
  submit.main([*arguments, "--sweep", *fields])
  lines = capsys.readouterr().out.splitlines()
  assert len(lines) == 8
  assert lines[1] == (
    f"jaxseg train {CONFIG} --config.steps=5 --config.optimiser.learning_rate=1e-3 "
    f"--config.data.batch=2 --workdir={tmp_path}/optimiser.learning_rate=1e-3_data.batch=2 --fold=3"
  )
  assert len(set(lines)) == 8
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ("words", "message"),
  [
    (["--fold=7"], "--fold=7: expected all, or numbers from 0 to 4"),
    (["--sweep", "data.batsh=1,2"], "data.batsh"),
    (["--sweep", "data.batch"], "--sweep data.batch: expected FIELD=VALUE"),
    (["--sweep", "data.batch=0"], "config.data.batch"),
    (["--cluster=local", "--partition=gpu"], "--partition: for --cluster=slurm, not for local"),
    (["--cluster=local", "--nodes=2"], "--nodes: for --cluster=slurm"),
    (["--slurm", "=lab"], "--slurm =lab: expected OPTION=VALUE of sbatch"),
    (["--nodes=0"], "--nodes"),
    (["--config.netwerk=1"], "netwerk"),
  ],
)
def test_what_is_wrong_is_told_before_a_job_is_submitted(tmp_path, capsys, words, message):
  with pytest.raises(SystemExit) as told:
    submit.main([CONFIG, f"--workdir={tmp_path / 'runs'}", "--dry-run", *words])
  assert message in f"{told.value}{capsys.readouterr().err}"
  assert not (tmp_path / "runs").exists()


def test_without_submitit_it_is_told_what_to_install(tmp_path, monkeypatch):
  found = importlib.util.find_spec
  monkeypatch.setattr(
    importlib.util, "find_spec", lambda name: None if name == "submitit" else found(name)
  )
  with pytest.raises(SystemExit, match=r"pip install 'jaxseg\[cluster\]'; --dry-run shows"):
    submit.main([CONFIG, f"--workdir={tmp_path}"])


def test_a_job_at_the_end_of_its_time_lets_the_training_save_and_goes_on(tmp_path, monkeypatch):
  pytest.importorskip("submitit", reason="submitit is not installed: pip install submitit")
  program = (
    "import pathlib, signal, sys, time\n"
    "def leave(*_): pathlib.Path(sys.argv[-1]).write_text('saved'); sys.exit(130)\n"
    "signal.signal(signal.SIGTERM, leave)\n"
    "pathlib.Path(sys.argv[-1]).touch()\n"
    "time.sleep(60)\n"
  )
  (tmp_path / "python").write_text(f'#!/bin/sh\nexec {sys.executable} -c "{program}" "$@"\n')
  (tmp_path / "python").chmod(0o755)
  monkeypatch.setattr(submit.sys, "executable", str(tmp_path / "python"))
  mark = tmp_path / "mark"
  job, ended = submit.Training((str(mark),)), []
  running = threading.Thread(target=lambda: ended.append(job()))
  running.start()
  while not mark.exists():
    time.sleep(0.02)
  again = job.checkpoint()
  running.join(30)
  assert mark.read_text() == "saved"
  assert ended == ["saved, not finished"]
  assert again.function.words == job.words
  assert pickle.loads(pickle.dumps(job)).words == job.words


def test_folds_are_trained_as_jobs_of_this_machine(tmp_path, monkeypatch):
  pytest.importorskip("submitit", reason="submitit is not installed: pip install submitit")
  monkeypatch.setenv("PYTHONPATH", str(ROOT))
  monkeypatch.setenv("JAX_PLATFORMS", "cpu")
  small = ["steps=2", "data.batch=2", "data.patch=(32, 32)", "data.source.cases=5"]
  small += ["network.widths=(4, 8)", f"data.folder={tmp_path / 'prepared'}"]
  words = [CONFIG, *(f"--config.{word}" for word in small), f"--workdir={tmp_path / 'runs'}"]
  submit.main([*words, "--fold=0,1", "--cluster=local", "--wait"])
  for fold in range(2):
    report = json.loads((tmp_path / "runs" / f"fold_{fold}" / "report.json").read_text())
    assert report["step"] == 2


class Ended:
  """A job of submitit's that has ended: with an error, or with what each of its tasks gave."""

  def __init__(self, *results, error=None):
    self._results, self._error = list(results), error

  job_id, paths = "7", type("Paths", (), {"stdout": "log"})

  def exception(self):
    return self._error

  def results(self):
    return self._results


@pytest.mark.parametrize(
  ("jobs", "message"),
  [
    ([Ended("finished"), Ended("finished")], None),
    ([Ended("finished"), Ended("saved, not finished")], "1 of 2 jobs were interrupted: fold=1"),
    ([Ended("finished", "saved, not finished"), Ended("finished")], "interrupted: fold=0"),
    ([Ended(error=RuntimeError()), Ended("finished")], "1 of 2 jobs failed: fold=0; see above"),
    (
      [Ended(error=RuntimeError()), Ended("saved, not finished")],
      "1 of 2 jobs failed: fold=0; 1 of 2 jobs were interrupted: fold=1",
    ),
  ],
)
def test_waiting_tells_which_jobs_did_not_train_to_the_end(tmp_path, monkeypatch, jobs, message):
  monkeypatch.setattr(submit, "_submit", lambda flags, every: jobs)
  monkeypatch.setattr(submit.importlib.util, "find_spec", lambda name: object())
  arguments = [CONFIG, f"--workdir={tmp_path / 'runs'}", "--fold=0,1", "--wait"]
  if message is None:
    submit.main(arguments)
    return
  with pytest.raises(SystemExit, match=message):
    submit.main(arguments)
