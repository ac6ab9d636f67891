"""export-model: one file per format; what cannot be is refused before work begins."""

import dataclasses

import nibabel as nib
import nnunet_models
import numpy as np
import pytest
import run_folders

from jaxseg import packages
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.interop.nnunet_import import import_model
from jaxseg.verbs import export_model, predict


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  return run_folders.write(tmp_path_factory.mktemp("runs") / "run", rank=3)


def export(*arguments):
  export_model.main([str(argument) for argument in arguments])


def refused(capsys, *arguments) -> str:
  """The sentence in which the verb ends."""
  with pytest.raises(SystemExit) as stop:
    export(*arguments)
  return str(stop.value) if isinstance(stop.value.code, str) else capsys.readouterr().err


def test_predict_takes_a_saved_file(run, tmp_path, capsys):
  export(run, "--format", "saved", "--output", tmp_path / "model.saved")
  assert "model.saved: saved, run; jaxseg predict --workdir" in capsys.readouterr().out
  scan = np.random.default_rng(0).standard_normal((20, 18, 33)).astype(np.float32)
  nib.save(nib.Nifti1Image(scan, np.eye(4)), tmp_path / "scan.nii.gz")
  for name, source in (("a", run), ("b", tmp_path / "model.saved")):
    given = ("--workdir", source, "--input", tmp_path / "scan.nii.gz", "--output", tmp_path / name)
    predict.main([str(word) for word in given])
  a, b = (nib.load(tmp_path / name / "scan.nii.gz").get_fdata() for name in "ab")
  np.testing.assert_array_equal(a, b)


def test_a_run_that_is_named_twice_counts_once(run, tmp_path, capsys):
  export(run, run, "--format", "saved", "--output", tmp_path / "model.saved")
  assert "model.saved: saved, run; jaxseg predict" in capsys.readouterr().out


def test_a_program_is_written_for_all_platforms(run, tmp_path, capsys):
  pytest.importorskip("flatbuffers", reason="jax.export needs flatbuffers")
  export(run, "--format", "stablehlo", "--output", tmp_path / "model", "--mirror")
  assert "for cpu, cuda, tpu, guaranteed until 2" in capsys.readouterr().out


def test_all_folds_become_one_model_folder_of_nnunets(tmp_path, capsys):
  import_model(nnunet_models.write(tmp_path / "m", folds=(0, 1)), tmp_path / "run")
  export(tmp_path / "run", "--format", "nnunet", "--output", tmp_path / "out")
  assert "2 fold(s); nnUNetv2_predict_from_modelfolder" in capsys.readouterr().out
  names = sorted(str(of.relative_to(tmp_path / "out")) for of in tmp_path.glob("out/*/*"))
  assert names == ["fold_0/checkpoint_final.pth", "fold_1/checkpoint_final.pth"]
  (tmp_path / "run" / "postprocessing.json").write_text("{}")
  export(tmp_path / "run", "--format", "nnunet", "--output", tmp_path / "again")
  assert "and not part of nnU-Net's model folder" in capsys.readouterr().err
  words = (tmp_path / "run", "--format", "nnunet", "--output", tmp_path / "x")
  assert "best: no checkpoint there" in refused(capsys, *words, "--checkpoint", "best")
  assert not (tmp_path / "x").exists()


def test_a_missing_package_is_told_before_anything_is_written(run, tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(packages, "installed", lambda name: False)
  for form, line in (
    ("stablehlo", "pip install flatbuffers"),
    ("onnx", "pip install jax2onnx onnx"),
  ):
    said = refused(capsys, run, "--format", form, "--output", tmp_path / "model")
    assert "is not installed" in said
    assert line in said
    assert not (tmp_path / "model").exists()


def test_an_existing_output_is_never_overwritten(run, tmp_path, capsys):
  (tmp_path / "model").write_text("mine")
  said = refused(capsys, run, "--format", "saved", "--output", tmp_path / "model")
  assert "model: exists already; choose another name" in said
  assert (tmp_path / "model").read_text() == "mine"


def test_an_unknown_format_is_refused_with_a_suggestion(run, tmp_path, capsys):
  said = refused(capsys, run, "--format", "stablhlo", "--output", tmp_path / "model")
  assert "'stablhlo' is unknown (did you mean 'stablehlo'?); choices: stablehlo, onnx" in said


def test_an_option_of_another_format_is_refused(run, tmp_path, capsys):
  said = refused(capsys, run, "--format", "saved", "--output", tmp_path / "model", "--mirror")
  assert "--mirror: is no option of --format saved, only of stablehlo, onnx" in said


def test_what_is_no_run_is_refused(tmp_path, capsys):
  said = refused(capsys, tmp_path, "--format", "saved", "--output", tmp_path / "model")
  assert "config.json: not found; give the folder of a run" in said


def test_a_cascade_is_refused_for_programs(tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(packages, "installed", lambda name: True)
  place = run_folders.write(tmp_path / "high", prior=3, **{"data.prior": {"run": "low"}})
  said = refused(capsys, place, "--format", "stablehlo", "--output", tmp_path / "model")
  assert "high: is the second stage of a cascade" in said


def test_several_configurations_are_refused(run, tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(packages, "installed", lambda name: True)
  other = run_folders.write(tmp_path / "other", rank=3)
  said = refused(capsys, run, other, "--format", "stablehlo", "--output", tmp_path / "model")
  assert "differ in network, method or data options, or are no folds of one folder" in said


def test_a_note_tells_of_post_processing_that_is_left_out(tmp_path, capsys):
  pytest.importorskip("flatbuffers", reason="jax.export needs flatbuffers")
  place = run_folders.write(tmp_path / "run")
  (place / "postprocessing.json").write_text("{}")
  export(place, "--format", "stablehlo", "--output", tmp_path / "model", "--platforms", "cpu")
  assert "postprocessing.json: is of whole scans and not part of the program" in (
    capsys.readouterr().err
  )


def test_what_is_done_to_whole_scans_is_told():
  """A program of windows cannot turn, crop or resample."""
  plain = Preparation(("a",), 3, ({"name": "none"},), transpose=(0, 1, 2))
  assert export_model._left_out(plain) == ""
  sized = dataclasses.replace(plain, resampling={"size": (8, 16, None)})
  brain = dataclasses.replace(plain, normalisation=({"name": "zscore", "nonzero": True},))
  assert "NaN outside of the body" in export_model._left_out(brain)
  assert export_model._left_out(sized) == "resampled to (8, 16, None) voxels (None stays)"
  full = dataclasses.replace(
    plain, orientation="RAS", transpose=(1, 0, 2), crop_nonzero=True, spacing=(3.0, 1.0, 1.0)
  )
  assert export_model._left_out(full) == (
    "turned to RAS, transposed by (1, 0, 2), cropped to what is not zero, resampled to "
    "(3.0, 1.0, 1.0) mm (None stays)"
  )
