import csv
import json

import imageio.v3 as imageio
import numpy as np
import pytest
from label_folders import EMPTY, LABEL, PREDICTION, volume, write_nifti

from jaxseg.batch import LabelSpec
from jaxseg.evaluation.folders import read_labels
from jaxseg.evaluation.reporting import as_text
from jaxseg.verbs.evaluate import evaluate, main


@pytest.fixture
def folders(tmp_path):
  """Two volumes (one scored as M1, one empty in both), and one without a prediction."""
  predictions, references = tmp_path / "predictions", tmp_path / "set" / "labelsTr"
  for name, prediction, label in (("a_2", PREDICTION, LABEL), ("a_10", EMPTY, EMPTY)):
    write_nifti(predictions / f"{name}.nii.gz", volume(prediction))
    write_nifti(references / f"{name}.nii.gz", volume(label))
  write_nifti(references / "a_11.nii.gz", volume(LABEL))
  description = {"labels": {"background": 0, "organ": 1}}
  (references.parent / "dataset.json").write_text(json.dumps(description))
  return predictions, references


def test_volumes_have_the_known_scores(folders):
  report = evaluate(*folders)
  assert list(report["cases"]) == ["a_2", "a_10"]
  assert report["labels"] == ["organ"]
  assert report["cases"]["a_2"]["dice"]["organ"] == pytest.approx(2 / 3)
  assert report["cases"]["a_2"]["iou"]["organ"] == pytest.approx(0.5)
  assert np.isnan(report["cases"]["a_10"]["dice"]["organ"])
  # two columns of 1 mm too far to the right
  assert report["foreground"] == pytest.approx({"dice": 2 / 3, "iou": 0.5, "hd95": 2.0})


def test_missing_and_extra_cases_are_told_in_words(folders, capsys):
  predictions, references = folders
  write_nifti(predictions / "b.nii.gz", volume(LABEL))
  imageio.imwrite(predictions / "a_2_overlay.png", PREDICTION)
  np.savez(predictions / "a_2.npz", probabilities=np.zeros(3))
  main([str(predictions), str(references)])
  printed = capsys.readouterr().out
  assert "1 reference(s) have no prediction and are not scored: a_11." in printed
  assert "1 prediction(s) have no reference: b." in printed
  assert "0.6667" in printed
  assert "absent from both" in printed


def test_results_are_written_as_json_and_csv(folders, tmp_path, capsys):
  paths = tmp_path / "out" / "scores.json", tmp_path / "out" / "scores.csv"
  main([*map(str, folders), "--json", str(paths[0]), "--csv", str(paths[1])])
  report = json.loads(paths[0].read_text())
  assert report["cases"]["a_2"]["iou"]["organ"] == pytest.approx(0.5)
  assert report["cases"]["a_10"]["iou"]["organ"] is None
  assert report["missing"] == ["a_11"]
  rows = list(csv.DictReader(paths[1].open()))
  assert [row["case"] for row in rows] == ["a_2", "a_10"]
  assert float(rows[0]["dice"]) == pytest.approx(2 / 3)
  assert rows[1]["dice"] == ""
  assert sorted(p.name for p in paths[0].parent.iterdir()) == ["scores.csv", "scores.json"]


def test_picture_masks_need_no_description(tmp_path):
  for name, prediction, label in (
    ("x", 255 * PREDICTION, 255 * LABEL),
    ("y", np.where(PREDICTION, 255, 128).astype(np.uint8), 255 * PREDICTION),
  ):
    for folder, array in (("p", prediction), ("r", label)):
      (tmp_path / folder).mkdir(exist_ok=True)
      imageio.imwrite(tmp_path / folder / f"{name}.png", array)
  report = evaluate(tmp_path / "p", tmp_path / "r")
  assert report["labels"] == ["128", "255"]
  assert report["cases"]["x"]["dice"]["255"] == pytest.approx(2 / 3)
  assert np.isnan(report["cases"]["x"]["dice"]["128"])
  # predicted where the reference has none: 0, not undefined
  assert report["cases"]["y"]["dice"] == {"128": 0.0, "255": 1.0}
  assert report["mean"]["dice"] == pytest.approx({"128": 0.0, "255": 5 / 6})
  assert report["std"]["dice"]["255"] == pytest.approx(1 / 3 / 2**0.5)
  assert report["foreground"]["dice"] == pytest.approx(5 / 12)


def test_names_may_differ_in_their_ending(tmp_path):
  (tmp_path / "p").mkdir()
  (tmp_path / "r").mkdir()
  imageio.imwrite(tmp_path / "p" / "x.png", LABEL)
  imageio.imwrite(tmp_path / "r" / "x.tif", LABEL)
  assert evaluate(tmp_path / "p", tmp_path / "r")["foreground"]["dice"] == 1.0


def test_ignored_voxels_and_regions_are_scored_as_declared(tmp_path):
  label = LABEL.copy()
  label[:, 7] = 9
  label[2, 2] = 2
  write_nifti(tmp_path / "p" / "x.nii", volume(PREDICTION))
  write_nifti(tmp_path / "r" / "x.nii", volume(label))
  spec = LabelSpec(("whole", "core"), (0, 1, 2), ((1, 2), (2,)), ignore=9)
  report = evaluate(tmp_path / "p", tmp_path / "r", labels=spec)
  # 12 hits, 4 false voxels in columns 6 (column 7 is ignored), 4 missed
  assert report["cases"]["x"]["dice"] == pytest.approx({"whole": 24 / 32, "core": 0.0})
  (tmp_path / "run.json").write_text(json.dumps({"labels": json.loads(spec.to_json())}))
  assert read_labels(tmp_path / "run.json") == spec


def test_many_labels_are_shown_by_their_mean(tmp_path):
  values = np.arange(64, dtype=np.uint8).reshape(8, 8)
  for folder in ("p", "r"):
    (tmp_path / folder).mkdir()
    imageio.imwrite(tmp_path / folder / "x.png", values)
  text = as_text(evaluate(tmp_path / "p", tmp_path / "r"))
  assert ["x", "1.0000", "1.0000", "0.0000"] in [line.split() for line in text.splitlines()]
  assert max(map(len, text.splitlines())) <= 100


def test_grids_that_differ_are_refused_in_words(folders):
  predictions, references = folders
  write_nifti(predictions / "a_2.nii.gz", volume(PREDICTION, 2))
  with pytest.raises(ValueError, match=r"a_2.*shape \(3, 8, 8\) but the prediction \(2, 8, 8\)"):
    evaluate(predictions, references)
  moved = np.diag([1.0, 2.0, 3.0, 1.0])
  moved[0, 3] = 5
  write_nifti(predictions / "a_2.nii.gz", volume(PREDICTION), moved)
  with pytest.raises(ValueError, match=r"a_2.*affines of image and prediction differ by 5\.00"):
    evaluate(predictions, references)
  report = evaluate(predictions, references, check_affine=False)
  assert report["cases"]["a_2"]["iou"]["organ"] == pytest.approx(0.5)


def test_undeclared_label_values_are_refused_in_words(folders):
  predictions, references = folders
  write_nifti(predictions / "a_2.nii.gz", volume(3 * PREDICTION))
  with pytest.raises(ValueError, match=r"predictions/a_2.nii.gz: label value\(s\) \[3\]"):
    evaluate(predictions, references)


def test_descriptions_that_hold_no_labels_are_refused_in_words(tmp_path):
  path = tmp_path / "dataset.json"
  for text, message in (
    ("[1]", "holds a list, expected an object"),
    ('{"labels": null}', 'needs "labels"'),
    ("{", "is damaged or no JSON"),
  ):
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"dataset.json: {message}"):
      read_labels(path)


def test_folders_that_do_not_match_are_refused_in_words(folders, tmp_path):
  predictions, references = folders
  with pytest.raises(FileNotFoundError, match="folder of predictions not found"):
    evaluate(tmp_path / "none", references)
  (tmp_path / "empty").mkdir()
  with pytest.raises(ValueError, match=r"no case in common.*holds no image.*a_2, a_10, a_11"):
    evaluate(tmp_path / "empty", references)
  (predictions / "a_2.nii").write_bytes(b"")
  with pytest.raises(ValueError, match=r"a_2.nii and a_2.nii.gz are both case 'a_2'"):
    evaluate(predictions, references)
  with pytest.raises(ValueError, match=r"unknown metrics \['dcie'\]; choices: dice, iou"):
    evaluate(predictions, references, metrics=("dcie",))
  with pytest.raises(ValueError, match=r"unknown metrics \['psnr'\] \(psnr is of images: a run"):
    evaluate(predictions, references, metrics=("psnr",))
  with pytest.raises(ValueError, match=r"written as .json or .csv"):
    evaluate(predictions, references, out=("scores.txt",))
  with pytest.raises(SystemExit, match=r"evaluate: .*folder of predictions not found"):
    main([str(tmp_path / "none"), str(references)])


def test_real_labels_score_one_against_themselves(real_data, tmp_path):
  labels = real_data / "msd_hippocampus" / "labelsTr"
  for file in sorted(labels.glob("*.nii.gz"))[:2]:
    (tmp_path / file.name).symlink_to(file)
  report = evaluate(tmp_path, labels)
  assert len(report["cases"]) == 2
  assert set(report["labels"]) == {"Anterior", "Posterior"}
  assert report["foreground"] == {"dice": 1.0, "iou": 1.0, "hd95": 0.0}
