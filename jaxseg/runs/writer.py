"""Metrics of a run -> display, JSONL, TensorBoard, picture panels."""

import contextlib
import json
import logging
import os
import pathlib
import platform
import time
from collections.abc import Iterator

import imageio.v3 as imageio
import numpy as np

from jaxseg import files
from jaxseg.packages import installed
from jaxseg.runs.display import Display


class Writer:
  """Everything that a run records; in a multi-process run only process 0 makes one.

  Args:
    workdir: run folder; `metrics.jsonl`, `tensorboard/` and `panels/` are written there.
    display: what shows the numbers.
    first_step: where training starts. Rows of later steps, written before a crash and not
      covered by the checkpoint resumed from, are dropped, so that the log is that of one run.
    every: steps between two rows of the loss; 0 does not look for missing ones.
    number: of this run among those that the display shows.
  """

  def __init__(
    self, workdir, display: Display, *, first_step: int, every: int = 0, number: int = 0
  ):
    # TensorBoard's writer takes the beginning of a relative path, as in s3:, for a protocol
    self._workdir = pathlib.Path(workdir).absolute()
    self._jsonl = self._workdir / "metrics.jsonl"
    self._last_rows = self._keep_until(first_step, every)
    with files.full_disk_told(self._jsonl):
      # unbuffered: what is told to have been written is, and nothing is left to fail at the end
      self._file = self._jsonl.open("ab", buffering=0)
    self._events = None
    if installed("tensorboardX"):
      purge = first_step + 1 if first_step else 0
      self._events = _Events(self._workdir / "tensorboard", purge=purge)
    else:
      logging.warning(
        "%s: no curves for TensorBoard, for tensorboardX is not installed (pip install "
        "tensorboardX); the same numbers are in %s.",
        self._workdir,
        self._jsonl.name,
      )
    self._display, self._number = display, number

  def _keep_until(self, step: int, every: int) -> set[str]:
    """Drops the rows of later steps, and damaged ones; returns those of the step itself."""
    rows, problems = read_rows(self._jsonl)
    if problems:
      kept = files.copy_aside(self._jsonl)
      logging.warning(
        "%s: %s; left out, the file as it was is %s.", self._jsonl, "; ".join(problems), kept.name
      )
    logged = [0, *(row["step"] for row in rows if row["step"] <= step and "loss" in row)]
    # another log_every may have been in force: the rows themselves tell how far they lie apart
    apart = max(every, *np.diff(logged)) if len(logged) > 1 else every
    if every and step - logged[-1] >= apart:
      logging.warning(
        "%s: holds no loss of the steps %d to %d, which were trained; the curves lack them.",
        self._jsonl,
        logged[-1] + 1,
        step,
      )
    files.write_text(self._jsonl, "".join(_line(row) for row in rows if row["step"] <= step))
    return {_line(row) for row in rows if row["step"] == step}

  def scalars(self, step: int, values: dict[str, float], *, speed: float | None = None) -> None:
    """Records scalars, and shows the important ones."""
    values = {name: float(value) for name, value in values.items()}
    line = _line(
      {"step": step, **{k: (v if np.isfinite(v) else str(v)) for k, v in values.items()}}
    )
    # of a run that was killed at its end, after it had written the row
    if line not in self._last_rows:
      data = line.encode()
      with files.full_disk_told(self._jsonl):
        if self._file.write(data) < len(data):
          raise files.DiskFull(self._jsonl)
      if self._events:
        self._events.scalars(step, values)
    self._display.show(step, values, speed, run=self._number)

  def picture(self, name: str, picture: np.ndarray) -> pathlib.Path:
    """Writes panels/<name>.png, an (h, w, 3) uint8 array."""
    path = self._workdir / "panels" / f"{name}.png"
    # as bytes: imageio takes some names of folders, as x.zip, for archives
    encoded = imageio.imwrite("<bytes>", picture, extension=".png")
    with files.replacing(path) as temporary:
      temporary.write_bytes(encoded)
    return path

  def flush(self) -> None:
    """Brings the rows to the disk: a checkpoint must not outlive the rows of its steps."""
    with files.full_disk_told(self._jsonl):
      os.fsync(self._file.fileno())

  def close(self) -> None:
    self._file.close()
    if self._events:
      self._events.close()


def _line(row: dict) -> str:
  return json.dumps(row) + "\n"


def read_rows(path) -> tuple[list[dict], list[str]]:
  """The rows of a metrics.jsonl, and a word about each line that is none: none without the file.

  Half a line at the end, of a run that still writes or was killed, is passed over.
  """
  try:
    lines = pathlib.Path(path).read_bytes().split(b"\n")
  except FileNotFoundError:
    return [], []
  rows, problems = [], []
  for number, line in enumerate(lines, start=1):
    try:
      row = json.loads(line.decode())
      sound = isinstance(row, dict) and type(row.get("step")) is int
      sound = sound and all(type(value) in (int, float, str) for value in row.values())
    except (ValueError, RecursionError):
      sound = False
    if sound and rows and row["step"] < rows[-1]["step"]:
      problems.append(f"line {number} goes back from step {rows[-1]['step']} to {row['step']}")
    elif sound:
      rows.append(row)
    elif line and number < len(lines):
      problems.append(f"line {number} is no row of metrics")
  return rows, problems


class _Events:
  """TensorBoard's event file, written in this thread: an error of the disk reaches the loop."""

  def __init__(self, folder: pathlib.Path, *, purge: int):
    # slow to import: it brings PyTorch along where that is installed
    from tensorboardX import record_writer, summary
    from tensorboardX.proto import event_pb2

    self._scalar, self._event = summary.scalar, event_pb2.Event
    name = f"events.out.tfevents.{time.time_ns()}.{platform.node()}.{os.getpid()}"
    self._path, self._due, self._failed = folder / name, 0.0, False
    with self._told():
      folder.mkdir(parents=True, exist_ok=True)
      self._records = record_writer.RecordWriter(str(self._path))
      self._add(file_version="brain.Event:2")
      if purge:
        # what a killed run wrote from this step on is not shown
        self._add(step=purge, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))

  def scalars(self, step: int, values: dict[str, float]) -> None:
    with self._told():
      for name, value in values.items():
        self._add(step=step, summary=self._scalar(name, value))
      if time.monotonic() >= self._due:
        self._records.flush()
        self._due = time.monotonic() + 30.0

  def _add(self, **what) -> None:
    self._records.write(self._event(wall_time=time.time(), **what).SerializeToString())

  @contextlib.contextmanager
  def _told(self) -> Iterator[None]:
    try:
      with files.full_disk_told(self._path):
        yield
    except OSError:
      self._failed = True
      raise

  def close(self) -> None:
    # what could not be written cannot be when the file is closed
    with contextlib.suppress(OSError) if self._failed else self._told():
      self._records.close()
