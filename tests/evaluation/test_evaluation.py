import csv
import json
import shutil

import imageio.v3 as imageio
import numpy as np
import pytest
from label_folders import EMPTY, LABEL, PREDICTION, volume, write_nifti

from jaxseg.batch import LabelSpec
from jaxseg.evaluation.reporting import as_text
from jaxseg.verbs.evaluate import evaluate, main


def shifted(columns):
  plane = np.zeros((8, 8), np.uint8)
  plane[2:6, 2 + columns : 6 + columns] = 1
  return plane


@pytest.fixture
def methods(tmp_path):
  """Eight cases, a good and a worse method, which misses the organ of the last case."""
  for i in range(8):
    write_nifti(tmp_path / "r" / f"c{i}.nii.gz", volume(LABEL))
    write_nifti(tmp_path / "good" / f"c{i}.nii.gz", volume(shifted(i % 2)))
    write_nifti(tmp_path / "bad" / f"c{i}.nii.gz", volume(EMPTY if i == 7 else shifted(2)))
  description = {"labels": {"background": 0, "organ": 1}}
  (tmp_path / "r" / "dataset.json").write_text(json.dumps(description))
  return tmp_path / "good", tmp_path / "bad", tmp_path / "r"


def test_means_come_with_spread_and_interval(methods):
  good, _, references = methods
  report = evaluate(good, references, metrics=("dice",))
  # four cases of 1, four of 3 / 4
  assert report["mean"]["dice"]["organ"] == pytest.approx(0.875)
  assert report["std"]["dice"]["organ"] == pytest.approx(0.125 * (8 / 7) ** 0.5)
  assert report["median"]["dice"]["organ"] == pytest.approx(0.875)
  # the mean of eight fair coins: 1 to 7 heads hold 99 %, 2 to 6 hold 93 %
  low, high = report["interval"]["dice"]["organ"]
  assert low in (0.75 + 0.25 / 8, 0.75 + 0.5 / 8)
  assert high in (1 - 0.25 / 8, 1 - 0.5 / 8)
  assert report["foreground_interval"]["dice"] == pytest.approx([low, high])
  assert f"{low:.4f} to {high:.4f}" in as_text(report)


def test_infinite_distances_are_counted_and_told_never_averaged(methods, tmp_path):
  _, bad, references = methods
  out = tmp_path / "scores.json", tmp_path / "scores.csv", tmp_path / "summary.csv"
  report = evaluate(bad, references, metrics=("hd95", "nsd"), out=out[:2], summary=out[2])
  assert report["cases"]["c7"]["hd95"]["organ"] == np.inf
  assert report["mean"]["hd95"]["organ"] == pytest.approx(2.0)
  assert report["infinite"]["hd95"]["organ"] == 1
  assert report["infinite"]["nsd"]["organ"] == 0
  text = as_text(report)
  assert "8 (1 inf)" in text
  assert "hd95 is infinite in 1 value(s) (organ 1)" in text
  assert json.loads(out[0].read_text())["cases"]["c7"]["hd95"]["organ"] == "inf"
  assert [row["hd95"] for row in csv.DictReader(out[1].open())][-1] == "inf"
  rows = list(csv.DictReader(out[2].open()))
  assert [(row["metric"], row["label"]) for row in rows][:2] == [
    ("hd95", "organ"),
    ("hd95", "mean of labels"),
  ]
  assert (rows[0]["cases"], rows[0]["infinite"], rows[0]["mean"]) == ("8", "1", "2.0")
  charged = evaluate(bad, references, metrics=("hd95",), options={"hd95": {"one_empty": 100.0}})
  assert charged["mean"]["hd95"]["organ"] == pytest.approx((7 * 2 + 100) / 8)


def test_two_methods_are_compared_case_by_case(methods, tmp_path, capsys):
  good, bad, references = map(str, methods)
  summary = tmp_path / "summary.csv"
  main([good, references, f"--against={bad}", "--metrics", "dice", "hd95", f"--summary={summary}"])
  printed = capsys.readouterr().out
  rows = {(row["metric"], row["label"]): row for row in csv.DictReader(summary.open())}
  # dice 1 or 3/4 against 1/2, and 0 in the last: all eight favour the first, 2 of 2^8 patterns
  dice = rows["dice", "organ"]
  assert float(dice["difference_mean"]) == pytest.approx((4 * 0.5 + 3 * 0.25 + 0.75) / 8)
  assert float(dice["p"]) == pytest.approx(2 / 2**8)
  assert float(dice["p_holm"]) == pytest.approx(2 / 2**8)
  assert float(dice["other_mean"]) == pytest.approx(7 * 0.5 / 8)
  # the distance is smaller each time, infinitely in the last
  assert float(rows["hd95", "organ"]["p"]) == pytest.approx(2 / 2**8)
  assert float(rows["hd95", "organ"]["difference_mean"]) == pytest.approx(-(4 * 2 + 3) / 7)
  assert "0.0078" in printed
  assert "hd95 is infinite in 1 of these pair(s) (organ 1)" in printed
  # means of the seven cases where both are finite, so that they differ by their difference
  line = next(x for x in printed[printed.index("second:") :].splitlines() if x.startswith("hd95"))
  assert line.split()[2:8] == ["8", "(1", "inf)", "0.4286", "2.0000", "-1.5714"]
  assert "Too few cases" not in printed


def test_a_comparison_of_few_cases_says_so(methods):
  good, bad, references = methods
  for i in range(4, 8):
    (bad / f"c{i}.nii.gz").unlink()
  report = evaluate(good, references, against=bad, metrics=("dice",))
  assert list(report["against"]["cases"]) == ["c0", "c1", "c2", "c3"]
  assert report["against"]["compared"]["dice"]["organ"]["p"] == pytest.approx(2 / 16)
  assert "where 4 case(s) differ, p cannot fall below 0.1250" in as_text(report)
  assert report["against"]["missing"] == ["c4", "c5", "c6", "c7"]
  assert "4 reference(s) have no prediction in the second folder: c4, c5" in as_text(report)
  copy = shutil.copytree(good, good.with_name("copy"))
  same = evaluate(good, references, against=copy, metrics=("dice",))
  assert same["against"]["compared"]["dice"]["organ"]["p"] == 1.0


def test_tiny_p_values_are_not_shown_as_zero(tmp_path):
  for i in range(16):
    for name, label in (("good", LABEL), ("r", LABEL), ("bad", shifted(1))):
      write_nifti(tmp_path / name / f"c{i}.nii.gz", volume(label))
  report = evaluate(tmp_path / "good", tmp_path / "r", against=tmp_path / "bad", metrics=("dice",))
  assert report["against"]["compared"]["dice"]["1"]["p"] == 2 / 2**16
  assert as_text(report).count("<0.0001") == 3


def test_options_choose_among_conventions(methods, capsys):
  good, _, references = map(str, methods)
  for tolerance, perfect in (("0.5", False), ("1", True)):
    main([good, references, "--metrics", "nsd", "--tolerance", tolerance, "--workers=1"])
    assert ("c1      1.0000\n" in capsys.readouterr().out) == perfect
  main([good, references, "--metrics", "hd95", "--option", "hd95.percentile=1"])
  assert "c1       0.0000\n" in capsys.readouterr().out
  for option, message in (
    ("hd95.convntion=pooled", "hd95 has no option 'convntion' .did you mean 'convention'"),
    ("hd95.surfaces=1", "hd95 has no option 'surfaces'"),
    ("nsd.tolerance=2", "options for 'nsd', which is not among dice, iou, hd95"),
    ("dice.empty=one", "dice.empty: 'one'; expected a number"),
    ("hd95.percentile=True", "hd95.percentile: True; expected a number"),
    ("hd95.convention=3", "hd95.convention: 3; expected a word"),
    ("hd95.convention=median", "convention is 'median'; expected one of max, pooled"),
    ("hd95", "expected METRIC.OPTION=VALUE"),
  ):
    with pytest.raises(SystemExit, match=message):
      main([good, references, "--option", option])
  for option, expected in (
    ("nsd.tolerance=wide", "a number from 0 or several in parentheses"),
    ("v_rand.thresholds=0.5", "several in parentheses"),
    ("v_rand.thin=1", "True or False"),
    ("lesion_f1.connectivity=1.5", "a whole number from 1 to 3 or None"),
  ):
    with pytest.raises(SystemExit, match=f"^evaluate: {option.split('=')[0]}: .*{expected}"):
      main([good, references, "--metrics", option.partition(".")[0], "--option", option])
  main([good, references, "--metrics", "nsd", "--option", "nsd.tolerance=(1, 2)"])
  assert "Options: nsd.tolerance=(1, 2)." in capsys.readouterr().out
  for path in ("--json=scores.csv", "--csv=scores.json", "--summary=scores.json"):
    with pytest.raises(SystemExit, match="expected a file name that ends in"):
      main([good, references, path])


def test_metrics_that_need_probabilities_find_them_beside_the_prediction(tmp_path):
  predictions, references = tmp_path / "p", tmp_path / "r"
  for name, prediction, label in (("a_2", PREDICTION, LABEL), ("a_10", EMPTY, EMPTY)):
    write_nifti(predictions / f"{name}.nii.gz", volume(prediction))
    write_nifti(references / f"{name}.nii.gz", volume(label))
  description = {"labels": {"background": 0, "organ": 1}}
  (references / "dataset.json").write_text(json.dumps(description))
  with pytest.raises(ValueError, match=r"a_2_probabilities.npz: not found, but auc need"):
    evaluate(predictions, references, metrics=("auc",))
  report = evaluate(predictions, references, metrics=("all",))
  assert report["left_out"] == ["expected_calibration_error", "auc", "average_precision"]
  assert "3 metric(s) of 'all' need probabilities" in as_text(report)
  positive = np.where(volume(PREDICTION) > 0, 0.9, 0.1)
  np.savez_compressed(
    predictions / "a_2_probabilities.npz",
    probabilities=np.stack([1 - positive, positive], -1).astype(np.float32),
  )
  with pytest.raises(ValueError, match=r"a_10_probabilities.npz: not found, but other cases have"):
    evaluate(predictions, references, metrics=("v_rand",))
  np.savez_compressed(predictions / "a_10_probabilities.npz", wrong=np.zeros(3))
  with pytest.raises(
    ValueError, match=r"a_10_probabilities.npz: holds no readable 'probabilities'"
  ):
    evaluate(predictions, references, metrics=("auc",))
  nothing = np.broadcast_to(np.float32([1, 0]), (*positive.shape, 2))
  np.savez_compressed(predictions / "a_10_probabilities.npz", probabilities=nothing)
  report = evaluate(predictions, references, metrics=("all",))
  assert not report["left_out"]
  # of the label's 16 voxels 12 are above, of the others 40 of 48 below
  ordered = (12 * 40 + (12 * 8 + 4 * 40) / 2) / (16 * 48)
  assert report["cases"]["a_2"]["auc"]["organ"] == pytest.approx(ordered)
  assert np.isnan(report["cases"]["a_10"]["auc"]["organ"])
  # .9 sure, right in 52 of 64
  error = abs(52 / 64 - 0.9)
  found = report["cases"]["a_2"]["expected_calibration_error"]["organ"]
  assert found == pytest.approx(error, abs=1e-6)


def test_probabilities_of_one_folder_only_don_t_favour_it(tmp_path):
  for folder in ("p", "q", "r"):
    write_nifti(tmp_path / folder / "x.nii.gz", volume(1 - LABEL))
  # all membrane, no segment
  everywhere = np.broadcast_to(np.float32([0, 1]), (*volume(LABEL).shape, 2))
  np.savez(tmp_path / "p" / "x_probabilities.npz", probabilities=everywhere)
  alone = evaluate(tmp_path / "p", tmp_path / "r", metrics=("v_rand",))
  assert alone["mean"]["v_rand"]["1"] < 1
  for first, second in (("p", "q"), ("q", "p")):
    report = evaluate(
      tmp_path / first, tmp_path / "r", against=tmp_path / second, metrics=("v_rand",)
    )
    assert report["mean"]["v_rand"]["1"] == report["against"]["mean"]["v_rand"]["1"] == 1.0


def test_label_values_may_number_instances(tmp_path):
  label = np.array([[7, 7, 3, 3, 3, 0], [7, 7, 3, 3, 3, 0]], np.uint8)
  prediction = np.array([[1, 1, 1, 2, 2, 0], [1, 1, 1, 2, 2, 4]], np.uint8)
  for folder, array in (("p", prediction), ("r", label)):
    (tmp_path / folder).mkdir()
    imageio.imwrite(tmp_path / folder / "x.png", array)
  report = evaluate(
    tmp_path / "p", tmp_path / "r", metrics=("panoptic_quality", "dice"), instances=True
  )
  assert report["labels"] == ["object"]
  assert report["foreground"]["panoptic_quality"] == pytest.approx(2 * (4 / 6) / 2.5)
  assert report["foreground"]["dice"] == pytest.approx(20 / 21)
  spec = LabelSpec(("background", "cell"), (0, 1), ignore=7)
  report = evaluate(
    tmp_path / "p", tmp_path / "r", labels=spec, metrics=("lesion_precision",), instances=True
  )
  # the ignored object takes most of 1 along; what is left of 1 and 2 are right, 4 is not
  assert report["foreground"]["lesion_precision"] == pytest.approx(2 / 3)


def test_processes_give_the_same_scores(methods):
  good, bad, references = methods
  alone = evaluate(good, references, against=bad)
  together = evaluate(good, references, against=bad, workers=2)
  assert as_text(together) == as_text(alone)
  with pytest.raises(ValueError, match="workers is 0; expected a positive number"):
    evaluate(good, references, workers=0)
