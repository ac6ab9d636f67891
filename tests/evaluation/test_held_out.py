"""The end of training: validation cases on their own grid, written, scored, resumed, reported."""

import json

import numpy as np
import pytest
import tiny

from jaxseg import loop
from jaxseg.data import read_label
from jaxseg.evaluation import held_out
from jaxseg.evaluation.while_training import absent_classes
from jaxseg.task import segmentation
from jaxseg.verbs.report import report

SHORT = {"steps": 2, "evaluate.every": 1, "evaluate.probabilities": True}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("run")
  return workdir, loop.train(tiny.experiment(**SHORT), workdir)


def brute_force_dice(predicted, truth, value):
  a, b = predicted == value, truth == value
  return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_written_segmentations_have_the_reported_scores(trained):
  workdir, told = trained
  for name in ("case_4", "case_5"):
    predicted, _ = read_label(workdir / "validation" / f"{name}.nii.gz")
    truth = tiny.raw(name, 2).label
    for label, value in (("dim", 5), ("bright", 9)):
      expected = brute_force_dice(predicted, truth, value)
      assert told["cases"][name]["dice"][label] == pytest.approx(expected, abs=1e-6)
    assert set(told["cases"][name]) == {"dice", "iou", "hd95"}


def test_probabilities_are_written_on_request_and_agree_with_the_labels(trained):
  workdir, _ = trained
  path = workdir / "validation" / "case_4_probabilities.npz"
  shares = np.load(path)["probabilities"]
  predicted, _ = read_label(workdir / "validation" / "case_4.nii.gz")
  np.testing.assert_array_equal(np.array([0, 5, 9])[shares.argmax(-1)], predicted)


def test_the_watched_score_of_the_last_step_is_in_the_log_once(trained):
  workdir, _ = trained
  rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
  scored = [(row["step"], row["validation/dice"]) for row in rows if "validation/dice" in row]
  assert [step for step, _ in scored] == [1, 2]
  # nothing is resampled here: both grids are one
  told = held_out.read_scores(workdir)["cases"]["case_4"]
  assert scored[1][1] == pytest.approx(np.mean(list(told["own"]["dice"].values())))
  loop.train(tiny.experiment(**SHORT), workdir)
  assert len((workdir / "metrics.jsonl").read_text().splitlines()) == len(rows)


def test_an_interrupted_end_goes_on_with_the_next_case(trained, tmp_path):
  run = tiny.experiment(**SHORT)
  calls, read = [], []

  def stop():
    calls.append(1)
    return len(calls) == 2

  def reading(name):
    read.append(name)
    return tiny.raw(name, 2)

  def apply(state, batch):
    image = batch["image"]
    return {"logits": np.concatenate([0.5 - image, image, image - 1], -1)}

  class State:
    step = 2

  run = run._replace(read=reading)
  assert held_out.predict(run, apply, State, tmp_path, stop=stop) is None
  assert read == ["case_4"]
  assert not held_out.read_scores(tmp_path)["complete"]
  found = held_out.predict(run, apply, State, tmp_path)
  assert read == ["case_4", "case_5"]
  assert found.fresh
  assert set(found.own.cases) == {"case_4", "case_5"}
  assert not held_out.predict(run, apply, State, tmp_path).fresh
  # other weights: everything anew
  State.step = 3
  assert held_out.predict(run, apply, State, tmp_path).fresh
  assert read[2:] == ["case_4", "case_5"]


def test_what_an_earlier_end_did_not_write_is_made_up_for(tmp_path):
  def apply(state, batch):
    image = batch["image"]
    return {"logits": np.concatenate([0.5 - image, image, image - 1], -1)}

  class State:
    step = 2

  short = tiny.experiment()
  first = held_out.predict(short._replace(watched=(4,)), apply, State, tmp_path)
  assert list(first.watched.cases) == ["case_4"]
  again = held_out.predict(short._replace(watched=(4, 5)), apply, State, tmp_path)
  assert list(again.watched.cases) == ["case_4", "case_5"]
  assert again.own.cases["case_4"] == first.own.cases["case_4"]
  asking = tiny.experiment(**{"evaluate.probabilities": True})
  assert held_out.predict(asking, apply, State, tmp_path).fresh
  assert held_out.without_probabilities(tmp_path, ["case_4", "case_5", "x"]) == ["x"]
  assert not held_out.predict(asking, apply, State, tmp_path).fresh
  # those of an earlier step do not stay beside later segmentations
  State.step = 3
  held_out.predict(short, apply, State, tmp_path)
  assert held_out.without_probabilities(tmp_path, ["case_4", "case_5"]) == ["case_4", "case_5"]


def test_a_trained_run_makes_a_page_from_its_folder_alone(trained, tmp_path):
  import shutil

  shutil.copytree(trained[0], tmp_path / "moved")
  told = report(tmp_path / "moved")
  assert told["foreground"]["dice"] == pytest.approx(trained[1]["validation"]["mean"]["dice"])
  assert "case_4" in (tmp_path / "moved" / "report" / "report.html").read_text(encoding="utf-8")


def test_a_run_is_judged_and_shown_by_the_metric_that_it_names(tmp_path):
  run = tiny.experiment(**SHORT)
  run.config["evaluate"] |= {"metrics": ("assd", "dice"), "best": "assd"}
  task = segmentation(run.main.dataset.labels, ("assd", "dice"), "assd")
  told = loop.train(run._replace(task=task), tmp_path)
  assert told["best_checkpoint"]["metric"] == "assd"
  assert list(told["cases"]["case_4"]) == ["dice", "iou", "hd95", "assd"]
  rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
  assert sum("validation/assd" in row for row in rows) == 2
  assert not any("validation/dice" in row for row in rows)
  report(tmp_path)
  page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
  assert "mean assd over classes" in page
  assert "worst, assd" in page


def test_a_class_that_a_side_of_the_split_lacks_is_told():
  run = tiny.experiment()

  def locations(i):
    found = run.main.dataset.locations(i)
    return {k: v for k, v in found.items() if not (k == 2 and i in run.validation)}

  assert absent_classes(run) == []
  (sentence,) = absent_classes(tiny.with_dataset(run, locations=locations))
  assert sentence.startswith("Warning: none of the 2 validation cases holds bright")


def by_brightness(state, batch):
  image = batch["image"]
  return {"logits": np.concatenate([0.5 - image, image, image - 1], -1)}


class AtStep:
  step = 2


@pytest.mark.parametrize(
  ("name", "text"),
  [
    ("case_4.nii.gz", None),
    ("case_4.nii.gz", b""),
    ("case_4_probabilities.npz", b"cut"),
    ("views/case_4.npz", None),
    ("views/case_4.npz", b"PK cut"),
  ],
)
def test_a_file_that_was_lost_or_damaged_is_made_again(tmp_path, caplog, name, text):
  run = tiny.experiment(**SHORT)
  first = held_out.predict(run, by_brightness, AtStep, tmp_path)
  file = tmp_path / "validation" / name
  whole = {path: path.read_bytes() for path in file.parent.glob("*case_4*")}
  file.unlink() if text is None else file.write_bytes(text)
  assert name.split("/")[-1] in held_out.lost(tmp_path)
  again = held_out.predict(run, by_brightness, AtStep, tmp_path)
  assert again.fresh
  assert again.own.cases == first.own.cases
  assert {path: path.read_bytes() for path in whole} == whole
  assert held_out.lost(tmp_path) == ""
  (line,) = caplog.messages
  assert line.endswith("the case is segmented again.")
  assert str(file) in line


def test_files_of_a_version_without_sums_are_read_to_see_whether_they_are_whole(tmp_path, caplog):
  run = tiny.experiment()
  held_out.predict(run, by_brightness, AtStep, tmp_path)
  scores = tmp_path / "validation" / "scores.json"
  told = json.loads(scores.read_text())
  scores.write_text(json.dumps({k: v for k, v in told.items() if k not in ("files", "digests")}))
  assert not held_out.predict(run, by_brightness, AtStep, tmp_path).fresh
  (tmp_path / "validation" / "case_4.nii.gz").write_bytes(b"cut")
  (tmp_path / "validation" / "views" / "case_5.npz").write_bytes(b"cut")
  assert held_out.predict(run, by_brightness, AtStep, tmp_path).fresh
  assert len(caplog.messages) == 2


def without_digests(change):
  return lambda told: (told.pop("digests"), change(told))


SHAPES = [
  lambda told: told.pop("step"),
  lambda told: told.update(cases={}),
  lambda told: told["cases"]["case_4"].pop("own"),
  lambda told: told["cases"]["case_4"]["own"].update(dice=3),
  lambda told: told["cases"]["case_4"]["own"]["dice"].update(dim="x"),
  lambda told: told.update(files=3),
]


@pytest.mark.parametrize(
  "change",
  [
    lambda told: told["cases"]["case_4"]["own"]["dice"].update(dim=0.99),
    *SHAPES,
    *map(without_digests, SHAPES),
  ],
)
def test_scores_that_were_edited_are_told_and_made_anew(tmp_path, caplog, change):
  run = tiny.experiment()
  first = held_out.predict(run, by_brightness, AtStep, tmp_path)
  scores = tmp_path / "validation" / "scores.json"
  before = scores.read_bytes()
  told = json.loads(before)
  change(told)
  scores.write_text(json.dumps(told))
  with pytest.raises(ValueError, match=r"scores.json: .*give the train command again"):
    held_out.read_scores(tmp_path)
  again = held_out.predict(run, by_brightness, AtStep, tmp_path)
  assert again.own.cases == first.own.cases
  assert scores.read_bytes() == before
  assert (tmp_path / "validation" / "scores.json.damaged-1").is_file()
  assert len(caplog.messages) == 1
