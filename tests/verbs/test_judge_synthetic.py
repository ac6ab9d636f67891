"""judge-synthetic: numbers, the page, and what is refused in words."""

import json

import numpy as np
import pytest
from made_cases import config, trained, untrained

from jaxseg.evaluation import synthetic
from jaxseg.evaluation.synthetic import Windows
from jaxseg.metrics.generation import Nearest, turns
from jaxseg.verbs.judge_synthetic import main
from jaxseg.verbs.predict import main as predict

# eight samples, each with a new critic of a few steps
QUICK = ["--cases", "8", "--copies", "2", "--critic-steps", "2"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  return tmp_path_factory.mktemp("prepared")


@pytest.fixture(scope="module")
def runs(tmp_path_factory, prepared):
  home = tmp_path_factory.mktemp("runs")
  made = {part: trained(prepared, home / part, part) for part in ("masks", "images")}
  made["segment"] = untrained(prepared, home / "segment", "segment")
  return {part: str(folder) for part, folder in made.items()}


def words(runs, **options):
  given = {"masks": runs["masks"], "images": runs["images"], **options}
  return [word for name, value in given.items() for word in (f"--{name}", str(value))]


def test_numbers_and_a_page_with_pictures_come_of_two_runs(runs, tmp_path, capsys):
  output = tmp_path / "judged"
  main([*words(runs, encoder=runs["segment"], output=output), *QUICK])
  numbers = json.loads((output / "synthetic.json").read_text())
  assert numbers["cases"] == {"made": 8, "training": 8, "held_out": 2}
  verdict = numbers["verdict"]
  assert {"new_critic", "new_critic_on_what_it_learnt", "own_critic"} <= verdict.keys()
  assert verdict["asked"] == {"real": 8, "made": 4}
  for kind in ("scores", "pairs"):
    assert 0 <= verdict["own_critic"][kind] <= 1
  assert numbers["features"]["numbers"] == 8  # of the segmenter's bottleneck
  assert numbers["features"]["made_to_training"] >= 0
  assert set(numbers["areas"]) == {"body", "liver", "vessel", "stomach", "kidney", "lesion"}
  copies = numbers["copies"]
  assert copies["samples"] == 2
  assert copies["passed"] is (copies["largest_dice"] < 0.98)
  page = (output / "synthetic.html").read_text()
  assert page.count("data:image/png") == 4  # two sheets, two samples beside what is nearest
  said = capsys.readouterr().out
  assert "Test of copies" in said
  assert "50 %: it cannot tell" in said


def test_masks_of_training_are_told_to_be_no_inventions(runs, tmp_path):
  """Turned label maps of training cases: their areas are real, whatever the images are."""
  main([*words(runs, masks="training", output=tmp_path / "judged"), *QUICK])
  numbers = json.loads((tmp_path / "judged" / "synthetic.json").read_text())
  assert "features" not in numbers
  assert numbers["areas"]["body"]["made"] > 0


def test_copies_of_training_windows_are_found_out():
  random = np.random.default_rng(0)
  case = synthetic._Case(random.integers(0, 2, (20, 20)), random.random((20, 20, 1)), None)
  label = np.rot90(case.labels[3:11, 5:13])[:, ::-1]
  made = Windows(np.stack([label, random.integers(0, 2, (8, 8))]), random.random((2, 8, 8, 1)))
  rows = synthetic._copies(made, made, {"a": case}, ["a"], 2, 2)
  np.testing.assert_array_equal(rows[0]["mask"], label)
  told = synthetic._leak(rows)
  assert told["largest_dice"] == pytest.approx(1, abs=1e-5)
  assert told["passed"] is False
  assert synthetic._leak(rows[1:])["passed"] is True


def test_samples_larger_than_a_case_are_looked_up_in_what_training_pads_it_to():
  random = np.random.default_rng(0)
  case = synthetic._Case(random.integers(0, 2, (6, 20)), random.random((6, 20, 1)), None)
  cut = case.labels[:, 4:12]
  # training has the case in the middle; wherever it lies, it is a copy
  labels = np.stack([np.pad(cut, [(n, 2 - n), (0, 0)]) for n in (1, 0, 2)])
  made = Windows(labels, random.random((3, 8, 8, 1)))
  for row in synthetic._copies(made, made, {"a": case}, ["a"], 2, 3):
    assert row["dice"] == pytest.approx(1, abs=1e-5)
    assert row["image"].shape == (8, 8, 1)


def test_real_windows_of_small_cases_lie_as_training_has_them():
  case = synthetic._Case(np.ones((5, 8), int), np.ones((5, 8, 1)), None)
  drawn = synthetic._drawn([case], 1, (8, 8), np.random.default_rng(0))
  np.testing.assert_array_equal(drawn.labels[0].any(1), [False, *[True] * 5, False, False])


def test_samples_without_foreground_are_no_copies():
  random = np.random.default_rng(0)
  labels = np.zeros((12, 12), int)
  labels[4:7, 5:9] = 1
  case = synthetic._Case(labels, random.random((12, 12, 1)), None)
  made = Windows(
    np.stack([np.zeros((4, 4), int), np.eye(4, dtype=int)]), random.random((2, 4, 4, 1))
  )
  rows = synthetic._copies(made, made, {"a": case}, ["a"], 2, 2)
  told = synthetic._leak(rows)
  assert (told["empty"], told["passed"]) == (1, True)
  assert told["largest_dice"] == rows[1]["dice"] < 0.98
  none = synthetic._leak(rows[:1])
  assert none["passed"]
  assert np.isnan(none["largest_dice"])


def test_a_window_is_shown_as_the_sample_lies():
  whole = np.arange(30 * 2).reshape(5, 6, 2)
  cut = whole[1:4, 2:5]
  for turn, sample in enumerate(turns(cut, 2)):
    # the number of the turn that brings the sample back
    back = next(i for i, of in enumerate(turns(sample, 2)) if np.array_equal(of, cut))
    shown = synthetic._window(whole, Nearest(0, (1, 2), back, 1.0), sample, 1)
    np.testing.assert_array_equal(shown, sample, err_msg=f"turn {turn}")


@pytest.mark.parametrize(
  ("changes", "told"),
  [
    ({"masks": "segment"}, "--masks: .*segments; expected a run that makes label maps"),
    ({"images": "segment"}, "--images: .*segments; expected a run that makes images of labels"),
    ({"encoder": "images"}, "--encoder .*does not segment"),
  ],
)
def test_runs_of_another_kind_are_refused(runs, tmp_path, changes, told):
  changes = {name: runs[part] for name, part in changes.items()}
  with pytest.raises(SystemExit, match=f"judge-synthetic: {told}"):
    main([*words(runs, output=tmp_path / "judged", **changes), *QUICK])


def test_predict_has_nothing_to_do_for_a_run_that_makes_label_maps(runs, tmp_path):
  (tmp_path / "in").mkdir()
  with pytest.raises(SystemExit, match="makes label maps of noise"):
    predict(
      [
        "--workdir",
        runs["masks"],
        "--input",
        str(tmp_path / "in"),
        "--output",
        str(tmp_path / "out"),
      ]
    )


def test_too_few_cases_and_a_run_without_unseen_ones_are_refused(runs, prepared, tmp_path):
  with pytest.raises(SystemExit, match="too few to compare"):
    main([*words(runs, output=tmp_path / "judged", cases=3)])
  whole = untrained(prepared, tmp_path / "whole", "images", data__split={})
  with pytest.raises(SystemExit, match="validates on no case"):
    main([*words(runs, images=whole, output=tmp_path / "judged"), *QUICK])


def test_an_encoder_on_other_voxels_is_refused(runs, prepared, tmp_path):
  other = config(prepared, "segment", data__spacing=(2.0, 2.0))
  assert other.data.spacing == (2.0, 2.0)
  folder = untrained(prepared, tmp_path / "coarse", "segment", data__spacing=(2.0, 2.0))
  with pytest.raises(SystemExit, match="voxels of one size"):
    main([*words(runs, encoder=folder, output=tmp_path / "judged"), *QUICK])
