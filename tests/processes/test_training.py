"""Processes that train as one: what each of them does, reads and refuses."""

import json
import time

import jax
import pytest
import tiny
from closeness import assert_close
from two_processes import CHANGES, ends, environments, start, training

from jaxseg import loop
from jaxseg.data.sampling import choose
from jaxseg.runs import checkpoint


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
  folder = tmp_path_factory.mktemp("one")
  loop.train(tiny.experiment(**CHANGES), folder)
  return checkpoint.load_learners(folder)["network"].params


# what each process reads of the cases that it trains on
COUNTED = """
read = []
dataset = run.main.dataset
def crop(case, *where):
  read.append(int(case))
  return dataset.crop(case, *where)
run = tiny.with_dataset(run, crop=crop)
import atexit, json, pathlib, jax
own = pathlib.Path({folder!r}) / f"{{jax.process_index()}}.json"
atexit.register(lambda: own.write_text(json.dumps(read)))
"""


def assert_one(folder, one_process, endings):
  """Two processes ended well, and what they trained in that folder is what one trains."""
  (first, words), (second, more) = endings
  assert (first, second) == (0, 0), words[-3000:] + more[-3000:]
  two = checkpoint.load_learners(folder)["network"].params
  for a, b in zip(jax.tree.leaves(one_process), jax.tree.leaves(two), strict=True):
    assert_close(a, b, atol=2e-6)
  rows = (folder / "metrics.jsonl").read_text().splitlines()
  assert len([row for row in rows if '"loss"' in row]) == 2, "one process alone writes"


def test_two_processes_share_the_space_of_a_patch(tmp_path, one_process):
  options = {"data.cache": "host", "mesh.batch": 1, "mesh.space": 2}
  assert_one(tmp_path, one_process, ends(training(tmp_path, **options)))


def test_two_processes_of_slurm_train_as_one_and_each_reads_its_own_slots_alone(
  tmp_path, one_process
):
  more, run = COUNTED.format(folder=str(tmp_path)), tmp_path / "run"
  endings = ends(training(run, slurm=True, more=more, **{"data.cache": "disk"}))
  assert_one(run, one_process, endings)
  main = tiny.experiment(**CHANGES).main
  for slot in range(2):
    # the first element is read once more, for its shapes
    steps = (0, 0, 1, 2)
    chosen = [choose(main.dataset, main.cases, main.sampling, step, slot) for step in steps]
    read = json.loads((tmp_path / f"{slot}.json").read_text())
    assert sorted(read) == sorted(main.cases[choice.case] for choice in chosen)


def test_two_processes_fall_back_together_and_stop_together(tmp_path):
  loop.train(tiny.experiment(**{**CHANGES, "steps": 2}), tmp_path)
  (note,) = tmp_path.glob("checkpoints/2/note.json")
  note.write_text("[]")
  for process, (code, words) in enumerate(ends(training(tmp_path))):
    assert code == 1
    assert "no checkpoint can be read; damaged ones were set aside as 2.damaged-1" in words
    assert ("falling back" in words) == (process == 0), "the first one looks and tells"


def commands(tmp_path, *options: str) -> list[list[str]]:
  """train.py of both processes; of the second one with further options."""
  command = ["train.py", "--config=configs/unet_phantom2d.py"]
  command += [f"--workdir={tmp_path / 'run'}", f"--config.data.folder={tmp_path / 'prepared'}"]
  command += ["--config.data.source.cases=8"]
  return [command, [*command, *options]]


def test_processes_of_two_commands_are_refused_before_data_are_prepared(tmp_path):
  different = commands(tmp_path, "--config.log_every=7", "--config.data.folder=elsewhere")
  for code, words in ends(start(different, environments())):
    assert code == 1
    assert words.splitlines()[-1] == (
      "train: process 1 of this run differs from process 0: config.log_every is 10 there, 7 here; "
      "expected the same command, code and data for all; processes that shall train apart need "
      "JAXSEG_CLUSTER=none."
    )
  assert not (tmp_path / "prepared").exists()


def test_processes_with_other_data_are_refused(tmp_path):
  other = "run = tiny.with_dataset(run, content=lambda i: f'{i} of {jax.process_index()}')"
  for code, words in ends(training(tmp_path / "a", more=f"import jax\n{other}")):
    assert code == 1
    assert "differs from process 0: that one began when case 'case_0' and 5 more had" in words


def test_a_process_that_fails_alone_says_why_and_ends_the_others(tmp_path):
  (tmp_path / "file").touch()
  alone = commands(tmp_path, f"--config.data.folder={tmp_path / 'file' / 'prepared'}")
  first, second = start(alone, environments(heartbeat=15))
  _, words = second.communicate(timeout=900)
  assert second.returncode == 1
  assert "prepared data cannot be written here (Not a directory)" in words.splitlines()[-1]
  begun = time.monotonic()
  first.communicate(timeout=900)
  assert first.returncode != 0
  assert time.monotonic() - begun < 100
