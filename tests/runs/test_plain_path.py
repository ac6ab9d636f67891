"""Paths of plain letters for libraries that take some characters for patterns."""

import tempfile

import numpy as np
import pytest

from jaxseg.data.prepared import blocks
from jaxseg.runs import plain_path


def test_a_plain_path_stays_itself(tmp_path):
  folder = tmp_path / "a-b_c.1,2=3+4 5"
  assert plain_path.plain_path(folder) == folder


@pytest.mark.parametrize("name", ["a[b]", "back\\slash", "x.__lock", "gs:", "new\nline", "ü%"])
def test_another_one_is_reached_by_a_link_that_one_process_makes_once(tmp_path, name):
  folder = tmp_path / name / "inner"
  path = plain_path.plain_path(folder / "file")
  folder.mkdir(parents=True)
  path.write_text("here")
  assert (folder / "file").read_text() == "here"
  assert name not in str(path)
  assert plain_path.plain_path(folder / "other").parent == path.parent
  path.parents[1].unlink()  # as who clears temporary files away does
  assert plain_path.plain_path(folder / "file").read_text() == "here"


def test_a_folder_for_temporary_files_that_is_no_better_is_told(tmp_path, monkeypatch):
  (tmp_path / "[tmp]").mkdir()
  monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "[tmp]"))
  with pytest.raises(ValueError, match=r"TMPDIR: .*\[tmp\].*set TMPDIR to a folder of plain"):
    plain_path.plain_path(tmp_path / "a[b]")


@pytest.mark.parametrize("name", ["back\\slash", "x.__lock", "a[b]*"])
def test_prepared_arrays_lie_in_any_folder(tmp_path, name):
  array = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
  folder = tmp_path / name / "image"
  folder.parent.mkdir()
  stored = blocks.write(folder, array, (2, 2, 5))
  np.testing.assert_array_equal(blocks.read(folder, stored), array)
  assert sorted(p.name for p in tmp_path.iterdir()) == [name]
