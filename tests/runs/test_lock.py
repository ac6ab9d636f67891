"""One writer per run folder: who holds it, who takes over, who is told."""

import json
import os
import pathlib
import platform
import subprocess
import sys
import time

import pytest

from jaxseg.runs import lock

HERE = pathlib.Path(__file__).parent
OTHER = {"host": "node-17", "pid": 4242, "since": "2026-01-02 03:04:05+00:00"}


def left_by(folder, owner, age=0.0):
  """A lock file that its owner could not remove, as old as its last sign of life."""
  path = folder / lock.FILE
  path.write_text(json.dumps(owner))
  os.utime(path, (time.time() - age,) * 2)
  return path


def test_a_second_writer_is_told_who_the_first_is_and_the_lock_goes_with_it(tmp_path):
  me = rf"process {os.getpid()} on {platform.node()}, since 2\d+-.* is training there"
  with lock.hold(tmp_path):
    with pytest.raises(ValueError, match=me), lock.hold(tmp_path):
      pass
    assert (tmp_path / lock.FILE).is_file(), "the one refused must not take it away"
  assert not (tmp_path / lock.FILE).exists()
  with lock.hold(tmp_path):
    pass


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path):
  script = f"""
import os
from jaxseg.runs import lock
held = lock.Lock({str(tmp_path)!r})
os.kill(os.getpid(), 9)
"""
  ended = subprocess.run([sys.executable, "-c", script], cwd=HERE.parents[1], check=False)
  assert ended.returncode == -9
  assert (tmp_path / lock.FILE).is_file()
  with lock.hold(tmp_path):
    assert json.loads((tmp_path / lock.FILE).read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"host": 1}'])
def test_a_lock_file_that_says_nothing_is_free(tmp_path, text):
  (tmp_path / lock.FILE).write_text(text)
  with lock.hold(tmp_path):
    pass


def test_an_owner_elsewhere_is_dead_after_a_minute_without_a_sign_of_life(tmp_path):
  left_by(tmp_path, OTHER, age=61)
  with lock.hold(tmp_path):
    assert json.loads((tmp_path / lock.FILE).read_text())["host"] == platform.node()


def test_an_owner_elsewhere_that_gives_a_sign_of_life_keeps_the_lock(tmp_path, monkeypatch, caplog):
  path = left_by(tmp_path, OTHER, age=30)
  monkeypatch.setattr(time, "sleep", lambda seconds: os.utime(path))
  with pytest.raises(lock.RunInUse, match=r"process 4242 on node-17, since 2026.*remove .*lock"):
    lock.Lock(tmp_path)
  assert json.loads(path.read_text()) == OTHER
  assert "waiting up to 60 s for a sign of life" in caplog.text


def test_where_the_file_system_locks_nothing_a_living_owner_is_seen_by_its_number(
  tmp_path, monkeypatch
):
  def unsupported(number, how):
    raise OSError(lock.errno.ENOLCK, "No locks available")

  monkeypatch.setattr(lock.fcntl, "flock", unsupported)
  here = OTHER | {"host": platform.node(), "pid": os.getpid()}
  left_by(tmp_path, here)
  with pytest.raises(lock.RunInUse, match="is training there"):
    lock.Lock(tmp_path)
  dead = subprocess.Popen(["true"])
  dead.wait()
  left_by(tmp_path, here | {"pid": dead.pid})
  with lock.hold(tmp_path):
    pass


def test_a_holder_gives_signs_of_life(tmp_path, monkeypatch):
  monkeypatch.setattr(lock, "_BEAT", 0.01)
  with lock.hold(tmp_path):
    path = tmp_path / lock.FILE
    os.utime(path, (0, 0))
    deadline = time.monotonic() + 10
    while path.stat().st_mtime == 0 and time.monotonic() < deadline:
      time.sleep(0.01)
    assert path.stat().st_mtime > 0


def test_a_process_that_sees_another_folder_than_the_first_one_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(lock, "_DELAY", 0.0)
  with pytest.raises(ValueError, match=r"is another folder on .* than on node-17, .*NFS"):
    lock._check_shared(tmp_path, OTHER)
  left_by(tmp_path, {**OTHER, "pid": 1})
  with pytest.raises(ValueError, match="is another folder"):
    lock._check_shared(tmp_path, OTHER)
  left_by(tmp_path, OTHER)
  lock._check_shared(tmp_path, OTHER)
