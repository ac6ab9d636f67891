"""predict with folds, several configurations and post-processing; find-best, from the command."""

import functools
import json

import nibabel as nib
import numpy as np
import pytest
import run_folders
import tiny
from scipy import special

from jaxseg import data
from jaxseg.config import domains
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.data.prepared.integrity import file_sum
from jaxseg.inference import Case, postprocessing
from jaxseg.inference.postprocessing import Learned, Step
from jaxseg.runs import folder as run_folder
from jaxseg.runs.load import load
from jaxseg.verbs import find_best, predict

VALUES = np.array([0, 5, 9])


@pytest.fixture(scope="module")
def home(tmp_path_factory):
  """Two configurations of two folds each, and a picture-sized case."""
  folder = tmp_path_factory.mktemp("runs")
  for name, patch in (("a", (16, 16)), ("b", (12, 12))):
    for i in range(2):
      split = {"name": "kfold", "folds": 2, "seed": 0, "fold": i}
      changes = {"data.split": split, "data.patch": patch}
      run_folders.write(folder / name / f"fold_{i}", seed=i, **changes)
  np.save(folder / "scan.npy", tiny.case(0, 2)["image"])
  return folder


def run(*arguments):
  predict.main([str(argument) for argument in arguments])


def image(home):
  return Case({"image": tiny.case(0, 2)["image"], "spacing": np.ones(2, np.float32)})


def logits(home, *names):
  return [load(home / name).logits(image(home)) for name in names]


def read(folder):
  return data.read_label(folder / "scan.nii.gz")[0].reshape(image(None).image.shape[:-1])


def test_a_folder_of_folds_averages_logits(home, tmp_path):
  run("--workdir", home / "a", "--input", home / "scan.npy", "--output", tmp_path)
  mean = sum(logits(home, "a/fold_0", "a/fold_1")) / 2
  np.testing.assert_array_equal(read(tmp_path), VALUES[mean.argmax(-1)])
  again = tmp_path / "again"
  run(
    "--workdir",
    home / "a/fold_0",
    home / "a/fold_1",
    "--input",
    home / "scan.npy",
    "--output",
    again,
  )
  np.testing.assert_array_equal(read(again), read(tmp_path))


def test_configurations_average_probabilities(home, tmp_path):
  options = ("--workdir", home / "a", home / "b", "--input", home / "scan.npy")
  run(*options, "--output", tmp_path, "--probabilities")
  a = sum(logits(home, "a/fold_0", "a/fold_1")) / 2
  b = sum(logits(home, "b/fold_0", "b/fold_1")) / 2
  mean = (special.softmax(a, -1) + special.softmax(b, -1)) / 2
  shares = np.load(tmp_path / "scan_probabilities.npz")["probabilities"]
  np.testing.assert_allclose(shares, mean, rtol=1e-3, atol=1e-5)
  np.testing.assert_array_equal(read(tmp_path), VALUES[mean.argmax(-1)])


def test_learned_steps_are_applied_unless_told_otherwise(home, tmp_path, capsys):
  foreground = Step("foreground", (5, 9))
  file = home / "a" / postprocessing.FILE
  postprocessing.write(file, Learned((foreground,), []))
  try:
    for folder, runs in (("folds", [home / "a"]), ("fold", [home / "a" / "fold_0"])):
      run("--workdir", *runs, "--input", home / "scan.npy", "--output", tmp_path / folder)
      assert "postprocessing.json" in capsys.readouterr().out
    options = ("--workdir", home / "a", "--input", home / "scan.npy")
    run(*options, "--output", tmp_path / "plain", "--no-postprocessing")
  finally:
    file.unlink()
  plain, cleaned = read(tmp_path / "plain"), read(tmp_path / "folds")
  kept = postprocessing.largest_component(plain > 0)
  np.testing.assert_array_equal(cleaned, np.where(kept, plain, 0))
  assert predict.steps_for([home / "a", home / "b"]) is None


def test_missing_steps_are_told(home, tmp_path):
  options = ("--workdir", home / "a", "--input", home / "scan.npy", "--output", tmp_path)
  with pytest.raises(SystemExit, match=r"predict: .*p.json: not found, expected"):
    run(*options, "--postprocessing", tmp_path / "p.json")


def folder_of_cases(home):
  """Images and labels in nnU-Net's raw format, that both configurations name as their source."""
  raw = home / "raw"
  (raw / "imagesTr").mkdir(parents=True)
  (raw / "labelsTr").mkdir()
  description = {
    "channel_names": {"0": "x"},
    "labels": {"background": 0, "dim": 5, "bright": 9},
    "numTraining": 4,
    "file_ending": ".nii.gz",
  }
  (raw / "dataset.json").write_text(json.dumps(description))
  for i in range(4):
    sample = tiny.case(i, 3)
    grid = plain_geometry(sample["label"].shape)
    data.write_image(raw / "imagesTr" / f"c{i}_0000.nii.gz", sample["image"][..., 0], grid)
    data.write_label(raw / "labelsTr" / f"c{i}.nii.gz", VALUES[sample["label"]], grid)
  return raw


def test_find_best_writes_the_command_that_predict_takes(tmp_path, capsys):
  raw = folder_of_cases(tmp_path)
  source = {"name": "nnunet_raw", "path": str(raw)}
  truths = {i: VALUES[tiny.case(i, 3)["label"]] for i in range(4)}
  for name in ("a", "b"):
    for fold in range(2):
      split = {"name": "kfold", "folds": 2, "seed": 0, "fold": fold}
      changes = {"data.split": split, "data.source": source, "seed": fold}
      folder = tmp_path / name / f"fold_{fold}"
      run_folders.write(folder, rank=3, **changes)
      for i in (2 * fold, 2 * fold + 1):
        predicted = truths[i].copy()
        if name == "a":
          predicted[0, 0, 0] = 5 if predicted[0, 0, 0] == 0 else 0  # an island
        else:
          predicted[predicted == 9] = 0
        grid = plain_geometry(predicted.shape)
        data.write_label(folder / "validation" / f"c{i}.nii.gz", predicted, grid)
      files = {f"c{i}.nii.gz" for i in (2 * fold, 2 * fold + 1)}
      sums = {name[:2]: {name: file_sum(folder / "validation" / name)} for name in files}
      cases = {case: {"own": {"dice": {"dim": 1.0, "bright": 1.0}}} for case in sums}
      told = {"step": 6, "complete": True, "labels": ["dim", "bright"]}
      told |= {"cases": cases, "files": sums}
      (folder / "validation" / "scores.json").write_text(json.dumps(told))
  find_best.main([str(tmp_path / "b"), str(tmp_path / "a"), "--no-pairs"])
  told = json.loads((tmp_path / "best.json").read_text())
  assert told["best"] == [str(tmp_path / "a")]
  # one voxel too many beside the 216 of each box, as far as the boxes don't overlap
  dims = [(truths[i] == 5).sum() for i in range(4)]
  expected = np.mean([2 * n / (2 * n + 1) for n in dims])
  assert told["classes"]["plain"] == pytest.approx({"dim": expected, "bright": 1.0})
  assert told["dice_postprocessed"] == 1.0
  assert [one["dice"] for one in told["candidates"]] == sorted(
    (one["dice"] for one in told["candidates"]), reverse=True
  )
  assert "with post-processing: 1.0000" in capsys.readouterr().out

  words = told["command"].split()
  assert words[:2] == ["jaxseg", "predict"]
  places = {"IMAGES": str(raw / "imagesTr"), "SEGMENTATIONS": str(tmp_path / "out")}
  predict.main([places.get(word, word) for word in words[2:]])
  assert nib.load(tmp_path / "out" / "c0.nii.gz").shape == truths[0].shape[::-1]

  scores = tmp_path / "a" / "fold_1" / "validation" / "scores.json"
  half = {**json.loads(scores.read_text()), "complete": False}
  scores.write_text(json.dumps(half))
  with pytest.raises(SystemExit, match=r"fold_1: not all of its validation cases are segmented"):
    find_best.main([str(tmp_path / "b"), str(tmp_path / "a"), "--no-pairs"])


def test_find_best_tells_what_is_missing(home, tmp_path):
  with pytest.raises(SystemExit, match=r"find-best: .*validation: holds no segmentation"):
    find_best.main([str(home / "a"), str(home / "b")])
  with pytest.raises(SystemExit, match=r"find-best: .*config.json: not found"):
    find_best.main([str(tmp_path)])


def test_the_written_command_names_the_scored_domain_where_networks_ask_for_one(home, monkeypatch):
  runs = run_folder.run_folders(home / "a")
  described = {str(run): run_folder.describe(run) for run in runs}
  written = functools.partial(find_best._command, [home / "a"], home / "p.json", described)
  assert "--domain" not in written()
  monkeypatch.setattr(domains, "differ", lambda config: True)
  assert " --domain main " in written()
