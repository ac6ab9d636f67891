"""A set is the same however it came about: with several processes, after a kill, on a full disk."""

import concurrent.futures
import errno
import hashlib
import os
import pathlib
import subprocess
import sys
import time
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pytest

from jaxseg import files
from jaxseg.batch import LabelSpec
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.data.formats.images import read_image
from jaxseg.data.prepared import blocks, building, workers
from jaxseg.data.prepared.preparing import prepare
from jaxseg.data.prepared.workers import LostWorker
from jaxseg.data.sources.source import RawCase, Source

LABELS = LabelSpec(("background", "a", "b"), (0, 5, 9), ignore=7)
OPTIONS = {"spacing": (1.5, 1, 1), "normalise": {"name": "zscore", "nonzero": True}}
OPTIONS |= {"crop_nonzero": True, "transpose": (1, 0, 2)}


class Reader(NamedTuple):
  """Reads made-up cases; a plain value, so that it can be sent to other processes."""

  pause: float = 0.0
  log: str = ""

  def __call__(self, name: str) -> RawCase:
    time.sleep(self.pause)
    if self.log:
      with open(self.log, "a") as file:
        file.write(f"{name}\n")
    random = np.random.default_rng(int(name))
    shape = (9, 12, 10)
    image = np.zeros((*shape, 1), np.float32)
    image[1:8, 2:, :9] = 1 + random.random((7, 10, 9, 1))
    label = np.repeat(np.repeat(random.choice([0, 5, 7, 9], (9, 4, 5)), 3, 1), 2, 2)
    return RawCase(image, label, None, plain_geometry(shape, (1, 2, 1)))


def source_of(read, count=4):
  return Source("made", tuple(map(str, range(count))), ("MR",), LABELS, 3, read, "0")


def hashes(folder: pathlib.Path) -> dict[str, str]:
  return {
    file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
    for file in sorted(folder.rglob("*"))
    if file.is_file()
  }


def test_case_is_stored_as_its_preparation_gives_it(tmp_path):
  dataset = prepare(source_of(Reader(), 2), cache_dir=tmp_path, **OPTIONS)
  raw = Reader()("1")
  image, grid = dataset.preparation.place(raw)
  sample = dataset.load(1)
  np.testing.assert_array_equal(sample["image"], image)
  # 10 x 7 x 9 voxels of 2, 1, 1 mm
  assert dataset.shape(1) == sample["label"].shape == (13, 7, 9)
  np.testing.assert_array_equal(sample["spacing"], np.float32([1.5, 1, 1]))
  stored = grid.label(grid.cut(raw.label), (0, 5, 7, 9))
  np.testing.assert_array_equal(sample["weight"], stored != 7)
  np.testing.assert_array_equal(sample["label"], 1 * (stored == 5) + 2 * (stored == 9))
  np.testing.assert_array_equal(sample["body"], np.ones((13, 7, 9)))
  for k, voxels in dataset.locations(1).items():
    found = sample["label"] == k if k else sample["weight"] > 0
    np.testing.assert_array_equal(voxels, np.argwhere(found))
  part = dataset.crop(1, (2, 0, 3), (8, 7, 2))
  assert set(part) == set(sample)
  for field in set(sample) - {"spacing"}:
    np.testing.assert_array_equal(part[field], sample[field][2:10, :, 3:5])
    assert part[field].dtype == sample[field].dtype


class LargeNumbers(NamedTuple):
  """Reads cases of a NIfTI file each, of integers up to `largest`."""

  folder: pathlib.Path
  largest: int

  def __call__(self, name: str) -> RawCase:
    voxels = np.arange(self.largest - 7, self.largest + 1, dtype=np.int32).reshape(2, 2, 2)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), self.folder / f"{name}.nii")
    image, geometry = read_image(self.folder / f"{name}.nii")
    return RawCase(image, np.full((2, 2, 2), 5), None, geometry)


@pytest.mark.parametrize(
  ("largest", "scheme", "told"),
  [(2**24, "none", 0), (2**24 + 1, "none", 1), (2**24 + 1, "minmax", 0)],
)
def test_integers_that_float32_rounds_are_told_once(tmp_path, recwarn, largest, scheme, told):
  source = source_of(LargeNumbers(tmp_path, largest), 3)
  dataset = prepare(source, cache_dir=tmp_path, workers=1, normalise=scheme)
  lines = [str(warning.message) for warning in recwarn if "2^24" in str(warning.message)]
  assert len(lines) == told
  assert all("'made': 3 case(s) hold integers beyond 2^24 ('0')" in line for line in lines)
  # what is scaled before has all its digits
  image = np.sort(dataset.load(0)["image"].ravel())
  if scheme == "minmax":
    np.testing.assert_allclose(image, np.arange(8) / 7, rtol=1e-6)


def test_regions_stay_nested_when_resampled(tmp_path):
  labels = LabelSpec(("whole", "core"), (0, 5, 7, 9), regions=((5, 7, 9), (9,)))
  source = source_of(Reader(), 1)._replace(labels=labels)
  sample = prepare(source, cache_dir=tmp_path, spacing=(1.3, 1.7, 0.8)).load(0)
  whole, core = np.moveaxis(sample["soft_label"], -1, 0)
  assert set(np.unique(sample["soft_label"])) == {0, 1}
  assert core.any()
  assert (whole >= core).all()


def test_two_processes_write_the_same_bytes_as_one(tmp_path):
  one = prepare(source_of(Reader()), cache_dir=tmp_path / "one", workers=1, **OPTIONS)
  two = prepare(source_of(Reader()), cache_dir=tmp_path / "two", workers=2, **OPTIONS)
  assert one.folder.name == two.folder.name
  assert hashes(one.folder) == hashes(two.folder)


def test_interrupted_preparation_goes_on_with_what_is_missing(tmp_path, monkeypatch):
  class Stopped(BaseException):
    pass

  whole = prepare(source_of(Reader()), cache_dir=tmp_path / "whole", workers=1, **OPTIONS)
  log = tmp_path / "log"
  write, count = blocks.write, []

  def stop_in_the_third_case(folder, array, block):
    count.append(folder)
    # 4 fields in each case
    if len(count) == 10:
      raise Stopped
    return write(folder, array, block)

  with monkeypatch.context() as patch:
    patch.setattr(blocks, "write", stop_in_the_third_case)
    with pytest.raises(Stopped):
      prepare(source_of(Reader()), cache_dir=tmp_path / "part", workers=1, **OPTIONS)
  # as after a kill: the folder of the third case remains as it was
  (growing,) = (tmp_path / "part" / "made").iterdir()
  (growing / ".part-000002").mkdir()
  again = prepare(
    source_of(Reader(log=str(log))), cache_dir=tmp_path / "part", workers=1, **OPTIONS
  )
  # the first is looked at for its kind
  assert log.read_text().split() == ["0", "2", "3"]
  assert hashes(again.folder) == hashes(whole.folder)
  assert [f.name for f in again.folder.parent.iterdir()] == [again.folder.name]


def test_full_disk_is_told_and_what_is_done_is_kept(tmp_path, monkeypatch):
  def full(file, rows):
    if "000002" in str(file):
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
    with open(file, "wb") as opened:
      np.lib.format.write_array(opened, rows)

  with monkeypatch.context() as patch:
    patch.setattr(building.np, "save", full)
    with pytest.raises(OSError, match=r"disk is full; 2 of 4 cases of 'made' are done"):
      prepare(source_of(Reader()), cache_dir=tmp_path, workers=1)
  (growing,) = (tmp_path / "made").iterdir()
  assert sorted(f.name for f in growing.iterdir() if f.is_dir()) == ["000000", "000001"]
  assert len(prepare(source_of(Reader()), cache_dir=tmp_path, workers=1).names) == 4


@pytest.mark.parametrize(
  "told",
  [
    ValueError("RESOURCE_EXHAUSTED: Error writing ...: [OS error 28: No space left on device]"),
    OSError("60000 requested and 53216 written"),  # np.save
  ],
)
def test_every_librarys_word_for_a_full_disk_is_understood(told):
  assert files.disk_is_full(told)
  assert not files.disk_is_full(PermissionError(errno.EACCES, "0 requested and 0 written"))
  assert not files.disk_is_full(ValueError("anything else"))


def test_what_is_done_is_kept_when_a_worker_is_lost(tmp_path, monkeypatch):
  def spread(function, items, **options):
    for item in list(items)[:2]:
      yield function(item)
    raise LostWorker("preparing made: a worker process ended early")

  with monkeypatch.context() as patch:
    patch.setattr(building, "spread", spread)
    with pytest.raises(ValueError, match="a worker process ended early"):
      prepare(source_of(Reader()), cache_dir=tmp_path)
  (growing,) = (tmp_path / "made").iterdir()
  assert sorted(f.name for f in growing.iterdir() if f.is_dir()) == ["000000", "000001"]


def test_two_runs_that_prepare_the_same_set_share_the_work(tmp_path):
  log = tmp_path / "log"
  source = source_of(Reader(0.05, str(log)))
  with concurrent.futures.ThreadPoolExecutor(3) as pool:
    runs = [pool.submit(prepare, source, cache_dir=tmp_path, workers=1) for _ in range(3)]
  assert len({run.result().folder for run in runs}) == 1
  # each case once, and the first twice: it is looked at for its kind
  assert sorted(log.read_text().split()) == ["0", "0", "1", "2", "3"]
  (folder,) = (tmp_path / "made").iterdir()
  assert (folder / building.INDEX).is_file()


def test_work_that_cannot_be_sent_is_done_here():
  assert list(workers.spread(lambda x: x + 1, range(3), workers=2, what="work")) == [1, 2, 3]
  with pytest.raises(ValueError, match="work: workers is 0; expected a positive number"):
    list(workers.spread(abs, (1,), workers=0, what="work"))


def test_a_script_without_a_main_guard_ends_with_a_sentence(tmp_path):
  # its workers run it again: they used to wait for the parent, who waited for them
  script = tmp_path / "script.py"
  script.write_text(
    "import sys\n"
    f"sys.path.insert(0, {os.path.dirname(__file__)!r})\n"
    "from test_building import Reader, prepare, source_of\n"
    f"prepare(source_of(Reader()), cache_dir={str(tmp_path)!r}, workers=2)\n"
  )
  run = subprocess.run(
    (sys.executable, str(script)), capture_output=True, text=True, timeout=120, check=False
  )
  assert run.returncode == 1
  assert "put the script's work under `if __name__ == '__main__':`" in run.stderr
  assert "LostWorker: preparing made: a worker process ended early" in run.stderr


def test_a_case_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
  happened = []
  flush, rename = files.flush, files.rename

  def note_flush(path):
    happened.append(("flush", pathlib.Path(path).name))
    flush(path)

  def note_rename(old, new):
    happened.append(("rename", pathlib.Path(new).name))
    rename(old, new)

  monkeypatch.setattr(files, "flush", note_flush)
  monkeypatch.setattr(files, "rename", note_rename)
  dataset = prepare(source_of(Reader(), 2), cache_dir=tmp_path, workers=1)
  cases = [("flush", ".part-000000"), ("rename", "000000")]
  cases += [("flush", ".part-000001"), ("rename", "000001")]
  index, named = happened[4:-1], happened[-1]
  assert happened[:4] == cases
  assert [what for what, _ in index] == ["flush"]
  assert named == ("rename", dataset.folder.name)
