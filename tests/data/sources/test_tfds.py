"""Sets of TensorFlow Datasets: what jaxseg writes TFDS reads, and both ways keep every voxel."""

import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets
from PIL import Image
from tensorflow_datasets.core import dataset_info, sequential_writer

from jaxseg.batch import LabelSpec
from jaxseg.data import RawCase, Source, tfds, write_tfds
from jaxseg.data.formats.geometry import Geometry, plain_geometry
from jaxseg.data.prepared.preparing import prepare
from jaxseg.data.sources import tfds_writing

features = tensorflow_datasets.features


def raw_case(shape, channels, image=np.float32, values=(0, 1, 2), geometry=None, weight=None):
  random = np.random.default_rng(sum(shape))
  voxels = (255 * random.random((*shape, channels))).astype(image)
  label = random.choice(values, shape).astype(np.int32)
  return RawCase(voxels, label, weight, geometry or plain_geometry(shape))


def source_of(cases, labels, channels, name="My set-1"):
  rank = next(iter(cases.values())).label.ndim
  return Source(name, tuple(cases), channels, labels, rank, cases.__getitem__, "")


PLAIN = LabelSpec(("background", "a", "b"), (0, 1, 2))
VALUES = LabelSpec(("rest", "a"), (7, 300), ignore=9, mirror_pairs=((0, 1),))
NESTED = LabelSpec(("whole", "core"), (0, 1, 2), regions=((1, 2), (2,)), ignore=3)
OBLIQUE = np.array([[0, -0.1, 3, 5.5], [-2, 0, 0, 7], [0, 1, 0.2, 1e3], [0, 0, 0, 1.0]])

SETS = {
  "colour pictures": (
    {"b": raw_case((7, 9), 3, np.uint8), "a": raw_case((5, 6), 3, np.uint8)},
    PLAIN,
    ("red", "green", "blue"),
  ),
  "grey of 16 bits": ({"a": raw_case((7, 9), 1, np.uint16)}, PLAIN, ("grey",)),
  "two channels": ({"a": raw_case((7, 9), 2, np.uint8)}, PLAIN, ("x", "y")),
  "volumes of two channels": (
    {
      "case 2": raw_case(
        (4, 5, 6), 2, values=(7, 300, 9), geometry=plain_geometry((4, 5, 6), (3, 2, 1))
      ),
      "case 10": raw_case(
        (3, 5, 7), 2, values=(7, 300), geometry=Geometry(OBLIQUE, (3, 5, 7), "nifti")
      ),
    },
    VALUES,
    ("t1", "t2"),
  ),
  "types that differ": (
    {"a": raw_case((4, 5, 6), 1, np.int16), "b": raw_case((4, 5, 6), 1, np.uint16)},
    PLAIN,
    ("ct",),
  ),
  "regions and weights": (
    {
      "a": raw_case((4, 5, 6), 1, np.float64, values=(0, 1, 2, 3)),
      "b": raw_case((4, 5, 6), 1, weight=np.linspace(0, 1, 120, dtype=np.float32).reshape(4, 5, 6)),
    },
    NESTED,
    ("mr",),
  ),
}


@pytest.mark.parametrize("kind", SETS)
def test_every_source_comes_back_to_the_voxel(kind, tmp_path):
  cases, labels, channels = SETS[kind]
  source = source_of(cases, labels, channels)
  folder = write_tfds(source, {"train": list(cases)}, tmp_path)
  assert folder == tmp_path / "my_set_1" / "1.0.0"
  back = tfds("my_set_1", data_dir=str(tmp_path))
  assert (back.labels, back.channels, back.rank) == (labels, channels, source.rank)
  assert sorted(back.cases) == sorted(cases)
  weighted = any(raw.weight is not None for raw in cases.values())
  for name, raw in cases.items():
    found = back.read(name)
    assert found.image.dtype == np.result_type(*(c.image.dtype for c in cases.values()))
    np.testing.assert_array_equal(found.image, raw.image)
    np.testing.assert_array_equal(found.label, raw.label)
    np.testing.assert_array_equal(found.geometry.affine, raw.geometry.affine)
    np.testing.assert_array_equal(found.geometry.spacing, raw.geometry.spacing)
    assert found.geometry.axcodes == raw.geometry.axcodes
    if weighted:
      expected = np.ones(raw.label.shape) if raw.weight is None else raw.weight
      np.testing.assert_array_equal(found.weight, expected)
    else:
      assert found.weight is None


def test_tfds_itself_reads_what_was_written(tmp_path):
  cases = {f"c{i}": raw_case((5, 6), 3, np.uint8) for i in range(3)}
  source = source_of(cases, PLAIN, ("r", "g", "b"))
  folder = write_tfds(source, {"train": ["c2", "c0"], "validation": ["c1"]}, tmp_path)
  builder = tensorflow_datasets.builder_from_directory(folder)
  assert {name: split.num_examples for name, split in builder.info.splits.items()} == {
    "train": 2,
    "validation": 1,
  }
  assert isinstance(builder.info.features["image"], features.Image)
  record = builder.as_data_source("train")[0]
  np.testing.assert_array_equal(record["image"], cases["c2"].image)
  np.testing.assert_array_equal(record["label"][..., 0], cases["c2"].label)
  assert record["case"] == b"c2"
  # in natural order, of all splits and of one
  assert tfds("my_set_1", data_dir=str(tmp_path), split="all").cases == ("c0", "c1", "c2")
  assert tfds("my_set_1", data_dir=str(tmp_path), split="validation").cases == ("c1",)
  assert tfds("my_set_1", data_dir=str(tmp_path), split="train[:1]").cases == ("c2",)
  with pytest.raises(ValueError, match=r"my_set_1/1.0.0: is there already"):
    write_tfds(source, {"train": ["c0"]}, tmp_path)


def test_many_cases_are_spread_over_files(tmp_path, monkeypatch):
  monkeypatch.setattr(tfds_writing, "_SHARD", 2 * 5 * 6 * 3)
  cases = {f"c{i}": raw_case((5, 6), 3, np.uint8) for i in range(5)}
  folder = write_tfds(source_of(cases, PLAIN, ("r", "g", "b")), {"train": list(cases)}, tmp_path)
  assert len(list(folder.glob("*.array_record*"))) == 3
  assert tfds("my_set_1", data_dir=str(tmp_path)).cases == tuple(cases)


def foreign(folder, examples, of, name="pets", split="train", version="2.0.0", metadata=None):
  """A set as others write it, by TFDS's own writer."""
  home = folder / name / version
  home.mkdir(parents=True)
  identity = dataset_info.DatasetIdentity(
    name=name, version=tensorflow_datasets.core.Version(version), data_dir=str(home), module_name=""
  )
  info = dataset_info.DatasetInfo(builder=identity, features=features.FeaturesDict(of))
  writer = sequential_writer.SequentialWriter(info, 100, file_format="array_record")
  writer.initialize_splits([split])
  writer.add_examples({split: examples})
  writer.close_all()
  return home


PETS = {
  "image": features.Image(shape=(None, None, 3)),
  "segmentation_mask": features.Image(shape=(None, None, 1)),
  "file_name": features.Text(),
  "species": features.ClassLabel(names=["cat", "dog"]),
}


def pet(name):
  return {
    "image": Image.fromarray(np.full((4, 5, 3), 9, np.uint8)),
    "segmentation_mask": Image.fromarray(np.array([[1, 2, 3, 3, 1]] * 4, np.uint8)),
    "file_name": name,
    "species": 1,
  }


def test_a_set_of_others_is_read(tmp_path):
  foreign(tmp_path, [pet("x.jpg"), pet("y.jpg")], PETS)
  options = {"names": ("pet", "background", "border"), "values": (1, 2, 3)}
  source = tfds("pets", data_dir=str(tmp_path), case="file_name", **options)
  assert source.cases == ("x.jpg", "y.jpg")
  assert source.channels == ("red", "green", "blue")
  raw = source.read("y.jpg")
  assert (raw.image == 9).all()
  assert raw.image.shape == (4, 5, 3)
  np.testing.assert_array_equal(raw.label, [[1, 2, 3, 3, 1]] * 4)
  assert tfds("pets:2.0.0", data_dir=str(tmp_path), **options).cases == ("000000", "000001")
  copy = pickle.loads(pickle.dumps(source))
  np.testing.assert_array_equal(copy.read("x.jpg").label, raw.label)
  dataset = prepare(source, cache_dir=tmp_path / "cache", workers=1)
  np.testing.assert_array_equal(dataset.load(0)["label"], [[0, 1, 2, 2, 0]] * 4)


@pytest.mark.parametrize("kind", [np.bool_, np.float32, np.int64, np.uint16])
@pytest.mark.parametrize("last", [(), (1,)])
def test_masks_of_every_type_and_volumes_without_channels(tmp_path, kind, last):
  mask = np.zeros((3, 4, 5, *last), kind)
  mask[1] = 1
  volume = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
  of = {
    "scan": {
      "volume": features.Tensor(shape=(None, None, None), dtype=np.float32, encoding="zlib"),
      "mask": features.Tensor(shape=(None, None, None, *last), dtype=kind, encoding="bytes"),
    }
  }
  foreign(tmp_path, [{"scan": {"volume": volume, "mask": mask}}], of)
  source = tfds(
    "pets",
    data_dir=str(tmp_path),
    image="scan/volume",
    label="scan/mask",
    names=("rest", "organ"),
    spacing=(3, 1, 2),
  )
  raw = source.read("000000")
  assert source.rank == 3
  np.testing.assert_array_equal(raw.image[..., 0], volume)
  np.testing.assert_array_equal(raw.label, mask.reshape(3, 4, 5))
  np.testing.assert_array_equal(raw.geometry.spacing, [3, 1, 2])


def test_a_labeled_image_brings_its_names(tmp_path):
  of = {
    **PETS,
    "segmentation_mask": features.LabeledImage(labels=["a", "b", "c", "d"], shape=(None, None, 1)),
  }
  foreign(tmp_path, [pet("x")], of)
  assert tfds("pets", data_dir=str(tmp_path)).labels.names == ("a", "b", "c", "d")


NAMES = {"names": ("pet", "background", "border"), "values": (1, 2, 3)}


@pytest.mark.parametrize(
  ("options", "told"),
  [
    ({"dataset": "pest"}, r"pest: not found \(did you mean 'pets'\?\); sets there: pets"),
    ({"dataset": "pets:3.0.0"}, r"pets: holds no such set 'pets:3.0.0'; versions: 2.0.0"),
    ({"dataset": "pets/small"}, r"pets: has no config 'small'; configs: none"),
    ({"dataset": "../pets"}, r"'../pets'; expected NAME, NAME/CONFIG or NAME:VERSION"),
    ({"data_dir": "/nowhere"}, r"/nowhere: the folder of TFDS sets .* not found"),
    ({"split": "trian"}, r"no split 'trian' \(did you mean 'train'\?\); splits: train"),
    ({"split": "train[:0]"}, "holds no example"),
    ({"image": "imag"}, r"source.image: no feature is called 'imag' \(did you mean 'image'\?\)"),
    ({"image": "species"}, r"'species' is no image.*features: .*segmentation_mask Image"),
    ({"label": "file_name"}, r"source.label: 'file_name' is no image, volume or mask"),
    ({"label": "image"}, r"label 'image' \(None, None, 3\) don't fit"),
    ({"case": "filename"}, r"source.case: no feature is called 'filename'"),
    ({"case": "species"}, r"records 0 and 1 of .* are both called '1'"),
    ({"names": None, "values": None}, r"source.names: .* The first 2 masks hold: 1, 2, 3\."),
    ({"values": (1, 2)}, r"values: \(1, 2\) must give each of the 3 names"),
  ],
)
def test_what_is_wrong_is_told(tmp_path, options, told):
  foreign(tmp_path, [pet("x"), pet("y")], PETS)
  with pytest.raises((ValueError, OSError), match=told):
    tfds(**{"dataset": "pets", "data_dir": str(tmp_path), **NAMES, **options})


def test_another_file_format_and_damaged_descriptions_are_told(tmp_path):
  home = foreign(tmp_path, [pet("x")], PETS)
  index = home / "dataset_info.json"
  good = index.read_text()
  index.write_text(good.replace("array_record", "tfrecord"))
  with pytest.raises(ValueError, match=r"was prepared as tfrecord, .* file_format='array_record'"):
    tfds("pets", data_dir=str(tmp_path), **NAMES)


@pytest.mark.parametrize("file", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"featuresDict": 3}'])
def test_a_damaged_description_is_told(tmp_path, file, content):
  home = foreign(tmp_path, [pet("x")], PETS)
  (home / file).write_text(content)
  with pytest.raises(ValueError, match=r"2.0.0: is no set of TFDS"):
    tfds("pets", data_dir=str(tmp_path), **NAMES)


def test_damaged_records_are_told_or_read_the_same(tmp_path):
  random, told = np.random.default_rng(0), 0
  for trial in range(20):
    home = foreign(tmp_path / str(trial), [pet("x")], PETS)
    (file,) = home.glob("*.array_record*")
    data = bytearray(file.read_bytes())
    place = int(random.integers(len(data)))
    data[place] ^= 1 << int(random.integers(8))
    file.write_bytes(data if trial else data[: len(data) // 2])
    try:
      raw = tfds("pets", data_dir=str(tmp_path / str(trial)), **NAMES).read("000000")
    except ValueError as error:
      told += 1
      reason = str(error)
      assert str(home) in reason and "\n" not in reason  # noqa: PT018
    else:
      assert (raw.image == 9).all()
      np.testing.assert_array_equal(raw.label, [[1, 2, 3, 3, 1]] * 4)
  assert told


def test_tensorflow_is_not_needed(tmp_path):
  code = f"""
import sys
import pathlib
from jaxseg.data import write_tfds, tfds
from jaxseg.data.sources.phantom import phantom
source = phantom(cases=2, size=(16, 16))
write_tfds(source, {{"train": source.cases}}, pathlib.Path({str(tmp_path)!r}))
back = tfds(source.name, data_dir={str(tmp_path)!r})
assert (back.read(back.cases[0]).image == source.read(source.cases[0]).image).all()
assert "tensorflow" not in sys.modules
"""
  root = pathlib.Path(__file__).parents[3]
  subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
