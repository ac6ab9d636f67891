"""A search from its trials to its report: the same trials when it resumes, budgets, failures."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
import searched
from searched import MADE, fake, rows, run

from jaxseg import files, sealed
from jaxseg.config.file import load_config
from jaxseg.evaluation import held_out
from jaxseg.packages import installed
from jaxseg.runs import checkpoint
from jaxseg.search import report, search, trial, winner
from jaxseg.search.plan import plan
from jaxseg.search.trials import Runner
from jaxseg.verbs import train

pytestmark = pytest.mark.skipif(
  not installed("optuna"), reason="Optuna is not installed: pip install 'jaxseg[search]'"
)


def test_it_resumes_to_the_same_trials_wherever_it_was_stopped(tmp_path, monkeypatch):
  for name, strategy in (
    ("random", dict(name="random", trials=6)),
    ("evolution", dict(name="evolution", trials=8, population=4)),
    ("halving", dict(name="successive_halving", trials=4, eta=2)),
    ("tpe", dict(name="tpe", trials=6, startup=2)),
  ):
    config = searched.config(tmp_path, strategy=strategy)
    whole, parts = tmp_path / f"{name}_whole", tmp_path / f"{name}_parts"
    fake(monkeypatch)
    best, _ = run(whole, config)
    stopped: set[int] = set()

    def once(number, stopped=stopped):
      """A signal comes in the first training of every second trial."""
      first = number % 2 == 0 and number not in stopped
      stopped.add(number)
      return train.LEFT if first else 0

    fake(monkeypatch, code=once)
    part = None
    while part is None:
      part, lines = run(parts, config)
      assert part is not None or "The same command goes on" in lines[-1]
    assert len(stopped) > 1
    stored, expected = rows(parts), rows(whole)
    assert list(stored) == list(expected), name
    for key, row in expected.items():
      same = ("candidate", "score", "steps", "number", "fields")
      assert {k: stored[key][k] for k in same} == {k: row[k] for k in same}
    assert part["number"] == best["number"]


def test_a_finished_search_repeats_nothing_and_goes_on_with_a_larger_budget(tmp_path, monkeypatch):
  fake(monkeypatch)
  few = searched.config(tmp_path, strategy=dict(name="random", trials=9), budget=dict(steps=20))
  run(tmp_path / "s", few)
  assert MADE == ["0@6", "1@6", "2@6"]
  MADE.clear()
  run(tmp_path / "s", few)
  assert MADE == []
  more = searched.config(tmp_path, strategy=dict(name="random", trials=9), budget=dict(steps=36))
  run(tmp_path / "s", more)
  assert MADE == ["3@6", "4@6", "5@6"]


def test_a_budget_of_minutes_ends_where_another_trial_would_not_fit(tmp_path, monkeypatch):
  fake(monkeypatch, seconds=60.0)
  config = searched.config(
    tmp_path, strategy=dict(name="random", trials=9), budget=dict(minutes=3.5)
  )
  best, lines = run(tmp_path / "s", config)
  assert len(MADE) == 3
  assert "The budget is spent." in lines
  assert best is not None


def test_a_stopped_trial_that_the_budget_has_no_room_for_does_not_keep_the_report(
  tmp_path, monkeypatch
):
  fake(monkeypatch, seconds=60.0, code=lambda number: train.LEFT if number == 2 else 0)
  config = searched.config(
    tmp_path, strategy=dict(name="random", trials=9), budget=dict(minutes=3.5)
  )
  best, _ = run(tmp_path / "s", config)
  assert best is None
  with monkeypatch.context() as patch:
    patch.setattr(Runner, "_affordable", lambda self, trial: False)
    best, lines = run(tmp_path / "s", config)
  assert best is not None
  assert "The budget is spent." in lines


def test_halving_trains_the_best_from_where_they_stand(tmp_path, monkeypatch):
  fake(monkeypatch)
  config = searched.config(tmp_path, strategy=dict(name="successive_halving", trials=9, eta=3))
  config.steps = 18
  best, _ = run(tmp_path / "s", config)
  steps = [int(made.split("@")[1]) for made in MADE]
  assert steps == [2] * 9 + [6] * 3 + [18]
  assert best["steps"] == 18
  # a budget that ends among the short ones compares those
  config.search.budget = dict(steps=20)
  best, _ = run(tmp_path / "t", config)
  assert best["steps"] == 2


def test_what_fails_or_is_refused_is_a_row(tmp_path, monkeypatch):
  fake(monkeypatch, code=lambda number: {1: 1, 2: -9}.get(number, 0))
  config = searched.config(tmp_path, strategy=dict(name="random", trials=5))
  best, lines = run(tmp_path / "s", config)
  stored = rows(tmp_path / "s")
  assert stored["0001@6"]["failed"].endswith("ValueError: the loss is NaN")
  assert stored["0002@6"]["failed"] == "killed, probably out of memory."
  assert best["number"] in (0, 3, 4)
  assert any("killed" in line for line in lines)
  config.search.space = dict(network=dict(widths=dict(choices=((4, 8), (4, 0), (8, 8)))))
  fake(monkeypatch, score=lambda config: sum(config["network"]["widths"]))
  best, _ = run(tmp_path / "t", config)
  refused = [row for row in rows(tmp_path / "t").values() if "refused" in row]
  assert len(refused) == 1
  assert "widths" in refused[0]["refused"]
  assert best["fields"]["network.widths"] == [8, 8] or best["fields"]["network.widths"] == (8, 8)


def test_what_no_row_can_tell_ends_the_search_before_other_trials(tmp_path, monkeypatch):
  def full(number):
    if number == 1:
      raise OSError("no space left on device")
    return 0

  fake(monkeypatch, code=full)
  config = searched.config(tmp_path, strategy=dict(name="random", trials=9))
  with pytest.raises(OSError, match="no space"):
    run(tmp_path / "s", config)
  assert MADE == ["0@6", "1@6"]
  # the same command goes on
  fake(monkeypatch)
  run(tmp_path / "s", config)
  assert MADE[0] == "1@6"
  assert len(rows(tmp_path / "s")) == 9


def test_a_search_without_a_score_says_so(tmp_path, monkeypatch):
  fake(monkeypatch, code=lambda number: 1)
  config = searched.config(tmp_path, strategy=dict(name="random", trials=2))
  with pytest.raises(ValueError, match=r"none of 2 trials has a score; the first one: ended"):
    run(tmp_path / "s", config)


def test_another_search_is_refused_in_a_folder(tmp_path, monkeypatch):
  fake(monkeypatch)
  config = searched.config(tmp_path, strategy=dict(name="random", trials=2))
  run(tmp_path / "s", config)
  other = searched.config(tmp_path, strategy=dict(name="random", trials=3))
  with pytest.raises(ValueError, match=r"config.search.strategy.trials was 2, is 3"):
    run(tmp_path / "s", other)
  other = searched.config(tmp_path, strategy=dict(name="random", trials=2))
  other.data.batch = 3
  with pytest.raises(ValueError, match=r"config.data.batch was 2, is 3"):
    run(tmp_path / "s", other)
  # a run may be scored otherwise where it goes on, but these scores are compared
  for field, value, words in (
    ("best", "iou", "best was 'dice', is 'iou'"),
    ("cases", 1, "cases was 0, is 1"),
  ):
    other = searched.config(tmp_path, strategy=dict(name="random", trials=2))
    other.evaluate[field] = value
    with pytest.raises(ValueError, match=rf"config.evaluate.{words}"):
      run(tmp_path / "s", other)
  stored = rows(tmp_path / "s")
  stored["0001@6"]["candidate"]["optimiser.learning_rate"] = 0.5
  files.write_json(tmp_path / "s" / "trials.json", stored)
  with pytest.raises(ValueError, match="is of another candidate"):
    run(tmp_path / "s", config)


def test_a_supernet_that_was_trained_on_since_is_refused(tmp_path, monkeypatch):
  fake(monkeypatch, score=lambda config: sum(config["network"]["widths"]))
  supernet = tmp_path / "supernet"
  sealed.write(supernet / "dataset.json", {"training": [], "streams": {}})
  how = dict(name="shared", run=str(supernet))
  config = searched.config(tmp_path, evaluation=how, strategy=dict(name="random", trials=2))
  config.search.space = dict(network=dict(widths=dict(choices=((4, 8), (8, 16)))))
  weights = ["run/6/a"]
  monkeypatch.setattr(search, "digest", lambda folder, kind: weights[0])
  run(tmp_path / "s", config)
  # the same supernet by another way
  config.search.evaluation.run = str(tmp_path / "s" / ".." / "supernet")
  run(tmp_path / "s", config)
  weights[0] = "run/8/b"
  with pytest.raises(ValueError, match=r"evaluation.run: .*holds other weights than when"):
    run(tmp_path / "s", config)


def test_a_loss_of_nothing_gives_no_benefit(tmp_path, monkeypatch):
  """The best is at least the best single loss, whatever the search finds."""
  singles = (
    dict(dice=dict(name="dice")),
    dict(cross_entropy=dict(name="cross_entropy")),
    dict(constant=dict(name="constant")),
  )
  values = {"dice": 0.7, "cross_entropy": 0.6, "constant": 0.0}
  fake(
    monkeypatch, score=lambda config: sum(values[of] for of in config["loss"]) / len(config["loss"])
  )
  both = dict(**singles[0], **singles[2])
  for strategy in (dict(name="random", trials=2), dict(name="ppo", samples=2, rounds=2, updates=2)):
    config = searched.config(
      tmp_path, strategy=strategy, first=tuple(dict(loss=of) for of in singles)
    )
    config.search.space = dict(loss=dict(choices=(both, *singles)))
    best, _ = run(tmp_path / strategy["name"], config)
    assert set(best["fields"]["loss"]) == {"dice"}


def in_process(monkeypatch):
  """Trials that are trained, in this process: with its compiled programs."""

  def process(self, request, log, cores, gpu):
    try:
      trial.main([str(request)])
    except SystemExit as ended:
      log.write_text(str(ended.code))
      return ended.code if isinstance(ended.code, int) else 1, 1.0
    return 0, 1.0

  monkeypatch.setattr(Runner, "_process", process)


def test_a_trial_that_climbed_is_the_run_that_would_have_been_trained(tmp_path, monkeypatch):
  in_process(monkeypatch)
  strategy = dict(name="successive_halving", trials=2, eta=2)
  config = searched.config(tmp_path, strategy=strategy)
  best, _ = run(tmp_path / "s", config)
  assert best["steps"] == 6
  climbed = tmp_path / "s" / "trials" / f"{best['number']:04d}"
  made = plan(config)
  from ml_collections import ConfigDict

  alone = tmp_path / "alone"
  train.run(ConfigDict(made.trial(best["candidate"])), alone)
  a, b = (checkpoint.load_learners(of, checkpoint.LATEST) for of in (climbed, alone))
  import jax

  jax.tree.map(np.testing.assert_array_equal, a["network"].params, b["network"].params)
  assert best["score"] == trial.trained_score(alone, 6, "dice")
  cases = held_out.read_scores(climbed)["cases"]
  assert not set(cases) & set(made.test)
  page = files.read_text(tmp_path / "s" / report.PAGE, what="page", advice="none")
  assert page.count("\n| ") == 4
  assert (tmp_path / "s" / report.PICTURE).stat().st_size > 5000
  # the winner is trained on the config's own split
  chosen = load_config(str(tmp_path / "s" / winner.CONFIG))
  assert chosen.data.split.to_dict() == config.data.split.to_dict()
  assert chosen.optimiser.learning_rate == best["fields"]["optimiser.learning_rate"]
  assert chosen.search.to_dict() == {}


def test_training_a_config_that_is_to_be_searched_is_refused(tmp_path):
  with pytest.raises(ValueError, match="is for `jaxseg search`"):
    train.run(searched.config(tmp_path), tmp_path / "run")


def test_the_verb_tells_the_space_before_it_begins(tmp_path):
  file = tmp_path / "config.py"
  file.write_text(
    "import pathlib, sys\n"
    f"sys.path.insert(0, {str(pathlib.Path(__file__).parents[1])!r})\n"
    "import searched\n"
    "def get_config():\n"
    f"  return searched.config(pathlib.Path({str(tmp_path)!r}), strategy=dict(name='tpe'))\n"
  )
  command = [sys.executable, "-m", "jaxseg", "search", f"--config={file}"]
  command += [f"--workdir={tmp_path / 's'}"]
  told = subprocess.run([*command, "--list"], capture_output=True, text=True, check=True)
  assert "1 parameters, infinitely many candidates" in told.stdout
  assert "2 cases are held back" in told.stdout
  crowd = subprocess.run([*command, "--jobs=2"], capture_output=True, text=True, check=False)
  assert "--jobs 2: strategy 'tpe' waits" in crowd.stderr
  assert crowd.returncode == 1
