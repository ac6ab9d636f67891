"""predict, of scans that are stored otherwise than the training scans were."""

import dicom_files
import nibabel as nib
import numpy as np
import pytest
import run_folders
import SimpleITK as sitk

from jaxseg.runs import load as trained
from jaxseg.verbs import predict

RAS = np.diag([1.5, 1.0, 2.0, 1.0])
# x and y reversed
LPS = RAS @ np.array([[-1, 0, 0, 15], [0, -1, 0, 17], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def voxels():
  """(16, 18, 20), x first."""
  return np.random.default_rng(3).standard_normal((16, 18, 20)).astype(np.float32)


@pytest.fixture
def scans(tmp_path):
  """One scan, stored three ways, and a file that doesn't tell."""
  folder = tmp_path / "scans"
  folder.mkdir()
  nib.save(nib.Nifti1Image(voxels(), RAS), folder / "ras.nii.gz")
  nib.save(nib.Nifti1Image(voxels()[::-1, ::-1], LPS), folder / "lps.nii.gz")
  image = sitk.GetImageFromArray(np.ascontiguousarray(voxels()[::-1, ::-1].transpose(2, 1, 0)))
  image.SetSpacing((1.5, 1.0, 2.0))
  sitk.WriteImage(image, folder / "itk.nrrd")
  np.save(folder / "plain.npy", voxels().transpose(2, 1, 0))
  return folder


def segmented(runs, scans, output, *options):
  arguments = ["--workdir", *map(str, runs), "--input", str(scans), "--output", str(output)]
  predict.main([*arguments, *options])
  return {
    name: np.asarray(nib.load(output / f"{name}.nii.gz").dataobj)
    for name in ("ras", "lps", "itk", "plain")
  }


@pytest.mark.parametrize("options", [(), ("--mirror", "--probabilities")])
def test_a_scan_stored_otherwise_gives_the_same_segmentation_and_a_word(
  scans, tmp_path, capsys, options
):
  run = run_folders.write(tmp_path / "run", rank=3, seen=("RAS",))
  found = segmented([run], scans, tmp_path / "out", *options)
  np.testing.assert_array_equal(found["lps"], found["ras"][::-1, ::-1])
  np.testing.assert_array_equal(found["itk"], found["ras"][::-1, ::-1])
  np.testing.assert_array_equal(found["plain"], found["ras"])
  if "--probabilities" in options:
    shares = [
      np.load(tmp_path / f"out/{n}_probabilities.npz")["probabilities"] for n in ("ras", "lps")
    ]
    assert np.ptp(shares[0]) > 0.01
    np.testing.assert_array_equal(shares[1], shares[0][:, ::-1, ::-1])
  notes = capsys.readouterr().err
  assert "itk, lps: stored as LPS, the training scans as RAS: turned to RAS" in notes
  assert "plain: without an orientation in the file, taken for RAS" in notes
  assert "ras:" not in notes


def test_a_run_whose_training_files_told_nothing_says_so(scans, tmp_path, capsys):
  run = run_folders.write(tmp_path / "run", rank=3, seen=())
  found = segmented([run], scans, tmp_path / "out")
  assert (found["lps"] != found["ras"][::-1, ::-1]).any()
  assert "stored as LPS, while the training scans' files told" in capsys.readouterr().err


def folds(home, *seen):
  split = {"name": "kfold", "folds": len(seen), "seed": 0}
  return [
    run_folders.write(
      home / f"fold_{i}", rank=3, seed=i, seen=of, **{"data.split": {**split, "fold": i}}
    )
    for i, of in enumerate(seen)
  ]


def test_folds_that_saw_different_orientations_share_one(scans, tmp_path):
  """The second would take LPS as it is; the first needs RAS, which both have seen."""
  runs = folds(tmp_path / "runs", ("RAS",), ("LPS", "RAS"))
  found = segmented([tmp_path / "runs"], scans, tmp_path / "out")
  np.testing.assert_array_equal(found["lps"], found["ras"][::-1, ::-1])
  assert trained.load(runs).described.preparation.seen == ("RAS",)


def test_folds_without_a_common_orientation_are_told(tmp_path):
  runs = folds(tmp_path / "runs", ("RAS",), ("LPS",))
  with pytest.raises(ValueError, match=r"different orientations \(.*fold_0: RAS; .*fold_1: LPS\)"):
    trained.load(runs)


def test_a_dicom_series_is_turned_to_the_nifti_files_of_training(tmp_path, capsys):
  """DICOM's axes grow to the left and to the back."""
  run = run_folders.write(tmp_path / "run", rank=3, seen=("RAS",))
  volume = np.random.default_rng(5).integers(-900, 900, (20, 18, 16)).astype(np.int16)
  (tmp_path / "scans" / "series").mkdir(parents=True)
  dicom_files.write_series(tmp_path / "scans" / "series", volume, spacing=(1.0, 1.5))
  turned = volume[:, ::-1, ::-1].transpose(2, 1, 0)
  nib.save(nib.Nifti1Image(turned.astype(np.float32), RAS), tmp_path / "scans" / "ras.nii.gz")
  predict.main(
    ["--workdir", str(run), "--input", str(tmp_path / "scans"), "--output", str(tmp_path / "out")]
  )
  read = {file.name: nib.load(file) for file in (tmp_path / "out").glob("*.nii.gz")}
  ras = np.asarray(read.pop("ras.nii.gz").dataobj)
  ((_, series),) = read.items()
  assert nib.aff2axcodes(series.affine) == ("L", "P", "S")
  np.testing.assert_array_equal(np.asarray(series.dataobj), ras[::-1, ::-1])
  assert "stored as LPS, the training scans as RAS" in capsys.readouterr().err
