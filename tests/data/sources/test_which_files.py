"""Which files make which case of a set in nnU-Net's or the Decathlon's format: all, or told."""

import json
import warnings

import nibabel as nib
import numpy as np
import pytest

from jaxseg.data.sources.nnunet_folder import nnunet_raw

SHAPE = (2, 3, 4)


def save(path, value=0, ending=".nii.gz"):
  path = path.with_name(path.name + ending)
  path.parent.mkdir(exist_ok=True, parents=True)
  nib.save(nib.Nifti1Image(np.full(SHAPE, value, np.uint8), np.eye(4)), path)
  return path


def describe(root, channels=1, **more):
  root.mkdir(exist_ok=True, parents=True)
  text = {
    "channel_names": {str(i): f"c{i}" for i in range(channels)},
    "labels": {"background": 0, "ball": 1},
    "file_ending": ".nii.gz",
    **more,
  }
  (root / "dataset.json").write_text(json.dumps(text))


def firsts(source):
  """Case -> the first voxel of each channel."""
  return {case: source.read(case).image[0, 0, 0].tolist() for case in source.cases}


@pytest.fixture
def folder(tmp_path):
  describe(tmp_path)
  for i in range(2):
    save(tmp_path / f"imagesTr/c{i}_0000", 10 + i)
    save(tmp_path / f"labelsTr/c{i}")
  return tmp_path


def test_a_list_with_equal_file_names_in_several_sites_keeps_every_entry(tmp_path):
  entries = []
  for i, site in enumerate(("siteA", "siteB")):
    for k in range(2):
      save(tmp_path / site / f"images/case{k}", 10 * i + k)
      save(tmp_path / site / f"labels/case{k}")
      parts = (f"./{site}/{part}/case{k}.nii.gz" for part in ("images", "labels"))
      entries.append(dict(zip(("image", "label"), parts, strict=True)))
  describe(tmp_path, training=entries)
  assert firsts(nnunet_raw(tmp_path)) == {
    "siteA_case0": [0],
    "siteA_case1": [1],
    "siteB_case0": [10],
    "siteB_case1": [11],
  }


def test_a_list_of_subject_folders_names_cases_by_the_folder(tmp_path):
  entries = []
  for i in range(3):
    save(tmp_path / f"sub-{i}/t1", i)
    save(tmp_path / f"sub-{i}/seg")
    entries.append({"image": f"sub-{i}/t1.nii.gz", "label": f"sub-{i}/seg.nii.gz"})
  describe(tmp_path, training=entries)
  assert firsts(nnunet_raw(tmp_path)) == {"sub-0": [0], "sub-1": [1], "sub-2": [2]}


def test_joined_folder_names_that_meet_stay_apart(tmp_path):
  entries = []
  for i, name in enumerate(("a/b_c/x", "a_b/c/x", "a/d/x")):
    entries.append({"image": f"{name}.nii.gz", "label": f"{name}.nii.gz"})
    save(tmp_path / name, i % 2)
  describe(tmp_path, training=entries)
  assert len(set(firsts(nnunet_raw(tmp_path)))) == 3


def test_an_image_that_is_listed_twice_is_told_with_both_entries(folder):
  entry = {"image": "imagesTr/c0_0000.nii.gz", "label": "labelsTr/c0.nii.gz"}
  again = {"image": "./imagesTr/../imagesTr/c0_0000.nii.gz", "label": "labelsTr/c1.nii.gz"}
  describe(folder, training=[entry, again])
  with pytest.raises(ValueError, match=r"two entries .*labelsTr/c0.*labelsTr/c1"):
    nnunet_raw(folder)


def test_a_list_may_name_files_elsewhere_and_as_windows_does(folder, tmp_path):
  far = save(tmp_path / "elsewhere/far", 99)
  entries = [
    {"image": str(far), "label": "labelsTr/c0.nii.gz"},
    {"image": ".\\imagesTr\\c1_0000.nii.gz", "label": "labelsTr\\c1.nii.gz"},
  ]
  describe(folder, training=entries)
  assert firsts(nnunet_raw(folder)) == {"c0": [99], "c1": [11]}


def test_a_list_may_name_a_file_per_channel(folder):
  images = ["imagesTr/c1_0000.nii.gz", "imagesTr/c0_0000.nii.gz"]
  entries = [{"image": images, "label": "labelsTr/c0.nii.gz", "fold": 0}]
  (folder / "labelsTr/c1.nii.gz").unlink()
  describe(folder, channels=2, training=entries)
  assert firsts(nnunet_raw(folder)) == {"c0": [11, 10]}
  describe(folder, channels=3, training=entries)
  with pytest.raises(ValueError, match=r'"image" lists 2 file\(s\) in .*expected 3'):
    nnunet_raw(folder)


def test_cases_that_a_list_keeps_apart_are_told(folder):
  entries = [
    {"image": f"imagesTr/c{i}_0000.nii.gz", "label": f"labelsTr/c{i}.nii.gz"} for i in (0, 1)
  ]
  describe(folder, training=entries, validation=entries)
  with pytest.warns(UserWarning, match='"validation" lists 2 case'):
    nnunet_raw(folder)


@pytest.mark.parametrize("case", ["", "../c0", "a/b", "a\\b", ".c0"])
def test_a_case_that_cannot_name_a_file_is_told(folder, case):
  entry = {"images": ["imagesTr/c0_0000.nii.gz"], "label": "labelsTr/c0.nii.gz"}
  describe(folder, dataset={case: entry})
  with pytest.raises(ValueError, match="cannot be the name of a file"):
    nnunet_raw(folder)


@pytest.mark.parametrize("name", ["imagesTr/c0", "", None, 3, "..", "a.docx"])
def test_what_is_listed_and_is_no_image_is_told_with_the_list(folder, name):
  describe(folder, training=[{"image": name, "label": "labelsTr/c0.nii.gz"}])
  with pytest.raises(ValueError, match=r"dataset\.json: .*(names .* as a file|ending)"):
    nnunet_raw(folder)


def test_the_key_dataset_says_which_files_make_a_case(folder):
  table = {
    "b": {
      "images": ["imagesTr/c1_0000.nii.gz", "imagesTr/c0_0000.nii.gz"],
      "label": "labelsTr/c1.nii.gz",
    }
  }
  describe(folder, channels=2, dataset=table, numTraining=1)
  assert firsts(nnunet_raw(folder)) == {"b": [11, 10]}


@pytest.mark.parametrize(
  "entry", [None, "c0", {"images": []}, {"images": ["a"] * 3, "label": "b"}, {"label": "b"}]
)
def test_an_entry_of_dataset_without_its_files_is_told(folder, entry):
  describe(folder, channels=2, dataset={"b": entry})
  with pytest.raises(ValueError, match=r"\"dataset\": case 'b' needs \"images\", a list of 2"):
    nnunet_raw(folder)


def test_a_file_of_dataset_that_is_missing_is_named(folder):
  describe(folder, dataset={"b": {"images": ["gone.nii.gz"], "label": "labelsTr/c1.nii.gz"}})
  with pytest.raises(ValueError, match=r"case 'b' .*gone\.nii\.gz is missing"):
    nnunet_raw(folder)


@pytest.mark.parametrize("more", [{"training": 2}, {"training": {}}, {"dataset": ["c0"]}])
def test_a_key_that_chooses_files_in_another_shape_is_told(folder, more):
  describe(folder, **more)
  with pytest.raises(ValueError, match=r'"(training|dataset)" must be'):
    nnunet_raw(folder)


def test_another_number_of_cases_than_declared_is_told(folder):
  describe(folder, numTraining=5)
  with pytest.warns(UserWarning, match='"numTraining" is 5, but 2 case'):
    nnunet_raw(folder)
  for number in (2, "2"):
    describe(folder, numTraining=number)
    with warnings.catch_warnings():
      warnings.simplefilter("error")
      nnunet_raw(folder)


@pytest.mark.parametrize(
  "name",
  ["imagesTr/c2", "imagesTr/c0_000", "imagesTr/c0_00000", "labelsTr/c9+"],
)
def test_an_image_that_no_case_has_is_told(folder, name):
  save(folder / name)
  with pytest.raises(ValueError, match=r"belongs to no case|has a label but no image"):
    nnunet_raw(folder)


@pytest.mark.parametrize("name", ["imagesTr/c0_0000", "imagesTr/c7_0000", "labelsTr/c0"])
def test_an_image_with_another_ending_is_told(folder, name):
  save(folder / name, ending=".nii")
  with pytest.raises(ValueError, match=r"\.nii: belongs to no case .*case_0000\.nii\.gz"):
    nnunet_raw(folder)


def test_endings_in_capitals_are_the_same_ending(folder):
  save(folder / "imagesTr/c2_0000", 12, ".NII.GZ")
  save(folder / "labelsTr/c2")
  assert firsts(nnunet_raw(folder))["c2"] == [12]
  save(folder / "labelsTr/c2", ending=".NII.GZ")
  with pytest.raises(ValueError, match=r"labelsTr/c2\.nii\.gz: belongs to no case .*one of each"):
    nnunet_raw(folder)


@pytest.mark.parametrize("numbers", [(1,), (0, 2), (0, 1, 2), (1, 2)])
def test_channels_are_numbered_from_0000_without_gaps(tmp_path, numbers):
  describe(tmp_path, channels=2)
  for number in numbers:
    save(tmp_path / f"imagesTr/c0_{number:04d}", number)
  save(tmp_path / "labelsTr/c0")
  with pytest.raises(ValueError, match=r"case 'c0' has the image files .*numbered 0000"):
    nnunet_raw(tmp_path)


def test_channels_of_one_name_are_all_read(tmp_path):
  describe(tmp_path, channel_names={"0": "MR", "1": "MR"})
  for number in range(2):
    save(tmp_path / f"imagesTr/c0_{number:04d}", 5 + number)
  save(tmp_path / "labelsTr/c0")
  assert firsts(nnunet_raw(tmp_path)) == {"c0": [5, 6]}
  with pytest.raises(ValueError, match="has 2 channels 'MR'"):
    nnunet_raw(tmp_path, channels=("MR",))
