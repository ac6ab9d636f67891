"""The prepared set equals its source, keeps its order and notices every change."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from closeness import assert_close

from jaxseg.batch import LabelSpec
from jaxseg.data.formats.geometry import Geometry, orient, plain_geometry
from jaxseg.data.prepared.dataset import open_prepared, unpack
from jaxseg.data.prepared.locations import locate, pack
from jaxseg.data.prepared.preparing import prepare
from jaxseg.data.sources.nnunet_folder import nnunet_raw
from jaxseg.data.sources.source import RawCase, Source, content

LABELS = LabelSpec(("background", "a", "b"), (0, 5, 9))


def raw_case(i, *, weight=None, affine=None):
  random = np.random.default_rng(i)
  shape = (4 + i % 3, 6, 7)
  label = random.choice([0, 5, 9], shape)
  geometry = (
    plain_geometry(shape, (3, 2, 1)) if affine is None else Geometry(affine, shape, "nifti")
  )
  return RawCase(random.random((*shape, 1)).astype(np.float32), label, weight, geometry)


def source_of(cases, labels=LABELS, channels=("MR",), fingerprint="0"):
  names = tuple(cases)
  return Source("tiny", names, channels, labels, 3, cases.__getitem__, fingerprint)


@pytest.fixture
def cases():
  return {f"case_{i}": raw_case(i) for i in range(12)}


def test_every_record_equals_its_case_in_the_order_of_the_source(cases, tmp_path):
  dataset = prepare(source_of(cases), cache_dir=tmp_path)
  assert dataset.names == tuple(cases)
  for i, (name, raw) in enumerate(cases.items()):
    sample = dataset.load(i)
    assert set(sample) == {"image", "label", "spacing"}, name
    image = raw.image.astype(np.float64)
    expected = (image - image.mean()) / image.std()
    assert_close(sample["image"], expected, atol=1e-6)
    np.testing.assert_array_equal(sample["image"], dataset.preparation.apply(raw))
    np.testing.assert_array_equal(sample["label"], np.searchsorted([0, 5, 9], raw.label))
    np.testing.assert_array_equal(sample["spacing"], [3, 2, 1])
    assert (sample["image"].dtype, sample["label"].dtype) == (np.float32, np.int32)
    assert dataset.shape(i) == raw.label.shape


def test_prepared_set_is_found_again_without_reading_the_source(cases, tmp_path, capsys):
  first = prepare(source_of(cases), cache_dir=tmp_path)
  again = prepare(source_of(cases)._replace(read=None), cache_dir=tmp_path)
  assert again.folder == first.folder
  assert f"prepared data set: {first.folder} (12 cases)" in capsys.readouterr().out
  opened = open_prepared(first.folder)
  np.testing.assert_array_equal(opened.load(3)["image"], first.load(3)["image"])
  assert opened.labels == LABELS


def test_every_change_makes_a_new_set(cases, tmp_path):
  source = source_of(cases)
  folders = [
    prepare(s, cache_dir=tmp_path, **options).folder
    for s, options in (
      (source, {}),
      (source._replace(fingerprint="1"), {}),
      (source._replace(labels=LabelSpec(("background", "b", "a"), (0, 9, 5))), {}),
      (source, {"normalise": "minmax"}),
      (source, {"orientation": "RAS"}),
      (source, {"normalise": "ct"}),
      (source, {"normalise": "ct", "train_cases": ["case_1", "case_2"]}),
      (source, {"spacing": (2, 2, 2)}),
      (source, {"spacing": (2, 2, 2), "resampling": {"order": 1}}),
      (source, {"transpose": (1, 0, 2)}),
      (source, {"crop_nonzero": True}),
    )
  ]
  assert len(set(folders)) == len(folders)
  # where no number depends on them, the training cases change nothing
  assert prepare(source, cache_dir=tmp_path, train_cases=["case_1"]).folder == folders[0]


def test_changed_file_is_noticed(real_data, tmp_path):
  folder = tmp_path / "set"
  (folder / "labelsTr").mkdir(parents=True)
  (folder / "imagesTr").mkdir()
  names = ("hippocampus_001", "hippocampus_003")
  for name in names:
    for side in ("imagesTr", "labelsTr"):
      file = real_data / "msd_hippocampus" / side / f"{name}.nii.gz"
      (folder / side / f"{name}.nii.gz").symlink_to(file)
  listing = ",".join(
    f'{{"image": "imagesTr/{n}.nii.gz", "label": "labelsTr/{n}.nii.gz"}}' for n in names
  )
  (folder / "dataset.json").write_text(
    '{"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "front", "2": "back"},'
    f'"training": [{listing}]}}'
  )
  first = prepare(nnunet_raw(folder), cache_dir=tmp_path / "cache")
  assert_close(first.load(0)["image"].mean(), 0, atol=1e-5)
  os.utime(folder / "dataset.json", (1, 1))
  second = prepare(nnunet_raw(folder), cache_dir=tmp_path / "cache")
  assert second.folder != first.folder
  np.testing.assert_array_equal(second.load(1)["image"], first.load(1)["image"])


def test_regions_become_soft_labels(cases, tmp_path):
  labels = LabelSpec(("whole", "core"), (0, 5, 9), regions=((5, 9), (9,)))
  dataset = prepare(source_of(cases, labels), cache_dir=tmp_path)
  raw, sample = cases["case_2"], dataset.load(2)
  assert "label" not in sample
  np.testing.assert_array_equal(sample["soft_label"][..., 0], raw.label > 0)
  np.testing.assert_array_equal(sample["soft_label"][..., 1], raw.label == 9)
  assert sample["soft_label"].dtype == np.float32
  found = dataset.locations(2)
  assert set(found) == {1, 2}
  np.testing.assert_array_equal(found[2], np.argwhere(raw.label == 9))


def test_ignored_voxels_have_no_weight(cases, tmp_path):
  labels = LabelSpec(("background", "a"), (0, 5), ignore=9)
  dataset = prepare(source_of(cases, labels), cache_dir=tmp_path)
  sample = dataset.load(1)
  np.testing.assert_array_equal(sample["weight"], cases["case_1"].label != 9)


def test_weight_of_the_source_is_kept_and_leaves_locations_out(tmp_path):
  weight = np.zeros((4, 6, 7), np.float32)
  weight[1] = 1
  dataset = prepare(source_of({"x": raw_case(0, weight=weight)}), cache_dir=tmp_path)
  np.testing.assert_array_equal(dataset.load(0)["weight"], weight)
  assert all((voxels[:, 0] == 1).all() for voxels in dataset.locations(0).values())


def test_turned_cases_are_stored_turned(tmp_path):
  affine = np.array([[0, 0, 3, 0], [-2, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
  raw = raw_case(0, affine=affine)
  dataset = prepare(source_of({"x": raw}), cache_dir=tmp_path, orientation="RAS")
  sample = dataset.load(0)
  classes = np.searchsorted([0, 5, 9], raw.label)
  np.testing.assert_array_equal(sample["label"], orient(classes, raw.geometry, "RAS"))
  np.testing.assert_array_equal(dataset.preparation.restore(sample["label"], raw.geometry), classes)
  assert_close(sample["spacing"], [1, 2, 3])
  assert dataset.shape(0) == sample["label"].shape == (6, 7, 4)


def test_cases_of_two_orientations_are_warned_of(tmp_path):
  cases = {"a": raw_case(0, affine=np.diag([-1.0, -1, 1, 1])), "b": raw_case(1, affine=np.eye(4))}
  with pytest.warns(UserWarning, match=r"differ in orientation \(1 x LPS, 1 x RAS\)"):
    prepare(source_of(cases), cache_dir=tmp_path)


def test_invalid_case_leaves_nothing_behind(cases, tmp_path):
  image = cases["case_7"].image.copy()
  image[0, 0, 0, 0] = np.nan
  cases["case_7"] = cases["case_7"]._replace(image=image)
  with pytest.raises(ValueError, match=r"case 'case_7': 1 voxel\(s\).*NaN"):
    prepare(source_of(cases), cache_dir=tmp_path)
  assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_case_without_label_is_told(cases, tmp_path):
  cases["case_3"] = cases["case_3"]._replace(label=None)
  with pytest.raises(ValueError, match="case 'case_3' has no label"):
    prepare(source_of(cases), cache_dir=tmp_path)


def test_cache_folder_that_cannot_be_made_is_told(cases, tmp_path):
  (tmp_path / "file").write_text("x")
  with pytest.raises(OSError, match=r"file/tiny: prepared data cannot be written here"):
    prepare(source_of(cases), cache_dir=tmp_path / "file")


def test_folder_without_a_set_is_told(tmp_path):
  with pytest.raises(FileNotFoundError, match="holds no prepared data set"):
    open_prepared(tmp_path)


def test_data_set_can_be_sent_to_another_process(cases, tmp_path):
  dataset = prepare(source_of(cases), cache_dir=tmp_path)
  copy = pickle.loads(pickle.dumps(dataset))
  np.testing.assert_array_equal(copy.load(5)["image"], dataset.load(5)["image"])


def test_tensorflow_is_never_imported(cases, tmp_path):
  dataset = prepare(source_of(cases), cache_dir=tmp_path)
  code = (
    "import sys; from jaxseg.data.prepared.dataset import open_prepared;"
    f"open_prepared({str(dataset.folder)!r}).load(0); assert 'tensorflow' not in sys.modules"
  )
  subprocess.run([sys.executable, "-c", code], check=True)


def test_locations_follow_nnunets_numbers():
  label = np.zeros((120, 120, 120), np.uint8)
  label[:110, :, :] = 1  # 1,584,000 voxels: 1 % is more than 10,000
  label[110:112] = 2  # 28,800 voxels: 10,000 are kept
  label[119, 0, :7] = 3
  found = locate(label)
  assert {k: len(v) for k, v in found.items()} == {1: 15_840, 2: 10_000, 3: 7}
  for k, voxels in found.items():
    assert voxels.dtype == np.int32
    assert (label[tuple(voxels.T)] == k).all()
    assert len(np.unique(voxels, axis=0)) == len(voxels)
  again = locate(label)
  np.testing.assert_array_equal(again[1], found[1])
  back = unpack(pack(found, 3), {k: len(v) for k, v in found.items()})
  for k in found:
    np.testing.assert_array_equal(back[k], found[k])
  assert unpack(pack({}, 3), {}) == {}


def test_empty_case_has_no_locations(tmp_path):
  raw = raw_case(0)
  dataset = prepare(
    source_of({"x": raw._replace(label=np.zeros_like(raw.label))}), cache_dir=tmp_path
  )
  assert dataset.locations(0) == {}


def test_a_cases_content_is_that_of_its_voxels_wherever_they_lie(tmp_path, cases):
  first = prepare(source_of(cases), cache_dir=tmp_path / "a", workers=1)
  again = prepare(source_of(cases, fingerprint="1"), cache_dir=tmp_path / "b", workers=1)
  assert [first.content(i) for i in range(12)] == [again.content(i) for i in range(12)]
  assert len({first.content(i) for i in range(12)}) == 12
  raw = cases["case_0"]
  wider = raw._replace(image=raw.image.astype(np.float64), label=raw.label.astype(np.int64))
  assert content(wider) == content(raw) == first.content(0)
  for other in (
    raw._replace(geometry=plain_geometry(raw.label.shape, (3, 2, 2))),
    raw._replace(label=raw.label[::-1]),
    raw._replace(weight=np.ones(raw.label.shape)),
  ):
    assert content(other) != content(raw)
