"""explain: maps in the scan's geometry, targets, checks, and what it refuses in words."""

import json
import re

import imageio.v3 as imageio
import nibabel as nib
import numpy as np
import pytest
import run_folders

from jaxseg.data.sources.case_files import find_cases
from jaxseg.explain import scan as scans
from jaxseg.runs.load import as_model, open_runs
from jaxseg.verbs import explain
from jaxseg.verbs.predict import read

AFFINE = np.array([[0, 0, 2.0, 5], [-1.5, 0.2, 0, 7], [0, 1.0, 0, -3], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A 3D run with random weights."""
  return run_folders.write(tmp_path_factory.mktemp("run") / "run", rank=3)


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
  """Two folds of a 2D run."""
  home = tmp_path_factory.mktemp("folds")
  split = {"name": "kfold", "folds": 2}
  for fold in (0, 1):
    changes = {"data.split": {**split, "fold": fold}}
    run_folders.write(home / f"fold_{fold}", seed=fold, **changes)
  return home


@pytest.fixture
def scan(tmp_path):
  voxels = np.random.default_rng(0).standard_normal((20, 11, 33)).astype(np.float32)
  nib.save(nib.Nifti1Image(voxels, AFFINE), tmp_path / "scan.nii.gz")
  return tmp_path / "scan.nii.gz"


@pytest.fixture
def picture(tmp_path):
  path = tmp_path / "picture.npy"
  np.save(path, np.random.default_rng(0).standard_normal((20, 18, 1)).astype(np.float32))
  return path


def main(run, source, output, *options):
  explain.main([str(run), "--input", str(source), "--output", str(output), *options])


def refused(capsys, run, source, output, *options):
  """What the verb says when it ends without a result."""
  with pytest.raises(SystemExit) as ended:
    main(run, source, output, *options)
  words = capsys.readouterr().err if isinstance(ended.value.code, int) else str(ended.value.code)
  assert words.startswith("explain: ")
  assert "\n" not in words.strip()
  return words


def test_a_voxel_is_explained_in_the_scans_geometry_around_it(run, scan, tmp_path):
  out = tmp_path / "out"
  options = ("--target", "voxel", "--at", "25", "5", "10", "--quality")
  main(run, scan, out, "--method", "gradient", "integrated_gradients", *options)
  for name in ("gradient", "integrated_gradients"):
    written = nib.load(out / f"scan_{name}.nii.gz")
    np.testing.assert_allclose(written.affine, AFFINE, atol=1e-6)
    values = written.get_fdata()
    assert values.shape == (20, 11, 33)
    assert values[8:13, 3:8, 23:28].any()
    # beyond the patch, which is around the voxel
    assert not values[..., :8].any()
  (told,) = json.loads((out / "explain.json").read_text())
  assert told["words"].startswith(("background", "dim", "bright"))
  assert "voxel 25:5:10: 1 voxel " in told["words"]
  numbers = {of["name"]: of["numbers"] for of in told["maps"]}
  assert numbers["integrated_gradients"]["completeness_error"] < 0.01
  assert 0 <= numbers["gradient"]["deletion_area"] <= 1
  assert imageio.imread(out / "scan_explained.png").ndim == 3
  assert "data:image/png;base64" in (out / "explain.html").read_text()


def test_the_deepest_and_the_last_stage_are_the_default_and_random_weights_are_tried(
  flat, picture, tmp_path
):
  out, label = tmp_path / "out", tmp_path / "label.npy"
  truth = np.zeros((20, 18), np.uint8)
  truth[4:9, 4:9] = 9
  np.save(label, truth)
  options = ("--target", "region", "--region", "4:9", "4:9", "--class", "bright")
  main(flat / "fold_0", picture, out, *options, "--randomise", "--label", str(label))
  (told,) = json.loads((out / "explain.json").read_text())
  names = [of["name"] for of in told["maps"]]
  assert len(names) == 2
  assert all(name.startswith("grad_cam_") for name in names)
  for of in told["maps"]:
    assert 0 <= of["numbers"]["share_in_label"] <= 1
    assert "likeness_after_randomising_all" in of["numbers"]


def test_folds_give_the_mean_of_their_maps_and_tell_where_they_disagree(flat, picture, tmp_path):
  options = ("--target", "region", "--region", "0:20", "0:18", "--class", "dim")
  folders = (flat, flat / "fold_0", flat / "fold_1")
  for number, run in enumerate(folders):
    main(run, picture, tmp_path / str(number), "--method", "gradient", *options)
  both, first, second = (
    nib.load(tmp_path / str(number) / "picture_gradient.nii.gz").get_fdata() for number in range(3)
  )
  np.testing.assert_allclose(both, (first + second) / 2, rtol=1e-4, atol=1e-6)
  main(flat, picture, tmp_path / "many", "--method", "ensemble", "entropy")
  found = nib.load(tmp_path / "many" / "picture_ensemble_mutual_information.nii.gz").get_fdata()
  assert (found >= 0).all()
  assert found.max() > 0


def test_layers_are_listed_with_the_default_marked(run, capsys):
  explain.main([str(run), "--layers"])
  lines = capsys.readouterr().out.splitlines()
  assert any(line.startswith("encoder1 ") for line in lines)
  assert sum(" * " in line for line in lines) == 2


VOXEL = ("--target", "voxel", "--at", "1", "1", "1")
BAD = {
  ("--method", "grad_can"): "no such method .*did you mean 'grad_cam'",
  ("--layer", "encodr1", *VOXEL): "no such layer; nearest: encoder1",
  ("--method", "cam", "--layer", "encoder1", *VOXEL): "is no 1x1 convolution .*choices: head",
  ("--target", "voxel"): "--target voxel: needs --at",
  ("--at", "1", "1", "1"): "--at: is of --target voxel, but the target is class",
  ("--target", "voxel", "--at", "1", "1"): "2 axes; expected 3",
  ("--target", "voxel", "--at", "33", "1", "1"): "33 lies outside of the scan",
  ("--target", "region", "--region", "1", "2", "3"): "--region 1: expected a range",
  ("--target", "region", "--region", "5:3", "0:1", "0:1"): "5:3 lies outside",
  ("--target", "mask", "--mask", "nowhere.nii.gz"): "nowhere.nii.gz",
  ("--class", "brigth"): "no such class .*did you mean 'bright'",
  ("--set", "sample=3", "--method", "smooth_grad"): "no such option .*did you mean 'samples'",
  ("--set", "samples", "--method", "smooth_grad"): "expected NAME=VALUE",
  ("--set", "samples=0", "--method", "smooth_grad"): "samples=0: expected a whole number from 1",
  ("--set", "samples=2.5", "--method", "smooth_grad"): "samples=2.5: expected a whole number",
  ("--set", "noise=-0.1", "--method", "smooth_grad"): "noise=-0.1: expected a number from 0",
  ("--set", "seed=1.5", "--method", "monte_carlo_dropout"): "seed=1.5: expected a whole number",
  ("--set", "steps=2.5", "--method", "integrated_gradients"): "steps=2.5: expected a whole number",
  ("--set", "tolerance=True", "--method", "integrated_gradients"): "tolerance=True: expected a num",
  ("--set", "box=(2,3.5,2)", "--method", "occlusion"): "expected a whole number from 0",
  ("--method", "gradient", "--layer", "encoder1"): "look at no layer",
  ("--method", "entropy", "--quality"): "--quality: entropy explain no target",
  ("--method", "entropy", "--class", "dim"): "--class: entropy explain no target",
  ("--method", "entropy", *VOXEL): "--target: entropy explain no target",
  ("--method", "entropy", "--score", "logit"): "--score: entropy explain no target",
  ("--method", "entropy", "--windows", "2"): "--windows: entropy explain no target",
  ("--method", "ensemble"): "needs two runs or more",
  ("--method", "monte_carlo_dropout"): "has no dropout",
  ("--method", "attention", *VOXEL): "no attention maps",
}


@pytest.mark.parametrize("options", BAD, ids=" ".join)
def test_bad_input_is_refused_in_a_sentence(options, run, scan, tmp_path, capsys):
  words = refused(capsys, run, scan, tmp_path / "out", *options)
  assert re.search(BAD[options], words), words


@pytest.mark.parametrize(
  ("shape", "words"), [((20, 11, 32), "grid"), ((20, 11, 33), "is 0 everywhere")]
)
def test_a_mask_of_another_scan_or_without_a_voxel_is_refused(
  shape, words, run, scan, tmp_path, capsys
):
  mask = tmp_path / "mask.nii.gz"
  nib.save(nib.Nifti1Image(np.zeros(shape, np.uint8), AFFINE), mask)
  options = ("--method", "gradient", "--target", "mask", "--mask", str(mask))
  assert words in refused(capsys, run, scan, tmp_path / "out", *options)


def test_a_class_that_is_absent_is_told_with_those_that_are_there(run, scan, tmp_path, capsys):
  words = [
    refused(capsys, run, scan, tmp_path / "out", "--method", "gradient", "--class", name)
    for name in ("dim", "bright")
    if name not in _predicted(run, scan)
  ]
  assert words
  assert all("is absent: the run predicts no voxel of it" in word for word in words)


def _predicted(run, scan):
  opened = open_runs(run)
  subject = scans.subject(opened, as_model(opened))
  (case,) = find_cases(scan).cases.values()
  return scans.present(scans.scan(subject, read(case, subject.model.described), "scan"))
