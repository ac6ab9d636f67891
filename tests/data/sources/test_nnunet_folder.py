"""nnU-Net's and the Decathlon's folders: what is read, and what is refused in words."""

import json

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from jaxseg.data.sources.nnunet_folder import nnunet_raw

SHAPE = (4, 5, 6)


def save(path, array, affine=None):
  path.parent.mkdir(exist_ok=True, parents=True)
  voxels = np.moveaxis(array, (0, 1, 2), (2, 1, 0))
  nib.save(nib.Nifti1Image(voxels, np.eye(4) if affine is None else affine), path)


def image(seed=0, shape=SHAPE):
  return np.random.default_rng(seed).random(shape).astype(np.float32)


def label(top=2, shape=SHAPE):
  return (np.arange(np.prod(shape)).reshape(shape) % (top + 1)).astype(np.uint8)


def describe(root, **changes):
  root.mkdir(exist_ok=True)
  description = {
    "channel_names": {"0": "CT", "1": "PET"},
    "labels": {"background": 0, "liver": 1, "tumour": 2},
    "file_ending": ".nii.gz",
    "numTraining": 3,
  }
  description.update(changes)
  (root / "dataset.json").write_text(json.dumps(description))


@pytest.fixture
def folder(tmp_path):
  root = tmp_path / "Dataset007_Test"
  describe(root)
  for case in ("case_10", "case_2", "case_1"):
    for channel in range(2):
      save(root / f"imagesTr/{case}_{channel:04d}.nii.gz", image(channel))
    save(root / f"labelsTr/{case}.nii.gz", label())
  return root


def test_cases_are_read_in_natural_order_with_all_channels(folder):
  source = nnunet_raw(folder)
  assert source.cases == ("case_1", "case_2", "case_10")
  assert source.channels == ("CT", "PET")
  assert source.name == "Dataset007_Test"
  assert source.rank == 3
  assert source.labels.names == ("background", "liver", "tumour")
  raw = source.read("case_2")
  np.testing.assert_array_equal(raw.image, np.stack([image(0), image(1)], -1))
  np.testing.assert_array_equal(raw.label, label())


def test_channels_are_chosen_by_name(folder):
  source = nnunet_raw(folder, channels=("PET",))
  assert source.channels == ("PET",)
  np.testing.assert_array_equal(source.read("case_1").image[..., 0], image(1))
  with pytest.raises(ValueError, match=r"has no channel 'MR'; its channels: CT, PET"):
    nnunet_raw(folder, channels=("MR",))


def test_fingerprint_follows_files_and_options(folder):
  first = nnunet_raw(folder).fingerprint
  assert nnunet_raw(folder).fingerprint == first
  assert nnunet_raw(folder, channels=("CT",)).fingerprint != first
  save(folder / "labelsTr/case_1.nii.gz", label(1))
  assert nnunet_raw(folder).fingerprint != first


def test_regions_write_the_value_that_nnunet_gives_them(folder):
  describe(
    folder,
    labels={"background": 0, "whole": [1, 2], "core": [2], "ignore": 3},
    regions_class_order=[1, 2],
  )
  labels = nnunet_raw(folder).labels
  assert labels.names == ("whole", "core")
  assert labels.regions == ((1, 2), (2,))
  assert labels.ignore == 3
  scores = np.array([[-1.0, -1], [1, -1], [1, 1]])
  np.testing.assert_array_equal(labels.decode(scores), [0, 1, 2])
  describe(folder, labels={"background": 0, "whole": [2, 1]})
  with pytest.raises(ValueError, match=r'labels with regions need "regions_class_order"'):
    nnunet_raw(folder)


def test_background_is_first_and_values_need_not_be_consecutive(folder):
  describe(folder, labels={"tumour": 2, "liver": 1, "background": 0})
  assert nnunet_raw(folder).labels.stored_values == (0, 1, 2)
  describe(folder, labels={"liver": 0, "background": 1, "tumour": 2})
  assert nnunet_raw(folder).labels.stored_values == (1, 0, 2)


def test_mirror_pairs_are_named_by_labels(folder):
  describe(folder, mirror_pairs=[["liver", "tumour"]])
  assert nnunet_raw(folder).labels.mirror_pairs == ((1, 2),)
  describe(folder, mirror_pairs=[["liver", "spleen"]])
  with pytest.raises(ValueError, match="expected two of the labels background, liver, tumour"):
    nnunet_raw(folder)


def test_decathlon_format_with_channels_in_one_file(tmp_path):
  root = tmp_path / "Task01_Tiny"
  describe(root)
  description = {
    "modality": {"0": "FLAIR", "1": "T1w"},
    "labels": {"0": "background", "1": "oedema", "2": "tumour"},
    "training": [{"image": "./imagesTr/b_1.nii.gz", "label": "./labelsTr/b_1.nii.gz"}],
  }
  (root / "dataset.json").write_text(json.dumps(description))
  both = np.stack([image(0), image(1)], -1)
  save(root / "imagesTr/b_1.nii.gz", both)
  save(root / "labelsTr/b_1.nii.gz", label())
  (root / "labelsTr/._b_1.nii.gz").write_bytes(b"left by macOS")
  source = nnunet_raw(root)
  assert source.cases == ("b_1",)
  np.testing.assert_array_equal(source.read("b_1").image, both)


def test_two_dimensional_colour_pictures(tmp_path):
  root = tmp_path / "Dataset120_Roads"
  rgb = {"0": "R", "1": "G", "2": "B"}
  describe(root, channel_names=rgb, file_ending=".png", numTraining=1)
  colour = np.random.default_rng(0).integers(0, 256, (5, 6, 3)).astype(np.uint8)
  for name, array in (("imagesTr/a_0000.png", colour), ("labelsTr/a.png", label()[0])):
    (root / name).parent.mkdir()
    Image.fromarray(array).save(root / name)
  source = nnunet_raw(root)
  assert source.rank == 2
  np.testing.assert_array_equal(source.read("a").image, colour)


def test_missing_folder_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match="nowhere: the data set's folder not found"):
    nnunet_raw(tmp_path / "nowhere")


def test_missing_dataset_json_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"dataset\.json: not found"):
    nnunet_raw(tmp_path)


def test_damaged_dataset_json_is_named(folder):
  (folder / "dataset.json").write_text("{")
  with pytest.raises(ValueError, match=r"dataset\.json: is damaged or no JSON"):
    nnunet_raw(folder)


@pytest.mark.parametrize("key", ["channel_names", "labels", "file_ending"])
def test_dataset_json_without_a_needed_key_names_it(folder, key):
  describe(folder, **{key: None})
  with pytest.raises(ValueError, match=rf'dataset\.json: needs "{key}"'):
    nnunet_raw(folder)


def test_image_without_label_is_named(folder):
  (folder / "labelsTr/case_2.nii.gz").unlink()
  with pytest.raises(ValueError, match=r"case 'case_2' has an image but no label"):
    nnunet_raw(folder)


def test_label_without_image_is_named(folder):
  save(folder / "labelsTr/case_9.nii.gz", label())
  with pytest.raises(ValueError, match=r"case 'case_9' has a label but no image .*case_9_0000"):
    nnunet_raw(folder)


@pytest.mark.parametrize("left", ["0000", "0000 0002"])
def test_channel_that_is_missing_or_misnumbered_is_named_before_any_case_is_read(folder, left):
  file = folder / "imagesTr/case_2_0001.nii.gz"
  file.rename(file.with_name("case_2_0002.nii.gz")) if " " in left else file.unlink()
  names = ", ".join(f"case_2_{number}.nii.gz" for number in left.split())
  with pytest.raises(ValueError, match=f"'case_2' has the image files {names}; expected one per"):
    nnunet_raw(folder)


def test_lone_file_with_too_few_channels_is_named(folder):
  for file in (folder / "imagesTr").glob("*_0001.nii.gz"):
    file.unlink()
  with pytest.raises(ValueError, match=r"case_2_0000.*image has 1 channel\(s\), expected 2"):
    nnunet_raw(folder).read("case_2")


def test_channel_without_a_number_is_told(folder):
  describe(folder, channel_names={"CT": "CT"})
  with pytest.raises(ValueError, match=r'keys of "channel_names" .* are CT; expected the channels'):
    nnunet_raw(folder)


@pytest.mark.parametrize("name", ["tumour", "ignore"])
def test_value_of_two_labels_is_told(folder, name):
  describe(folder, labels={"background": 0, "liver": 1, name: 1})
  with pytest.raises(ValueError, match='"labels" gives the value 1 to two names'):
    nnunet_raw(folder)


def test_shapes_that_differ_are_told(folder):
  save(folder / "labelsTr/case_2.nii.gz", label(shape=(4, 5, 7)))
  with pytest.raises(
    ValueError, match=r"case_2\.nii\.gz: the image has shape \(4, 5, 6\) but the label \(4, 5, 7\)"
  ):
    nnunet_raw(folder).read("case_2")


def test_affines_that_differ_are_told_unless_allowed(folder):
  save(folder / "labelsTr/case_2.nii.gz", label(), np.diag([1, 1, 2.0, 1]))
  with pytest.raises(ValueError, match=r"affines of image and label differ by 3\.00 voxels"):
    nnunet_raw(folder).read("case_2")
  assert nnunet_raw(folder, check_affine=False).read("case_2").label.shape == SHAPE


def test_rounded_affine_is_no_difference(folder):
  save(folder / "labelsTr/case_2.nii.gz", label(), np.eye(4) + 1e-4)
  nnunet_raw(folder).read("case_2")


def test_channels_on_different_grids_are_told(folder):
  save(folder / "imagesTr/case_2_0001.nii.gz", image(1, (4, 5, 7)))
  with pytest.raises(ValueError, match=r"case_2_0001.*but the channel \(4, 5, 7\)"):
    nnunet_raw(folder).read("case_2")


def test_unknown_label_value_is_told(folder):
  save(folder / "labelsTr/case_2.nii.gz", label(5))
  with pytest.raises(
    ValueError, match=r"case_2\.nii\.gz: label value\(s\) \[3, 4, 5\].*dataset\.json"
  ):
    nnunet_raw(folder).read("case_2")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_voxels_that_are_not_finite_are_told(folder, bad):
  broken = image()
  broken[1, 2, 3] = bad
  save(folder / "imagesTr/case_2_0000.nii.gz", broken)
  with pytest.raises(
    ValueError, match=r"case 'case_2'\): 1 voxel\(s\) of the image are NaN or inf"
  ):
    nnunet_raw(folder).read("case_2")


def test_truncated_image_is_named(folder):
  path = folder / "imagesTr/case_2_0000.nii.gz"
  path.write_bytes(path.read_bytes()[:200])
  with pytest.raises(ValueError, match=r"case_2_0000\.nii\.gz: cannot be read as \.nii\.gz"):
    nnunet_raw(folder).read("case_2")


def test_flat_case_among_volumes_is_told(folder):
  for channel in range(2):
    path = folder / f"imagesTr/case_2_{channel:04d}.nii.gz"
    nib.save(nib.Nifti1Image(image()[0].T, np.eye(4)), path)
  with pytest.raises(ValueError, match=r"has 2 spatial axes \(5, 6\), expected 3"):
    nnunet_raw(folder).read("case_2")


def test_real_hippocampus_reads(real_data):
  source = nnunet_raw(real_data / "msd_hippocampus")
  assert len(source.cases) == 200
  assert source.labels.names == ("background", "Anterior", "Posterior")
  raw = source.read("hippocampus_001")
  assert raw.image.shape == (*raw.label.shape, 1)
  assert set(np.unique(raw.label)) == {0, 1, 2}
