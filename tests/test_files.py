import errno
import os
import pathlib

import pytest

from jaxseg import files

HOW = dict(what="the run's config", advice="copy the folder again")


def test_a_file_appears_whole_or_not_at_all(tmp_path):
  with pytest.raises(UnicodeEncodeError):
    files.write_text(tmp_path / "a.txt", "half" + chr(0xD800))
  assert list(tmp_path.iterdir()) == []
  files.write_text(tmp_path / "a.txt", "whole")
  assert [f.name for f in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_is_told_with_the_path(tmp_path):
  with pytest.raises(files.DiskFull) as told, files.replacing(tmp_path / "a.txt"):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
  assert str(told.value).startswith(f"{tmp_path / 'a.txt'}: the disk is full; free room")
  with pytest.raises(files.DiskFull), files.full_disk_told(tmp_path):
    raise ValueError(f"RESOURCE_EXHAUSTED: Error writing ({os.strerror(errno.ENOSPC)})")


def test_json_is_read_with_and_without_a_byte_order_mark(tmp_path):
  (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{\r\n"a": 1}\r\n')
  assert files.read_json(tmp_path / "a.json", **HOW, fields={"a": int}) == {"a": 1}


@pytest.mark.parametrize(
  ("content", "words"),
  [
    (b"", "is damaged or no JSON"),
    (b'{"a": ', "is damaged or no JSON"),
    (b"\xff\xfe", "UTF-8"),
    (b"[]", "holds a list, expected an object"),
    (b"null", "holds null"),
    (b"{}", "lacks 'a'"),
    (b'{"a": "x"}', "'a' is a text, expected a number"),
    (b'{"a": true}', "'a' is true or false, expected a number"),
    (b'{"a": null}', "'a' is null"),
    (b"[" * 100_000, "is damaged or no JSON"),
  ],
)
def test_damaged_json_is_one_sentence_with_the_file_and_what_to_do(tmp_path, content, words):
  path = tmp_path / "a.json"
  path.write_bytes(content)
  with pytest.raises(ValueError, match=r"a\.json") as told:
    files.read_json(path, **HOW, fields={"a": (int, float)})
  assert words in str(told.value)
  assert str(told.value).endswith("copy the folder again.")


def test_a_missing_file_is_told_as_missing(tmp_path):
  with pytest.raises(FileNotFoundError, match="not found, expected the run's config; copy"):
    files.read_json(tmp_path / "a.json", **HOW)


def test_a_folder_is_flushed_with_all_that_it_holds(tmp_path, monkeypatch):
  flushed = set()
  monkeypatch.setattr(os, "fsync", lambda number: flushed.add(os.fstat(number).st_ino))
  folder = tmp_path / "case"
  (folder / "image" / "c").mkdir(parents=True)
  for file in (folder / "case.json", folder / "image" / "c" / "0"):
    file.write_text("x")
  files.flush(folder)
  files.rename(folder, tmp_path / "named")
  held = (tmp_path, tmp_path / "named", *(tmp_path / "named").rglob("*"))
  assert flushed == {path.stat().st_ino for path in held}


def test_folders_of_killed_processes_are_removed_too(tmp_path):
  # no process has the number beyond the highest; number 1 always lives
  (tmp_path / "maps" / f".{2**22}.000001" / "values").mkdir(parents=True)
  (tmp_path / "maps" / ".1.000001").mkdir()
  files.remove_leftovers(tmp_path)
  assert [path.name for path in (tmp_path / "maps").iterdir()] == [".1.000001"]


@pytest.mark.parametrize(
  "path", ["gs://bucket/run", "s3://bucket/run", "gs:/bucket", "file:///run"]
)
def test_an_address_is_no_folder(path, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(ValueError, match=r"is an address \((gs|s3|file):\), expected a folder of a"):
    files.writable_folder(path, "--workdir")
  assert not list(tmp_path.iterdir()), "not even one called gs:"
  files.check_place("runs/a:b/c", "--workdir")


def test_paths_of_one_place_are_one(tmp_path, monkeypatch):
  (tmp_path / "a").mkdir()
  (tmp_path / "link").symlink_to(tmp_path / "a")
  monkeypatch.chdir(tmp_path)
  assert files.distinct(["b", "a/", "link", "x/../a", tmp_path / "a", "b"]) == [
    pathlib.Path("b"),
    pathlib.Path("a"),
  ]
