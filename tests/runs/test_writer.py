"""What a run records: its rows survive kills and damage, and a full disk is told."""

import errno
import json
import os

import numpy as np
import pytest
from tensorboardX.proto import event_pb2

from jaxseg import files
from jaxseg.runs import writer
from jaxseg.runs.display import Display


def shown():
  return Display(first_step=0, last_step=10, images=2)


@pytest.fixture
def opened(tmp_path):
  """A function that opens the writer of a run folder; it is closed at the end."""
  made = []

  def open_at(step):
    made.append(writer.Writer(tmp_path, shown(), first_step=step))
    return made[-1]

  yield open_at
  for one in made:
    one.close()


def steps(folder):
  return [row["step"] for row in writer.read_rows(folder / "metrics.jsonl")[0]]


def test_rows_after_the_resumed_step_and_half_a_line_are_dropped(tmp_path, opened, caplog):
  first = opened(0)
  for step in (2, 4, 6):
    first.scalars(step, {"loss": 1 / step})
  with (tmp_path / "metrics.jsonl").open("a") as file:
    file.write('{"step": 8, "lo')
  second = opened(4)
  assert steps(tmp_path) == [2, 4]
  assert not caplog.records
  second.scalars(6, {"loss": 0.5})
  assert steps(tmp_path) == [2, 4, 6]


DAMAGES = [
  b"3",
  b"{}",
  b'{"step": true}',
  b'{"step": 3, "loss": []}',
  b'{"step": 3\xff}',
  b"[" * 9999,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_line_is_left_out_in_words_and_the_file_kept(tmp_path, opened, caplog, damage):
  path = tmp_path / "metrics.jsonl"
  before = b'{"step": 2, "loss": 1.0}\n' + damage + b'\n{"step": 4, "loss": 0.5}\n'
  path.write_bytes(before)
  opened(4)
  assert steps(tmp_path) == [2, 4]
  assert "metrics.jsonl: line 2 is no row of metrics; left out" in caplog.text
  assert (tmp_path / "metrics.jsonl.damaged-1").read_bytes() == before


def test_the_last_row_of_a_run_killed_at_its_end_is_not_repeated(tmp_path, opened):
  first = opened(0)
  first.scalars(10, {"loss": 0.25})
  first.scalars(10, {"validation/dice": 0.1, "validation/a": np.nan})
  second = opened(10)
  second.scalars(10, {"validation/dice": 0.1, "validation/a": np.nan})
  assert steps(tmp_path) == [10, 10]
  second.scalars(10, {"validation/dice": 0.2, "validation/a": np.nan})
  assert steps(tmp_path) == [10, 10, 10], "another score is news"


def events(folder):
  """The records of the event files, by TFRecord's frame: length, checksum, data, checksum."""
  found = []
  for path in sorted((folder / "tensorboard").iterdir()):
    data = path.read_bytes()
    while data:
      length = int.from_bytes(data[:8], "little")
      found.append(event_pb2.Event.FromString(data[12 : 12 + length]))
      data = data[16 + length :]
  return found


def test_tensorboard_gets_the_scalars_and_is_told_what_a_resumed_run_replaces(tmp_path, opened):
  opened(0).scalars(4, {"loss": 0.5})
  second = opened(2)
  second.scalars(4, {"loss": 0.25})
  second.close()
  seen = events(tmp_path)
  assert all(e.file_version == "brain.Event:2" for e in seen if e.HasField("file_version"))
  shown = [(e.step, v.tag, v.simple_value) for e in seen for v in e.summary.value]
  assert shown == [(4, "loss", 0.5), (4, "loss", 0.25)]
  (start,) = [e for e in seen if e.HasField("session_log")]
  assert (start.step, start.session_log.status) == (3, event_pb2.SessionLog.START)


class Full:
  """A file on a disk without room."""

  def write(self, data):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  flush = write

  def close(self):
    self.write(b"")


def test_a_full_disk_is_told_with_the_path(tmp_path, opened):
  one, other = opened(0), opened(0)
  one._file.close()
  one._file = Full()
  with pytest.raises(files.DiskFull, match=r"metrics\.jsonl: the disk is full; free room"):
    one.scalars(1, {"loss": 1.0})
  other._events._records = Full()
  with pytest.raises(files.DiskFull, match=r"tensorboard/events.*: the disk is full"):
    other.scalars(2, {"loss": 1.0})
  one._file = other._file


@pytest.mark.parametrize("name", ["run.zip", "s3:run", "a[b]*", "<bytes>"])
def test_any_name_of_a_folder_will_do(tmp_path, monkeypatch, name):
  monkeypatch.chdir(tmp_path)
  one = writer.Writer(name, shown(), first_step=0)
  one.scalars(1, {"loss": 1.0})
  path = one.picture("final", np.zeros((4, 4, 3), np.uint8))
  one.close()
  assert path.read_bytes().startswith(b"\x89PNG")
  assert len(events(tmp_path / name)) == 2
  assert json.loads((tmp_path / name / "metrics.jsonl").read_text()) == {"step": 1, "loss": 1.0}


@pytest.mark.parametrize(
  ("steps", "resumed", "told"),
  [
    ([2, 4, 6, 8], 9, None),
    ([2, 4], 9, "5 to 9"),
    ([], 9, "1 to 9"),
    ([], 1, None),
    # every fifth step was logged before
    ([5, 10], 14, None),
    ([5, 10], 15, "11 to 15"),
  ],
)
def test_rows_that_were_lost_are_told(tmp_path, caplog, steps, resumed, told):
  rows = "".join(f'{{"step": {step}, "loss": 1.0}}\n' for step in steps)
  (tmp_path / "metrics.jsonl").write_text(rows)
  writer.Writer(tmp_path, shown(), first_step=resumed, every=2).close()
  if told is None:
    assert not caplog.messages
  else:
    (line,) = caplog.messages
    assert f"holds no loss of the steps {told}," in line


def test_rows_that_go_back_are_left_out_and_told(tmp_path):
  """As after two copies of a file were joined: the curves would run twice."""
  rows = "".join(f'{{"step": {step}, "loss": 1.0}}\n' for step in (1, 2, 1, 2, 3))
  (tmp_path / "metrics.jsonl").write_text(rows)
  kept, problems = writer.read_rows(tmp_path / "metrics.jsonl")
  assert [row["step"] for row in kept] == [1, 2, 2, 3]
  assert problems == ["line 3 goes back from step 2 to 1"]
