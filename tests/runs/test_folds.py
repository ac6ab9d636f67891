"""Cross-validation: which folds, where they lie, and what is left as it is."""

import json

import pytest

from jaxseg import defaults
from jaxseg.data import splits
from jaxseg.runs import folds
from jaxseg.verbs.train import run

PARTS = {"method": {"name": "supervised"}, "data": {"source": {"name": "phantom"}, "patch": [8]}}


def config(**split):
  made = defaults.config()
  made.data.split = split or dict(name="kfold", folds=3)
  made.steps = 5
  return made


def write_report(folder, step, case="a"):
  """What the end of a fold leaves behind, of a single case whose files are not summed."""
  (folder / "validation").mkdir(parents=True)
  (folder / "report.json").write_text(json.dumps({"step": step, "cases": {case: {}}}))
  scores = {"step": step, "complete": True, "labels": ["x"], "files": {case: {}}}
  scores["cases"] = {case: {"own": {"dice": {"x": 1.0}}}}
  (folder / "validation" / "scores.json").write_text(json.dumps(scores))


@pytest.mark.parametrize(
  ("given", "numbers"),
  [("all", (0, 1, 2)), ("1", (1,)), ("0 2", (0, 2)), ("2,0", (0, 2)), ("1,1", (1,))],
)
def test_folds_are_given_as_all_or_as_numbers(given, numbers):
  assert folds.parse_folds(given, 3) == numbers


@pytest.mark.parametrize("given", ["3", "-1", "some", "", "0,x", "1.5"])
def test_other_folds_are_refused_with_the_choices(given):
  with pytest.raises(ValueError, match=r"expected all, or numbers from 0 to 2"):
    folds.parse_folds(given, 3)


def test_the_number_of_folds_follows_from_the_split(tmp_path):
  assert splits.count(name="kfold", fold=0, folds=4, seed=1) == 4
  assert splits.count(name="kfold") == 5
  assert splits.count(name="blocks", folds=3) == 3
  file = tmp_path / "splits_final.json"
  file.write_text(json.dumps([{"train": ["a"], "val": ["b"]}, {"train": ["b"], "val": ["a"]}]))
  assert splits.count(name="file", path=str(file)) == 2
  for options in ({"name": "explicit", "validation": ["a"]}, {"name": "blocks", "holdout": 2}):
    with pytest.raises(ValueError, match=r"has no folds; choose kfold, blocks or file"):
      splits.count(**options)


def test_each_fold_gets_its_folder_and_its_number(tmp_path):
  seen = []

  def train(config, workdir):
    seen.append((config.data.split.fold, workdir.name))
    return {"step": 5}

  folds.train_folds(config(), tmp_path, "all", train, print)
  assert seen == [(0, "fold_0"), (1, "fold_1"), (2, "fold_2")]


def test_finished_folds_are_left_and_longer_trainings_go_on(tmp_path, capsys):
  write_report(tmp_path / "fold_0", 5)
  write_report(tmp_path / "fold_1", 3)
  seen = []
  folds.train_folds(config(), tmp_path, "0,1", lambda c, w: seen.append(w.name) or {}, print)
  assert seen == ["fold_1"]
  assert "Fold 0 is finished" in capsys.readouterr().out


def test_a_finished_fold_is_gone_through_again_for_probabilities(tmp_path):
  asking = config()
  asking.evaluate.probabilities = True
  for fold in (0, 1):
    write_report(tmp_path / f"fold_{fold}", 5, f"case_{fold}")
  (tmp_path / "fold_0" / "validation" / "case_0_probabilities.npz").touch()
  seen = []
  folds.train_folds(asking, tmp_path, "0,1", lambda c, w: seen.append(w.name) or {}, print)
  assert seen == ["fold_1"]


@pytest.mark.parametrize(
  ("name", "text"),
  [("report.json", "{"), ("validation/scores.json", "[]"), ("validation/a.png", None)],
)
def test_a_fold_whose_end_was_damaged_is_gone_through_again(tmp_path, caplog, name, text):
  write_report(tmp_path / "fold_0", 5)
  scores = tmp_path / "fold_0" / "validation" / "scores.json"
  told = json.loads(scores.read_text())
  scores.write_text(json.dumps({**told, "files": {"a": {"a.png": [3, 12345]}}}))
  (tmp_path / "fold_0" / "validation" / "a.png").write_text("now")
  if text is not None:
    (tmp_path / "fold_0" / name).write_text(text)
  seen = []
  folds.train_folds(config(), tmp_path, "0", lambda c, w: seen.append(w.name) or {}, print)
  assert seen == ["fold_0"]
  (line,) = caplog.messages
  assert name in line
  assert "The end of this run is gone through again" in line


def test_a_signal_ends_the_cross_validation_and_the_next_call_goes_on(tmp_path):
  seen = []

  def train(config, workdir):
    seen.append(workdir.name)
    if len(seen) == 2:
      return None
    write_report(workdir, 5)
    return {"step": 5}

  assert folds.train_folds(config(), tmp_path, "all", train, print) is None
  assert set(folds.train_folds(config(), tmp_path, "all", train, print)) == {1, 2}
  assert seen == ["fold_0", "fold_1", "fold_1", "fold_2"]


def test_folds_of_another_config_are_refused_before_any_training(tmp_path):
  (tmp_path / "fold_2").mkdir()
  (tmp_path / "fold_2" / "config.json").write_text(
    json.dumps({"network": {"name": "vnet"}, **PARTS})
  )
  with pytest.raises(
    ValueError, match=r"fold_2: holds a run .*config.network.name was 'vnet', is 'unet'"
  ):
    folds.train_folds(config(), tmp_path, "all", lambda *a: pytest.fail("trained"), print)


def test_a_folder_is_either_a_run_or_holds_folds(tmp_path):
  (tmp_path / "run").mkdir()
  (tmp_path / "run" / "config.json").write_text("{}")
  with pytest.raises(ValueError, match="holds a run of its own"):
    folds.train_folds(config(), tmp_path / "run", "all", lambda *a: None, print)
  (tmp_path / "cv" / "fold_0").mkdir(parents=True)
  (tmp_path / "cv" / "fold_0" / "config.json").write_text("{}")
  with pytest.raises(ValueError, match=r"holds folds \(fold_0, ...\); add --fold=all"):
    run(config(), tmp_path / "cv")


@pytest.mark.parametrize(("given", "numbers"), [("0,1,2", (0, 1, 2)), ("7 3", (3, 7)), ("5", (5,))])
def test_seeds_are_given_as_numbers(given, numbers):
  assert folds.parse_seeds(given) == numbers


@pytest.mark.parametrize(
  ("given", "message"),
  [
    ("0,0", "0 is named twice"),
    ("all", "expected numbers from 0 to 4294967295"),
    ("-1", "expected numbers from 0"),
    ("4294967296", "expected numbers from 0"),
    ("", "expected numbers from 0"),
  ],
)
def test_other_seeds_are_refused(given, message):
  with pytest.raises(ValueError, match=message):
    folds.parse_seeds(given)


def test_each_seed_gets_its_folder_and_their_scores_are_told_together(tmp_path, capsys):
  seen = []

  def train(config, workdir):
    seen.append((config.seed, workdir.name))
    write_report(workdir, 5)
    report = json.loads((workdir / "report.json").read_text())
    mean = {"dice": 0.8 + 0.1 * config.seed}
    report |= {"best_checkpoint": {"metric": "dice"}, "validation": {"mean": mean}}
    (workdir / "report.json").write_text(json.dumps(report))
    return report

  folds.train_seeds(config(), tmp_path, "1,0", train, print)
  assert seen == [(0, "seed_0"), (1, "seed_1")]
  # the sample deviation of 0.8 and 0.9: 0.1 / sqrt(2)
  assert "dice 0.8500, standard deviation 0.0707 (0.8000, 0.9000)" in capsys.readouterr().out


def test_unfinished_ones_are_trained_together_and_one_that_is_left_alone(tmp_path, capsys):
  calls = []

  def together(configs, workdirs):
    calls.append(
      [(of.data.split.fold, place.name) for of, place in zip(configs, workdirs, strict=True)]
    )
    for place in workdirs[:-1]:
      write_report(place, 5)

  def train(config, workdir):
    calls.append(workdir.name)
    return {}

  write_report(tmp_path / "fold_1", 5)
  assert folds.train_folds(config(), tmp_path, "all", train, print, together=together) is None
  folds.train_folds(config(), tmp_path, "all", train, print, together=together)
  assert calls == [[(0, "fold_0"), (2, "fold_2")], "fold_2"]
  assert "Folds 0, 2 together" in capsys.readouterr().out


@pytest.mark.parametrize(("given", "train"), [("1", folds.train_folds), ("3", folds.train_seeds)])
def test_one_run_is_not_trained_together(tmp_path, given, train):
  with pytest.raises(ValueError, match=f"--together: .* names one .*, {given}; name two or more"):
    train(config(), tmp_path, given, None, print, together=lambda *of: pytest.fail("trained"))


def test_a_folder_holds_folds_or_seeds(tmp_path):
  (tmp_path / "seed_0").mkdir()
  (tmp_path / "seed_0" / "config.json").write_text("{}")
  with pytest.raises(
    ValueError, match=r"holds seeds \(seed_0, ...\); choose another --workdir for"
  ):
    folds.train_folds(config(), tmp_path, "all", lambda *of: pytest.fail("trained"), print)
  with pytest.raises(ValueError, match=r"holds seeds \(seed_0, ...\); add --seeds=0,1,2"):
    run(config(), tmp_path)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"fold": "all", "seeds": "0,1"}, "--fold and --seeds: both are given"),
    ({"together": True}, "--together: needs --fold=all or --seeds=0,1,2"),
  ],
)
def test_flags_that_do_not_go_together_are_refused(tmp_path, options, message):
  with pytest.raises(ValueError, match=message):
    run(config(), tmp_path, **options)
