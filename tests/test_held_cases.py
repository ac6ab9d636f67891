"""Cases of another stream that the final weights are scored on: config.evaluate.streams."""

import json

import numpy as np
import pytest
import run_folders

from jaxseg import data, defaults, loop
from jaxseg.batch import LabelSpec
from jaxseg.data.formats.images import read_label
from jaxseg.evaluation import held_out
from jaxseg.experiment import experiment
from jaxseg.runs import checkpoint
from jaxseg.verbs.find_best import find_best
from jaxseg.verbs.report import report

UNSEEN = ("other_0", "other_3")


def phantom(**options):
  return dict(name="phantom", cases=4, size=(24, 24)) | options


@pytest.fixture(autouse=True)
def other(monkeypatch):
  """A source of cases with names of their own, whose labels are stored with other values."""
  made = data.SOURCES["phantom"]

  def renamed(*, cases=4, size=(24, 24), appearance="ct", channels=1, seed=0, shift=100):
    options = {"cases": cases, "size": size, "appearance": appearance, "channels": channels}
    source = made(**options, seed=seed)
    names = {f"other_{i}": name for i, name in enumerate(source.cases)}
    labels = source.labels
    stored = (0, *(value + shift for value in labels.stored_values[1:]))

    def read(case):
      raw = source.read(names[case])
      label = None if raw.label is None else np.where(raw.label, raw.label + shift, 0)
      return raw._replace(label=label)

    values, known = LabelSpec(labels.names, stored), f"other{source.fingerprint}{shift}"
    return source._replace(
      name="other", cases=tuple(names), labels=values, read=read, fingerprint=known
    )

  monkeypatch.setitem(data.SOURCES, "renamed", renamed)


def target(**changes):
  split = dict(name="explicit", validation=UNSEEN, labelled=0)
  source = phantom(name="renamed", appearance="mr", seed=5)
  return dict(source=source, split=split, foreground=0.0) | changes


def config_of(folder, **changes):
  config = defaults.config()
  config.steps = 2
  config.log_every = 1
  config.network = dict(name="unet", widths=(4, 8), depth=1, decoder_depth=1)
  config.data.source = phantom()
  config.data.split = dict(name="kfold", fold=0, folds=4, seed=0)
  config.data.folder = str(folder)
  config.data.patch = (16, 16)
  config.data.batch = 2
  config.data.foreground = 0.0
  config.data.normalise = "zscore"
  config.evaluate.every = 1
  config.evaluate.streams = ("unlabelled",)
  config.streams = dict(unlabelled=target())
  defaults.assign(config, changes)
  return config


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp("domains")


@pytest.fixture
def trained(folder):
  """(experiment, report) of a run that is trained once."""
  run = experiment(config_of(folder / "sets"))
  report = folder / "run" / "report.json"
  return run, json.loads(report.read_text()) if report.exists() else loop.train(run, folder / "run")


def test_the_unseen_cases_of_the_other_domain_alone_are_scored_at_the_end(trained, folder):
  run, told = trained
  assert "label" not in run.streams["unlabelled"].dataset.load(0)
  assert set(told["cases"]) == set(UNSEEN)
  scores = held_out.read_scores(folder / "run")
  assert set(scores["cases"]) == set(UNSEEN)
  # each on its own grid alone: nothing was chosen by them
  assert all(set(of) == {"own"} for of in scores["cases"].values())
  # they are written with the values that their own files have
  written, _ = read_label(folder / "run" / "validation" / "other_0.nii.gz")
  assert set(np.unique(written)) <= {0, *range(101, 107)}
  truth = run.scored_cases[0].read("other_0").label
  value, name = run.scored_cases[0].dataset.labels.stored_values[1], run.task.scored[0]
  a, b = written == value, truth == value
  expected = 2 * (a & b).sum() / max(a.sum() + b.sum(), 1)
  assert told["cases"]["other_0"]["dice"][name] == pytest.approx(expected, abs=1e-6)


@pytest.mark.usefixtures("trained")
def test_the_best_checkpoint_is_chosen_by_cases_of_the_main_stream(folder):
  rows = [json.loads(x) for x in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
  watched = {row["step"]: row["validation/dice"] for row in rows if "validation/dice" in row}
  assert set(watched) == {1, 2}
  report = json.loads((folder / "run" / "report.json").read_text())
  best = report["best_checkpoint"]
  assert best["watched"] == pytest.approx(max(watched.values()))
  assert best["watched"] != pytest.approx(report["validation"]["mean"]["dice"])


def test_labels_of_the_scored_domain_change_no_weight_and_no_choice(tmp_path):
  def run(shift, folder):
    stream = target(source=phantom(name="renamed", shift=shift, seed=5))
    config = config_of(tmp_path / "sets", method=dict(name="entropy_minimisation"))
    config.streams = dict(unlabelled=stream)
    told = loop.train(experiment(config), folder)
    kept = checkpoint.Checkpoints(folder, checkpoint.LATEST)
    return kept.arrays(kept.steps[0]), told["best_checkpoint"]

  before, chosen = run(100, tmp_path / "a")
  after, too = run(200, tmp_path / "b")
  assert chosen == too
  for name in before:
    np.testing.assert_array_equal(before[name], after[name], err_msg=name)


@pytest.mark.bits
def test_a_stream_that_is_scored_alone_changes_no_bit_of_training(tmp_path):
  def weights(config, folder):
    loop.train(experiment(config), folder)
    kept = checkpoint.Checkpoints(folder, checkpoint.LATEST)
    return kept.arrays(kept.steps[0])

  alone = config_of(tmp_path / "sets", **{"evaluate.streams": (), "streams": {}})
  before = weights(alone, tmp_path / "alone")
  after = weights(config_of(tmp_path / "sets"), tmp_path / "scored")
  for name in before:
    np.testing.assert_array_equal(before[name], after[name], err_msg=name)


def test_both_domains_are_scored_where_both_are_named(tmp_path):
  config = config_of(tmp_path / "sets", **{"evaluate.streams": ("main", "unlabelled")})
  run = experiment(config)
  told = loop.train(run, tmp_path / "run")
  own = {run.main.dataset.names[i] for i in run.validation}
  assert set(told["cases"]) == own | set(UNSEEN)
  # a finished run is not scored again
  loop.train(run, tmp_path / "run")
  assert set(report(tmp_path / "run")["cases"]) == set(told["cases"])
  with pytest.raises(ValueError, match="scores the cases of other streams"):
    find_best([tmp_path / "run"], output=tmp_path / "best")


def test_a_run_that_scores_other_cases_is_another_one(folder, tmp_path):
  run_folders.leave(tmp_path / "run", experiment(config_of(folder / "sets")), step=1)
  config = config_of(folder / "sets", **{"evaluate.streams": ("main", "unlabelled")})
  with pytest.raises(ValueError, match=r"other cases that are scored \(config.evaluate.streams"):
    loop.train(experiment(config), tmp_path / "run")


@pytest.mark.parametrize(
  ("stream", "changes", "words"),
  [
    (target(), {"evaluate.streams": ("unlabeled",)}, "no stream 'unlabeled' .*'unlabelled'"),
    (target(split={}), {}, r"config.streams.unlabelled.split: no case of it validates"),
    (
      dict(cases="unlabelled"),
      {"data.split": dict(name="kfold", folds=4, labelled=1)},
      r"config.streams.unlabelled.split: no case of it validates",
    ),
    (
      target(source=phantom(name="renamed", size=(8, 24, 24)), slices=0),
      {},
      r"have 3 axes, the main stream's 2",
    ),
    (
      target(source=phantom(name="renamed", channels=2)),
      {},
      r"have 2 channel\(s\), the main stream's 1",
    ),
    (target(classes=("lung",)), {}, r"config.streams.unlabelled.classes: .*'lung' is none of them"),
    (target(classes=("liver",)), {}, "choose those that count by config.data.classes"),
    (target(), {"data.split": dict(name="kfold", folds=4, labelled=0)}, "learn from labels"),
  ],
)
def test_domains_that_do_not_fit_are_told_before_data_are_prepared(
  tmp_path, stream, changes, words
):
  config = config_of(tmp_path / "sets", streams=dict(unlabelled=stream), **changes)
  with pytest.raises(ValueError, match=words):
    experiment(config)
  assert not (tmp_path / "sets").exists()


def test_two_cases_of_one_name_cannot_both_be_scored(tmp_path):
  config = config_of(tmp_path, **{"evaluate.streams": ("main", "unlabelled")})
  split = dict(name="kfold", fold=0, folds=4, seed=0, labelled=0)
  config.streams = dict(unlabelled=target(source=phantom(seed=5), split=split))
  with pytest.raises(ValueError, match=r"are both called '.*'; expected names of their own"):
    experiment(config)
