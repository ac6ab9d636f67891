"""Runs packed into a file: what prediction needs, and nothing that only training does."""

import json
import shutil
import zipfile

import numpy as np
import pytest
import run_folders

from jaxseg.inference import Case
from jaxseg.interop.exports import saved
from jaxseg.runs.load import load


def logits(folders):
  image = np.random.default_rng(0).standard_normal((20, 17, 1)).astype(np.float32)
  case = Case({"image": image, "spacing": np.ones(2, np.float32)})
  return load(folders).logits(case)


def test_a_run_unpacked_predicts_what_it_did(tmp_path):
  run = run_folders.write(tmp_path / "run")
  expected = logits(run)
  told = saved.write(tmp_path / "file", [run])
  shutil.rmtree(run)
  assert told["expires"] is None
  with saved.unpacked([tmp_path / "file"]) as folders:
    np.testing.assert_array_equal(logits(folders), expected)
    (folder,) = folders
  assert not folder.exists()


def test_optimisers_stay_behind(tmp_path):
  run = run_folders.write(tmp_path / "run")
  saved.write(tmp_path / "file", [run])
  with saved.unpacked([tmp_path / "file"]) as (folder,):
    (note,) = folder.rglob("note.json")
    arrays = json.loads(note.read_text())["arrays"]
  (before,) = run.rglob("note.json")
  assert any("opt_state" in name for name in json.loads(before.read_text())["arrays"])
  assert not any("opt_state" in name for name in arrays)


def test_folds_keep_their_names_and_their_post_processing(tmp_path):
  folds = [run_folders.write(tmp_path / "all" / f"fold_{i}", seed=i) for i in (0, 1)]
  (tmp_path / "all" / "postprocessing.json").write_text("{}")
  saved.write(tmp_path / "file", folds)
  with saved.unpacked([tmp_path / "file"]) as folders:
    assert [folder.name for folder in folders] == ["fold_0", "fold_1"]
    assert (folders[0].parent / "postprocessing.json").read_text() == "{}"


def test_a_cascade_takes_its_first_stage_along(tmp_path):
  run_folders.write(tmp_path / "low")
  second = run_folders.write(tmp_path / "high", prior=3, **{"data.prior": {"run": "low"}})
  told = saved.write(tmp_path / "file", [second])
  assert (told["runs"], told["packed"]) == (["high"], ["high", "low"])
  shutil.rmtree(tmp_path / "low")
  with saved.unpacked([tmp_path / "file"]) as folders:
    assert load(folders).described.config["data"]["prior"] == {"run": "low"}


def test_folders_are_passed_on(tmp_path):
  with saved.unpacked([tmp_path]) as folders:
    assert folders == [tmp_path]


def test_two_runs_of_one_name_are_refused(tmp_path):
  runs = [run_folders.write(tmp_path / side / "run") for side in ("a", "b")]
  with pytest.raises(ValueError, match=r"b/run: has the name of .*a/run; rename one"):
    saved.write(tmp_path / "file", runs)


def told(form: str, runs=()) -> str:
  return json.dumps({"format": form, "made": "", "expires": None, "versions": {}, "runs": runs})


def test_files_that_are_cut_off_or_others_are_refused(tmp_path):
  saved.write(tmp_path / "file", [run_folders.write(tmp_path / "run")])
  whole = (tmp_path / "file").read_bytes()
  (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
  with zipfile.ZipFile(tmp_path / "program", "w") as archive:
    archive.writestr("model.json", told("stablehlo"))
  with zipfile.ZipFile(tmp_path / "outside", "w") as archive:
    archive.writestr("model.json", told("saved", ["run"]))
    archive.writestr("run/config.json", "{}")
    archive.writestr("../escaped", "x")
  for name, runs in (("empty", []), ("numbers", [3]), ("elsewhere", [str(tmp_path / "run")])):
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
      archive.writestr("model.json", told("saved", runs))
  for name, words in (
    ("cut", "cut off, damaged or another kind of file"),
    ("program", "of the format 'stablehlo'"),
    ("outside", "lies outside of it"),
    ("empty", r"lacks the runs \[\] that it tells of"),
    ("numbers", r"lacks the runs \[3\]"),
    ("elsewhere", r"lacks the runs \['"),
  ):
    with pytest.raises(ValueError, match=words), saved.unpacked([tmp_path / name]):
      pass
