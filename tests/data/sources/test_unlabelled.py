"""Sources whose cases lack labels, all of them or some: taken where the config says so alone."""

import json
import shutil

import h5py
import imageio.v3 as imageio
import nibabel as nib
import numpy as np
import pytest

from jaxseg.data import SOURCES
from jaxseg.data.prepared.dataset import open_prepared
from jaxseg.data.prepared.preparing import prepare
from jaxseg.data.sources.source import annotated

SHAPE = (4, 5, 6)


def nifti(path, array):
  path.parent.mkdir(parents=True, exist_ok=True)
  nib.save(nib.Nifti1Image(array.T, np.eye(4)), path)


def nnunet(root):
  description = {
    "channel_names": {"0": "MR"},
    "labels": {"background": 0, "a": 1},
    "file_ending": ".nii.gz",
  }
  root.mkdir()
  (root / "dataset.json").write_text(json.dumps(description))
  for i in range(3):
    image = np.random.default_rng(i).random(SHAPE, np.float32)
    nifti(root / f"imagesTr/case_{i}_0000.nii.gz", image)
    nifti(root / f"imagesTs/test_{i}_0000.nii.gz", image)
    nifti(root / f"labelsTr/case_{i}.nii.gz", (image > 0.5).astype(np.uint8))
  return {"name": "nnunet_raw", "path": str(root)}, root / "labelsTr", "case_1.nii.gz"


def pictures(root):
  for i in range(3):
    image = np.random.default_rng(i).integers(0, 255, (8, 9), np.uint8)
    for part, array in (("images", image), ("masks", (image > 99).astype(np.uint8))):
      (root / part).mkdir(parents=True, exist_ok=True)
      imageio.imwrite(root / part / f"case_{i}.png", array)
  spec = {"name": "paired_folder", "images": str(root / "images"), "masks": str(root / "masks")}
  return spec, root / "masks", "case_1.png"


def hdf5(root):
  root.mkdir()
  for i in range(3):
    image = np.random.default_rng(i).random(SHAPE, np.float32)
    with h5py.File(root / f"case_{i}.h5", "w") as file:
      file["image"] = image
      if i != 1:
        file["label"] = (image > 0.5).astype(np.uint8)
  return {"name": "h5", "path": str(root), "names": ("background", "a")}, None, None


def source(spec, **options):
  spec = {**spec, **options}
  return SOURCES[spec.pop("name")](**spec)


@pytest.mark.parametrize("make", [nnunet, pictures, hdf5])
def test_cases_without_a_label_are_taken_where_that_is_said(tmp_path, make):
  spec, labels, name = make(tmp_path / "set")
  if labels is not None:
    assert source(spec).unlabelled == frozenset()
    (labels / name).unlink()
  with pytest.raises(ValueError, match=r"no (label|mask)|no data set 'label'"):
    [source(spec).read(f"case_{i}") for i in range(3)]
  partly = source(spec, labelled="partly")
  assert partly.cases == ("case_0", "case_1", "case_2")
  assert partly.unlabelled == {"case_1"}
  assert partly.read("case_1").label is None
  assert partly.read("case_0").label is not None
  assert annotated(partly).cases == ("case_0", "case_2")
  none = source(spec, labelled=False)
  assert none.unlabelled == set(none.cases) == {"case_0", "case_1", "case_2"}
  assert all(none.read(case).label is None for case in none.cases)
  np.testing.assert_array_equal(none.read("case_0").image, partly.read("case_0").image)
  assert len({of.fingerprint for of in (none, partly)}) == 2
  with pytest.raises(ValueError, match=r"config.data.source: none of the 3 case\(s\) of"):
    annotated(none)
  for wrong in ("some", 1, None):
    with pytest.raises(ValueError, match=r"config.data.source.labelled: .*; expected True"):
      source(spec, labelled=wrong)


def test_a_folder_of_labels_may_be_absent_where_none_are_looked_for(tmp_path):
  spec, labels, _ = nnunet(tmp_path / "set")
  shutil.rmtree(labels)
  assert len(source(spec, labelled=False).unlabelled) == 3
  spec, masks, _ = pictures(tmp_path / "pictures")
  shutil.rmtree(masks)
  del spec["masks"]
  assert len(source(spec, labelled=False).unlabelled) == 3
  with pytest.raises(ValueError, match=r"config.data.source: 'paired_folder' needs masks"):
    source(spec)


def test_test_images_are_a_source_without_labels(tmp_path):
  spec, _, _ = nnunet(tmp_path / "set")
  made = source(spec, labelled=False, folder="imagesTs")
  assert made.cases == ("test_0", "test_1", "test_2")
  assert made.read("test_1").label is None
  with pytest.raises(ValueError, match=r"folder: 'imagesTs' holds images without labels"):
    source(spec, folder="imagesTs")
  with pytest.raises(FileNotFoundError, match=r"imagesXx: the folder of images not found"):
    source(spec, labelled=False, folder="imagesXx")


def test_a_task_of_the_decathlon_may_be_fed_without_its_labels(tmp_path):
  root = tmp_path / "Task04_Hippocampus"
  nnunet(root)
  entries = [
    {"image": f"./imagesTr/case_{i}_0000.nii.gz", "label": f"./labelsTr/case_{i}.nii.gz"}
    for i in range(3)
  ]
  description = json.loads((root / "dataset.json").read_text()) | {"training": entries}
  (root / "dataset.json").write_text(json.dumps(description))
  spec = {"name": "msd", "task": "hippocampus", "path": str(root)}
  assert source(spec).unlabelled == frozenset()
  assert source(spec, labelled=False).unlabelled == {"case_0", "case_1", "case_2"}
  assert len(source(spec, labelled=False, folder="imagesTs").cases) == 3


def test_a_prepared_set_stores_cases_without_labels(tmp_path):
  spec, labels, name = nnunet(tmp_path / "set")
  (labels / name).unlink()
  made = prepare(source(spec, labelled="partly"), cache_dir=tmp_path / "sets", workers=1)
  opened = open_prepared(made.folder)
  assert set(opened.load(1)) == {"image", "spacing"}
  assert set(opened.load(0)) == {"image", "spacing", "label"}
  assert opened.locations(1) == {}
  assert set(opened.locations(0)) == {1}
  assert set(opened.crop(1, (0, 0, 0), (2, 2, 2))) == {"image", "spacing"}


def test_numbers_are_not_counted_from_labels_that_there_are_not(tmp_path):
  spec, _, _ = nnunet(tmp_path / "set")
  with pytest.raises(ValueError, match=r"config.data.normalise: 'ct' takes its numbers from"):
    prepare(source(spec, labelled=False), cache_dir=tmp_path, normalise="ct")
