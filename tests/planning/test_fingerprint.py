"""Fingerprints beside numpy's statistics of the same voxels, and nnU-Net's of real images."""

import json
import pathlib

import nibabel as nib
import numpy as np
import pytest

from jaxseg import planning
from jaxseg.batch import LabelSpec
from jaxseg.data import RawCase, Source, nnunet_raw, paired_folder
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.planning import intensities


def save(path, array, affine):
  path.parent.mkdir(exist_ok=True, parents=True)
  voxels = np.moveaxis(array, (0, 1, 2), (2, 1, 0))
  nib.save(nib.Nifti1Image(voxels, affine), path)


def case(number):
  """A (6, 7, 8) image with a margin of zeros, and its label of two classes."""
  random = np.random.default_rng(number)
  image = np.zeros((6, 7, 8, 2), np.float32)
  image[1:5, 2:6, 3:8] = random.normal(50 * (number + 1), 10, (4, 4, 5, 2))
  label = np.zeros((6, 7, 8), np.uint8)
  label[2:4, 3:5, 4:7] = 1
  label[2, 3, 4:6] = 2
  # lies outside of the box and so counts as a class, but in no statistic
  label[0, 0, 0] = 2
  return image, label


@pytest.fixture
def folder(tmp_path):
  root = tmp_path / "Dataset001_Tiny"
  for number in range(3):
    image, label = case(number)
    affine = np.diag([0.5, 0.5, 2.0 + number, 1])
    for channel in range(2):
      save(root / f"imagesTr/c{number}_{channel:04d}.nii.gz", image[..., channel], affine)
    save(root / f"labelsTr/c{number}.nii.gz", label, affine)
  description = {
    "channel_names": {"0": "T1", "1": "T2"},
    "labels": {"background": 0, "organ": 1, "tumour": 2},
    "file_ending": ".nii.gz",
    "numTraining": 3,
  }
  (root / "dataset.json").write_text(json.dumps(description))
  return root


def test_sizes_spacings_and_classes_are_counted(folder):
  found = planning.fingerprint(nnunet_raw(str(folder)), workers=1, draws=300)
  assert found.shapes == ((4, 4, 5),) * 3
  assert found.spacings == ((2.0, 0.5, 0.5), (3.0, 0.5, 0.5), (4.0, 0.5, 0.5))
  assert found.relative_size == pytest.approx(80 / 336)
  assert found.classes == {"background": 3 * 323, "organ": 3 * 10, "tumour": 3 * 3}


def test_intensities_are_those_of_nnunets_draws(folder):
  found = planning.fingerprint(nnunet_raw(str(folder)), workers=1, draws=300)
  drawn = []
  for number in range(3):
    image, label = case(number)
    inside = (label > 0) & (image != 0).any(-1)
    random = np.random.RandomState(1234)
    drawn.append([random.choice(image[inside, channel], 100) for channel in range(2)])
  for channel in range(2):
    values = np.concatenate([of_case[channel] for of_case in drawn])
    low, median, high = np.percentile(values, (0.5, 50, 99.5))
    expected = {
      "max": values.max(),
      "mean": values.mean(dtype=np.float64),
      "median": median,
      "min": values.min(),
      "percentile_00_5": low,
      "percentile_99_5": high,
      "std": values.std(dtype=np.float64),
    }
    assert found.intensities[channel] == pytest.approx(expected, rel=1e-6)


def test_processes_find_the_same(folder):
  source = nnunet_raw(str(folder))
  alone = planning.fingerprint(source, workers=1, draws=300)
  assert planning.fingerprint(source, workers=2, draws=300) == alone


def test_statistics_of_repeated_values_are_numpys():
  random = np.random.default_rng(3)
  values = random.integers(0, 9, 501).astype(np.float32)
  parts = [
    intensities.Sample(*np.unique(part, return_counts=True))
    for part in (values[:200], values[200:])
  ]
  found = intensities.statistics(intensities.merge(parts))
  assert found["mean"] == pytest.approx(values.mean(dtype=np.float64))
  assert found["std"] == pytest.approx(values.std(dtype=np.float64))
  names = ("percentile_00_5", "median", "percentile_99_5")
  assert [found[name] for name in names] == pytest.approx(np.percentile(values, (0.5, 50, 99.5)))


def memory(image, label, labels, spacing=None):
  geometry = plain_geometry(label.shape, spacing)
  raw = RawCase(image, label, None, geometry)
  return Source("memory", ("a",), ("x",), labels, label.ndim, lambda name: raw, "")


def test_pictures_are_volumes_of_one_thick_slice():
  label = np.array([[0, 1], [1, 1], [0, 0]])
  source = memory(np.ones((3, 2, 1)), label, LabelSpec(("a", "b"), (0, 1)), (0.5, 0.25))
  found = planning.fingerprint(source, workers=1, draws=10)
  assert (found.shapes, found.spacings) == (((1, 3, 2),), ((499.5, 0.5, 0.25),))


def test_foreground_is_what_is_not_background_whatever_its_value():
  image = np.arange(1.0, 7).reshape(3, 2, 1)
  label = np.array([[255, 255], [0, 0], [255, 255]])
  source = memory(image, label, LabelSpec(("inside", "membrane"), (255, 0)))
  found = planning.fingerprint(source, workers=1, draws=1000)
  assert (found.intensities[0]["min"], found.intensities[0]["max"]) == (3, 4)
  assert found.classes == {"inside": 4, "membrane": 2}


def test_regions_count_all_values_that_they_unite():
  labels = LabelSpec(("whole", "core"), (0, 1, 2), regions=((1, 2), (2,)))
  source = memory(np.ones((1, 4, 1)), np.array([[0, 1, 2, 2]]), labels)
  assert planning.fingerprint(source, workers=1, draws=9).classes == {"whole": 3, "core": 2}
  # nnU-Net's dataset.json lists the background as well
  assert planning.description(source).labels == 3


def test_a_set_without_foreground_is_refused():
  source = memory(np.ones((3, 2, 1)), np.zeros((3, 2), int), LabelSpec(("a", "b"), (0, 1)))
  with pytest.raises(ValueError, match="memory: no case has a foreground voxel"):
    planning.fingerprint(source, workers=1)
  with pytest.raises(ValueError, match="workers is 0"):
    planning.fingerprint(source, workers=0)


def test_a_set_of_ignored_voxels_alone_is_refused():
  labels = LabelSpec(("a", "b"), (0, 1), ignore=2)
  source = memory(np.ones((3, 2, 1)), np.full((3, 2), 2), labels)
  with pytest.raises(ValueError, match="memory: no case has a foreground voxel"):
    planning.fingerprint(source, workers=1)


def test_a_class_that_no_case_holds_is_told():
  labels = LabelSpec(("a", "b", "c"), (0, 1, 2))
  source = memory(np.ones((1, 4, 1)), np.array([[0, 1, 1, 0]]), labels)
  with pytest.warns(UserWarning, match="memory: no case holds c, which"):
    assert planning.fingerprint(source, workers=1, draws=9).classes["c"] == 0


def _spaced(value):
  affine = np.eye(4)
  affine[2, 2] = value
  return affine


@pytest.mark.parametrize(
  ("image", "affine", "label_affine", "words"),
  [
    (
      (6, 7, 8),
      _spaced(0.0),
      _spaced(0.0),
      r"c1_0000.nii.gz: its header gives a spacing of \(0, 1, 1\)",
    ),
    (
      (6, 7, 8),
      _spaced(np.nan),
      _spaced(np.nan),
      r"c1_0000.nii.gz: its header gives a spacing of \(nan, 1",
    ),
    ((6, 7, 8), np.eye(4), _spaced(3.0), "c1.nii.gz: the affines of image and label differ"),
    ((6, 7, 9), np.eye(4), np.eye(4), "the image has shape .* but the label"),
    ((6, 7, 8, 3), np.eye(4), np.eye(4), "'c1'.* 6 channel.*, expected 2; .*4D NIfTI"),
  ],
)
def test_a_bad_case_is_named_in_one_sentence(folder, image, affine, label_affine, words):
  for channel in range(2):
    path = folder / f"imagesTr/c1_{channel:04d}.nii.gz"
    saved = nib.Nifti1Image(np.ones((*image[:3][::-1], *image[3:]), np.float32), None)
    saved.header.set_sform(affine, 1)
    nib.save(nib.Nifti1Image(saved.dataobj, None, saved.header), path)
  saved = nib.Nifti1Image(np.ones((8, 7, 6), np.uint8), None)
  saved.header.set_sform(label_affine, 1)
  nib.save(nib.Nifti1Image(saved.dataobj, None, saved.header), folder / "labelsTr/c1.nii.gz")
  with pytest.raises(ValueError, match=words) as refused:
    planning.fingerprint(nnunet_raw(str(folder)), workers=1, draws=9)
  assert "\n" not in str(refused.value)


# full draws for all six sets: benchmarks/plans.py
@pytest.mark.parametrize(
  ("name", "options"),
  [
    ("isbi", dict(names=("interior", "membrane"), values=(255, 0))),
    (
      "drive",
      dict(
        names=("background", "vessel"),
        values=(0, 255),
        channels=("red", "green", "blue"),
        case=r"(\d+)_training",
        mask_pattern="{case}_manual1.gif",
      ),
    ),
  ],
)
def test_real_images_have_nnunets_fingerprint_and_plan(real_data, name, options):
  reference = pathlib.Path(real_data).parent / "spec/nnunet_plans" / name
  if not reference.is_dir():
    pytest.skip(f"no plans of nnU-Net at {reference}")
  folders = {
    "isbi": ("isbi2012_em/train/image", "isbi2012_em/train/label"),
    "drive": ("drive/training/images", "drive/training/1st_manual"),
  }
  images, masks = (str(real_data / folder) for folder in folders[name])
  source = paired_folder(images, masks, **options)
  found = planning.fingerprint(source, workers=1, draws=2_000_000)
  theirs = planning.read_fingerprint(reference / "dataset_fingerprint.json")
  assert (found.shapes, found.spacings) == (theirs.shapes, theirs.spacings)
  assert found.relative_size == theirs.relative_size
  for ours, told in zip(found.intensities, theirs.intensities, strict=True):
    assert ours == pytest.approx(told, rel=0.02)
  plan, nnunets = (
    planning.plan(found, planning.description(source)),
    planning.read_plan(reference / "nnUNetPlans.json"),
  )
  assert plan.configurations == nnunets.configurations
  assert plan.reader == nnunets.reader
