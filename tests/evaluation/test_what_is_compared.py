"""Files of different kinds against each other: whose spacing counts, which values mean the same."""

import json

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image

from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.data.formats.images import write_label
from jaxseg.evaluation.reporting import as_text
from jaxseg.verbs.evaluate import evaluate

CUBE = np.zeros((8, 8, 8), np.uint8)
CUBE[2:5, 2:6, 2:6] = 1
MOVED = np.roll(CUBE, 1, 0)
SQUARE = CUBE[3]


def save(path, array, spacing=(1.0, 1.0, 1.0)):
  path.parent.mkdir(exist_ok=True, parents=True)
  if path.name.endswith((".nii", ".nii.gz")):
    affine = np.diag([*spacing[::-1][: array.ndim], *([1.0] * (4 - array.ndim))])
    nib.save(nib.Nifti1Image(array.T, affine), path)
  elif path.suffix == ".npy":
    np.save(path, array)
  elif path.suffix == ".png":
    Image.fromarray(array).save(path)
  elif path.suffix == ".tif":
    tifffile.imwrite(path, array, photometric="minisblack")
  else:
    write_label(path, array, plain_geometry(array.shape, spacing))


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".h5", ".tif", ".nrrd"])
@pytest.mark.parametrize("reference", [".nii.gz", ".mha"])
def test_distances_are_in_the_references_millimetres(tmp_path, suffix, reference):
  save(tmp_path / f"r/c0{reference}", CUBE, (3.0, 1.0, 1.0))
  spacing = (3.0, 1.0, 1.0) if suffix == ".nrrd" else (1.0, 1.0, 1.0)
  save(tmp_path / f"p/c0{suffix}", MOVED, spacing)
  report = evaluate(tmp_path / "p", tmp_path / "r", metrics=("hausdorff",))
  # one slice apart, three millimetres thick
  assert report["cases"]["c0"]["hausdorff"]["1"] == pytest.approx(3)
  assert "In millimetres: hausdorff" in as_text(report)


def test_pictures_are_measured_by_a_reference_of_nifti_or_a_prediction_of_it(tmp_path):
  nifti, picture = ("a", ".nii.gz"), ("b", ".png")
  for folder, suffix in (nifti, picture):
    save(tmp_path / f"{folder}/c0{suffix}", SQUARE, (0.5, 0.5))
  save(tmp_path / "p/c0.png", np.roll(SQUARE, 1, 1))
  report = evaluate(tmp_path / "p", tmp_path / "a", metrics=("hausdorff",))
  assert report["cases"]["c0"]["hausdorff"]["1"] == pytest.approx(0.5)
  save(tmp_path / "q/c0.nii.gz", np.roll(SQUARE, 1, 1), (0.5, 0.5))
  report = evaluate(tmp_path / "q", tmp_path / "b", metrics=("hausdorff",))
  assert report["cases"]["c0"]["hausdorff"]["1"] == pytest.approx(0.5)
  report = evaluate(tmp_path / "p", tmp_path / "b", metrics=("hausdorff",))
  assert report["cases"]["c0"]["hausdorff"]["1"] == pytest.approx(1)
  assert "In voxels, as no file tells a spacing: hausdorff" in as_text(report)


def test_headers_in_micrometres_are_measured_in_millimetres(tmp_path):
  for folder, array in (("r", CUBE), ("p", np.roll(CUBE, 1, 2))):
    (tmp_path / folder).mkdir()
    image = nib.Nifti1Image(array.T, np.diag([500.0, 500, 800, 1]))
    image.header.set_xyzt_units("micron")
    nib.save(image, tmp_path / folder / "c0.nii.gz")
  report = evaluate(tmp_path / "p", tmp_path / "r", metrics=("hausdorff",))
  assert report["cases"]["c0"]["hausdorff"]["1"] == pytest.approx(0.5, rel=1e-6)


def test_spacings_that_differ_are_told_with_both_files(tmp_path):
  save(tmp_path / "r/c0.nii.gz", CUBE, (3.0, 1.0, 1.0))
  save(tmp_path / "p/c0.nii.gz", MOVED)
  with pytest.raises(ValueError, match=r"p/c0\.nii\.gz against .*r/c0\.nii\.gz: the affines"):
    evaluate(tmp_path / "p", tmp_path / "r")
  save(tmp_path / "q/c0.tif", MOVED)
  (tmp_path / "q/c0.json").write_text('{"spacing": [1, 1, 1]}')
  with pytest.raises(ValueError, match=r"a spacing of \(3, 1, 1\) .*the prediction of \(1, 1, 1\)"):
    evaluate(tmp_path / "q", tmp_path / "r")


@pytest.mark.parametrize("suffix", [".png", ".nii.gz", ".npy"])
def test_values_that_are_not_shared_are_told(tmp_path, suffix):
  for folder, factor in (("r", 1), ("p", 255)):
    for i in range(2):
      save(tmp_path / folder / f"c{i}{suffix}", SQUARE * np.uint8(factor))
  message = r"/p: predictions and references share no label value .*hold 255, the references 1;"
  with pytest.raises(ValueError, match=message):
    evaluate(tmp_path / "p", tmp_path / "r")
  # objects are numbered, and 255 is an object
  report = evaluate(tmp_path / "p", tmp_path / "r", metrics=("dice",), instances=True)
  assert report["mean"]["dice"]["object"] == 1


def test_values_that_are_shared_in_another_case_are_no_mistake(tmp_path):
  save(tmp_path / "r/c0.png", SQUARE)
  save(tmp_path / "r/c1.png", SQUARE * 2)
  for i in range(2):
    save(tmp_path / f"p/c{i}.png", SQUARE)
  report = evaluate(tmp_path / "p", tmp_path / "r", metrics=("dice",))
  assert report["strange"] == []
  assert report["cases"]["c1"]["dice"] == {"1": 0, "2": 0}


def test_a_predicted_value_of_no_reference_is_told(tmp_path):
  predicted = SQUARE.copy()
  predicted[0, 0] = 7
  save(tmp_path / "r/c0.png", SQUARE)
  save(tmp_path / "p/c0.png", predicted)
  report = evaluate(tmp_path / "p", tmp_path / "r", metrics=("dice",))
  assert report["strange"] == [7]
  assert "1 predicted value(s) occur in no reference" in as_text(report)
  description = {"labels": {"background": 0, "ball": 1, "box": 2}}
  (tmp_path / "r/dataset.json").write_text(json.dumps(description))
  with pytest.raises(ValueError, match=r"p/c0\.png: label value\(s\) \[7\] are not among"):
    evaluate(tmp_path / "p", tmp_path / "r")


def test_empty_predictions_and_references_are_scored_not_refused(tmp_path):
  save(tmp_path / "r/c0.png", SQUARE)
  save(tmp_path / "p/c0.png", SQUARE * 0)
  report = evaluate(tmp_path / "p", tmp_path / "r", metrics=("dice",))
  assert report["cases"]["c0"]["dice"]["1"] == 0
  assert evaluate(tmp_path / "r", tmp_path / "p", metrics=("dice",))["strange"] == []


def test_ignored_voxels_of_a_reference_are_not_scored(tmp_path):
  truth = SQUARE.copy()
  truth[:, 6:] = 2
  predicted = SQUARE.copy()
  predicted[0, 6:] = 1
  save(tmp_path / "r/c0.png", truth)
  save(tmp_path / "p/c0.png", predicted)
  description = {"labels": {"background": 0, "ball": 1, "ignore": 2}}
  (tmp_path / "r/dataset.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(description).encode())
  report = evaluate(tmp_path / "p", tmp_path / "r", metrics=("dice",))
  assert report["cases"]["c0"]["dice"]["ball"] == 1


@pytest.mark.parametrize("other", [".npy", ".nii", ".h5", ".tif"])
def test_two_files_of_one_case_are_told(tmp_path, other):
  save(tmp_path / "r/c0.nii.gz", CUBE)
  save(tmp_path / "p/c0.nii.gz", CUBE)
  save(tmp_path / f"p/c0{other}", CUBE)
  with pytest.raises(ValueError, match=r"are both case 'c0'; keep one"):
    evaluate(tmp_path / "p", tmp_path / "r")


def test_probabilities_of_nnunet_beside_a_segmentation_are_no_second_one(tmp_path):
  save(tmp_path / "r/c0.nii.gz", CUBE)
  save(tmp_path / "p/c0.nii.gz", CUBE)
  np.savez(tmp_path / "p/c0.npz", probabilities=np.zeros((2, 8, 8, 8), np.float32))
  report = evaluate(tmp_path / "p", tmp_path / "r", metrics=("dice",))
  assert report["mean"]["dice"]["1"] == 1


def test_masks_in_jpg_are_told_to_be_lossy(tmp_path):
  save(tmp_path / "r/c0.png", SQUARE * 255)
  save(tmp_path / "p/x.png", SQUARE * 255)
  Image.fromarray(SQUARE * 255).save(tmp_path / "p/c0.jpg", quality=50)
  description = {"labels": {"background": 0, "ball": 255}}
  (tmp_path / "r/dataset.json").write_text(json.dumps(description))
  with pytest.raises(ValueError, match=r"c0\.jpg \(JPG changes values"):
    evaluate(tmp_path / "p", tmp_path / "r")


def test_an_itk_file_that_is_turned_is_told(tmp_path):
  save(tmp_path / "r/c0.nii.gz", CUBE)
  image = sitk.GetImageFromArray(CUBE)
  image.SetOrigin((4, 0, 0))
  (tmp_path / "p").mkdir()
  sitk.WriteImage(image, tmp_path / "p/c0.nrrd")
  with pytest.raises(ValueError, match="the affines of image and prediction differ"):
    evaluate(tmp_path / "p", tmp_path / "r")


def test_distances_on_sheared_grids_are_told(tmp_path):
  label = np.zeros((6, 6, 6), np.uint8)
  label[1:4, 1:4, 1:4] = 1
  sheared = np.diag([1.0, 1, 2, 1])
  sheared[1, 2] = 0.5  # 14 degrees
  for name in ("predictions", "references"):
    for case, affine in (("a", np.diag([1.0, 1, 2, 1])), ("b", sheared)):
      (tmp_path / name).mkdir(exist_ok=True)
      nib.save(nib.Nifti1Image(label, affine), tmp_path / name / f"{case}.nii.gz")
  folders = tmp_path / "predictions", tmp_path / "references"
  report = evaluate(*folders, metrics=("hd95",), workers=1)
  assert report["sheared"] == ["b"]
  assert "1 case(s) have axes that are not at right angles" in as_text(report)
  assert "right angles" not in as_text(evaluate(*folders, metrics=("dice",), workers=1))


def test_a_segmentation_of_slicer_is_matched_without_its_second_ending(tmp_path):
  for name, file in (("predictions", "a.seg.nrrd"), ("references", "a.nii.gz")):
    (tmp_path / name).mkdir()
    image = sitk.GetImageFromArray(np.eye(4, dtype=np.uint8)[None].repeat(3, 0))
    sitk.WriteImage(image, tmp_path / name / file)
  folders = tmp_path / "predictions", tmp_path / "references"
  report = evaluate(*folders, metrics=("dice",), workers=1)
  assert report["cases"]["a"]["dice"]["1"] == 1


def test_a_folder_is_not_scored_against_itself(tmp_path):
  save(tmp_path / "a/c0.npy", CUBE)
  save(tmp_path / "r/c0.npy", CUBE)
  (tmp_path / "link").symlink_to(tmp_path / "a")
  with pytest.raises(ValueError, match=r"link is given as .* and as that of references too"):
    evaluate(tmp_path / "link", tmp_path / "a")
  with pytest.raises(ValueError, match="and as the one to compare it with too"):
    evaluate(tmp_path / "a", tmp_path / "r", against=f"{tmp_path}/r/../a")
