"""A file that several servers change."""

import json
import threading

import pytest

from jaxseg import files
from jaxseg.serve import shared_file


def test_no_change_is_lost_and_a_failed_one_is_not_made(tmp_path):
  path = tmp_path / "told.json"

  def read():
    return json.loads(path.read_text()) if path.exists() else {}

  def count():
    for _ in range(50):
      with shared_file.changed(path, read) as told:
        told["number"] = told.get("number", 0) + 1

  servers = [threading.Thread(target=count) for _ in range(3)]
  for server in servers:
    server.start()
  for server in servers:
    server.join()
  assert read() == {"number": 150}

  with pytest.raises(KeyError), shared_file.changed(path, read) as told:
    told["number"] = told["nothing"]
  assert read() == {"number": 150}
  before = path.stat().st_mtime_ns
  with shared_file.changed(path, read):
    pass
  assert path.stat().st_mtime_ns == before


def test_what_is_no_object_is_refused(tmp_path):
  (tmp_path / "told.json").write_text("[]")

  def read():
    return files.read_json(tmp_path / "told.json", what="sessions", advice="remove it", kind=dict)

  with (
    pytest.raises(ValueError, match="remove it"),
    shared_file.changed(tmp_path / "told.json", read),
  ):
    pass
