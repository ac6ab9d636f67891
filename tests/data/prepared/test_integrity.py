"""Damage to a prepared set is told when it is read: no bit changes a voxel without a word."""

import json
import pathlib
import shutil
import zlib

import numpy as np
import pytest
import tensorstore

from jaxseg import data
from jaxseg.batch import LabelSpec
from jaxseg.data import sampling
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.data.prepared import blocks, building, integrity
from jaxseg.data.prepared.dataset import open_prepared
from jaxseg.data.prepared.preparing import prepare
from jaxseg.data.sources.source import RawCase, Source
from jaxseg.data.stream import MAIN, Feeder, Stream
from jaxseg.sealed import Damaged

LABELS = LabelSpec(("background", "a", "b"), (0, 1, 2))
SHAPE = (13, 18, 15)


def read_case(name):
  random = np.random.default_rng(int(name))
  label = np.zeros(SHAPE, np.uint8)
  label[2:6, 3:9, 2:11], label[8:12, 6:, 3:7] = 1, 2
  image = label[..., None] + random.standard_normal((*SHAPE, 1)).astype(np.float32)
  return RawCase(image, label, None, plain_geometry(SHAPE, (2, 1, 1)))


def prepared(folder, read=read_case):
  source = Source("made", ("0", "1", "2"), ("MR",), LABELS, 3, read, "0")
  return prepare(source, cache_dir=folder, workers=1)


def contents(folder, maps=None):
  """All that training can ever be given of a set."""
  dataset = data.with_maps(open_prepared(folder), maps or {})
  found = [np.array([dataset.shape(i) for i in range(3)])]
  for i in range(3):
    for sample in (dataset.load(i), dataset.crop(i, (1, 2, 3), (9, 8, 7))):
      found += [sample[field] for field in sorted(sample)]
    found += [np.array(voxels) for _, voxels in sorted(dataset.locations(i).items())]
  return found


def error_of(function):
  try:
    function()
  except Exception as error:
    return error
  return None


def same(a, b):
  return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def flip(file: pathlib.Path, random) -> None:
  damaged = bytearray(file.read_bytes())
  damaged[random.integers(len(damaged))] ^= 1 << random.integers(8)
  file.write_bytes(damaged)


def block_file(folder, case, field):
  (file,) = (f for f in (folder / f"{case:06d}" / field / "c").rglob("*") if f.is_file())
  return file


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """A set with a map beside it."""
  dataset = prepared(tmp_path_factory.mktemp("whole"))
  data.with_maps(dataset, {"distance": {}})
  return dataset.folder


@pytest.mark.parametrize(
  ("pattern", "trials"),
  [
    ("0*/image/c/**/0", 20),
    ("0*/label/c/**/0", 20),
    ("0*/locations.npy", 20),
    ("0*/*/sums", 10),
    ("jaxseg.json", 20),
    ("fields/*/*/values/c/**/0", 20),
    ("fields/*/*/field.json", 10),
    ("**/zarr.json", 5),
  ],
)
def test_a_flipped_bit_is_told_or_changes_nothing(whole, tmp_path, pattern, trials):
  random, expected, told = np.random.default_rng(1), contents(whole, {"distance": {}}), 0
  for trial in range(trials):
    folder = tmp_path / str(trial)
    shutil.copytree(whole, folder)
    files = sorted(file for file in folder.glob(pattern) if file.is_file())
    flip(files[random.integers(len(files))], random)
    error = error_of(lambda folder=folder: contents(folder, {"distance": {}}))
    if error is None:
      assert same(contents(folder, {"distance": {}}), expected), f"trial {trial} is silent"
      continue
    told += 1
    assert isinstance(error, ValueError)
    assert str(folder) in str(error)
    assert "give the command again: it is made anew" in str(error)
    assert "\n" not in str(error)
  # zarr's own description of an array is for other programs: the index knows it
  assert told == (0 if "zarr" in pattern else trials)


def test_damage_after_a_first_reading_is_told_too(whole, tmp_path):
  folder, random = tmp_path / "set", np.random.default_rng(0)
  shutil.copytree(whole, folder)
  dataset = open_prepared(folder)
  expected = contents(folder)
  files = [block_file(folder, 1, "image"), block_file(folder, 1, "label")]
  for file in (*files, folder / "000001" / "locations.npy"):
    kept = file.read_bytes()
    flip(file, random)
    error = error_of(lambda: (dataset.load(1), dataset.locations(1)))
    assert isinstance(error, Damaged), file
    file.write_bytes(kept)
  assert same(contents(folder), expected)


def damage_missing(folder):
  block_file(folder, 1, "image").unlink()


def damage_missing_label(folder):
  block_file(folder, 1, "label").unlink()


def damage_truncated(folder):
  file = block_file(folder, 1, "image")
  file.write_bytes(file.read_bytes()[:-9])


def damage_emptied(folder):
  block_file(folder, 1, "label").write_bytes(b"")


def damage_other_case(folder):
  shutil.copy(block_file(folder, 0, "image"), block_file(folder, 1, "image"))


def damage_case_gone(folder):
  shutil.rmtree(folder / "000001")


def damage_locations(folder):
  (folder / "000001" / "locations.npy").write_bytes(b"\x93NUMPY")


def damage_locations_gone(folder):
  (folder / "000001" / "locations.npy").unlink()


@pytest.mark.parametrize("damage", [v for k, v in globals().items() if k.startswith("damage_")])
def test_what_is_missing_or_cut_is_told_with_set_case_and_remedy(whole, tmp_path, damage):
  folder = tmp_path / "my set"
  shutil.copytree(whole, folder)
  damage(folder)
  with pytest.raises(Damaged) as told:
    contents(folder)
  assert f"{folder}: the prepared set is damaged (case '1', " in str(told.value)
  assert f"remove it (rm -r '{folder}') and give the command again" in str(told.value)


def test_a_block_that_was_never_written_is_no_zeros(tmp_path):
  written = blocks.write(tmp_path / "a", np.ones((4, 4), np.float32), (2, 4))
  file = tmp_path / "a" / "c" / "0" / "0"
  # an index without an entry for the second block, with a true checksum: TensorStore's own, of
  # zeros beside ones
  metadata = blocks.metadata_of((4, 4), "float32", (2, 4))
  spec = {**blocks._spec(tmp_path / "b"), "metadata": metadata}
  array = np.ones((4, 4), np.float32)
  array[2:] = 0
  tensorstore.open(spec, create=True).result().write(array).result()
  content = (tmp_path / "b" / "c" / "0" / "0").read_bytes()
  file.write_bytes(content)
  sparse = written._replace(size=len(content), index=zlib.crc32(content[-36:]))
  assert (blocks.read(tmp_path / "a", sparse, (slice(0, 2),)) == 1).all()
  with pytest.raises(Damaged, match="a block is missing"):
    blocks.read(tmp_path / "a", sparse)


@pytest.mark.parametrize(
  "change", [{"spacing": [9, 9, 9]}, {"shape": [13, 18, 14]}, {"name": "other"}]
)
def test_an_edited_index_is_told(whole, tmp_path, change):
  folder = tmp_path / "set"
  shutil.copytree(whole, folder)
  index = json.loads((folder / building.INDEX).read_text())
  index["cases"][0] |= change
  (folder / building.INDEX).write_text(json.dumps(index))
  with pytest.raises(Damaged, match=r"jaxseg.json: .* was edited or damaged; remove it \(rm -r"):
    open_prepared(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"digests": 3}', "\xff"])
def test_an_index_of_another_form_is_told(whole, tmp_path, content):
  folder = tmp_path / "set"
  shutil.copytree(whole, folder)
  (folder / building.INDEX).write_bytes(content.encode("latin-1"))
  with pytest.raises(ValueError, match=r"jaxseg.json: .*remove it \(rm -r"):
    open_prepared(folder)


@pytest.mark.parametrize("cache", sampling.CACHES)
def test_every_cache_hands_damage_to_who_asks_for_batches(whole, tmp_path, cache):
  folder = tmp_path / "set"
  shutil.copytree(whole, folder)
  flip(block_file(folder, 1, "image"), np.random.default_rng(0))
  dataset = open_prepared(folder)
  how = sampling.sampling(3, patch=SHAPE, batch=2)
  feeder = Feeder({MAIN: Stream(dataset, (0, 1, 2), how)}, cache=cache)

  def feed():
    return feeder.store() or list(feeder.elements(0, 3))

  with pytest.raises(Damaged, match=r"case '1', image"):
    feed()


@pytest.mark.parametrize("name", ["a[v2]", "a b", "a#1", "a%41", "a?b", "a*{b}", "ü'\""])
def test_any_folder_holds_a_set(tmp_path, whole, name):
  dataset = prepared(tmp_path / name)
  assert same(contents(dataset.folder), contents(whole))
  data.with_maps(dataset, {"distance": {}}).load(0)


def test_a_damaged_case_of_an_interrupted_preparation_is_made_again(tmp_path, whole):
  class Stopped(BaseException):
    pass

  def until_the_third(name):
    if name == "2":
      raise Stopped
    return read_case(name)

  with pytest.raises(Stopped):
    prepared(tmp_path, until_the_third)
  (growing,) = (tmp_path / "made").iterdir()
  damage_truncated(growing)
  note = growing / "000000" / building.NOTE
  note.write_text(note.read_text().replace("[13, 18", "[12, 18"))
  assert same(contents(prepared(tmp_path).folder), contents(whole))


def test_what_cannot_be_read_is_no_damage(tmp_path):
  # an error of the device must not send anybody to remove a set
  words = 'UNKNOWN: Error reading local file "x": [OS error 5: Input/output error]'
  told = blocks._error(tmp_path / "a", words)
  assert isinstance(told, OSError)
  assert str(told) == f"{tmp_path}/a: cannot be read (Input/output error)."
  assert not isinstance(told, ValueError)


def test_a_sum_is_the_same_whatever_the_parts(tmp_path, monkeypatch):
  (tmp_path / "a").write_bytes(b"123456789")
  # the check value of CRC-32
  assert integrity.file_sum(tmp_path / "a") == (9, 0xCBF43926)
  monkeypatch.setattr(integrity, "_PART", 2)
  assert integrity.file_sum(tmp_path / "a") == (9, 0xCBF43926)
