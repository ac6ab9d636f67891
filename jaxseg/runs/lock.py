"""One writer per run folder: a lock that the system frees when its owner dies."""

import contextlib
import datetime
import errno
import fcntl
import json
import logging
import os
import pathlib
import platform
import threading
import time
from collections.abc import Iterator
from typing import Any

from jaxseg import files, processes

FILE = ".training.lock"
# seconds between two signs of life, and without one until an owner elsewhere counts as dead
_BEAT, _SILENCE = 10.0, 60.0
# seconds until a new file is seen on another machine (NFS remembers what was not there)
_DELAY = 20.0
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class RunInUse(ValueError):
  """Another process writes to the folder; its text is one sentence."""


class Lock:
  """The lock of a run folder, held from its making until `release`; raises RunInUse.

  Attributes:
    note: host, process and time of its owner, as the file says it.
  """

  def __init__(self, folder):
    self._folder = pathlib.Path(folder)
    self._path = self._folder / FILE
    self._number, locked = self._open()
    try:
      owner = self._owner(self._number)
      if owner and owner["host"] != platform.node():
        self._wait_for_silence(owner)
      elif owner and not locked and files.alive(owner["pid"]):
        raise self._in_use(owner)
      self._write()
    except BaseException:
      os.close(self._number)
      raise
    self._released = threading.Event()
    self._pulse = threading.Thread(target=self._beat, name="jaxseg-lock", daemon=True)
    self._pulse.start()

  def _open(self) -> tuple[int, bool]:
    """The lock file, and whether the file system could lock it."""
    while True:
      number = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
      try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except OSError as error:
        if error.errno in _NO_LOCKS:
          return number, False
        owner = self._owner(number)
        os.close(number)
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
          raise
        raise self._in_use(owner) from None
      # the owner before may have removed the file since it was opened
      with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(number), os.stat(self._path)):
          return number, True
      os.close(number)

  def _owner(self, number: int) -> dict[str, Any]:
    """What the file says of its owner; nothing where one has only just begun."""
    with contextlib.suppress(ValueError):
      told = json.loads(os.pread(number, 4096, 0))
      if isinstance(told, dict) and {"host", "pid", "since"} <= told.keys():
        return told
    return {}

  def _wait_for_silence(self, owner: dict[str, Any]) -> None:
    """Raises RunInUse if an owner elsewhere lives: some file systems lock for one machine only."""
    mark = os.fstat(self._number).st_mtime
    if self._silence() < _SILENCE:
      logging.warning(
        "%s: waiting up to %.0f s for a sign of life of process %s on %s, which trained there.",
        self._folder,
        _SILENCE,
        owner["pid"],
        owner["host"],
      )
    while self._silence() < _SILENCE:
      if os.fstat(self._number).st_mtime != mark:
        raise self._in_use(owner)
      time.sleep(1.0)

  def _silence(self) -> float:
    """Seconds since the last sign of life, by the clock of the file system."""
    probe = self._folder / f".{os.getpid()}.clock"
    probe.touch()
    try:
      return probe.stat().st_mtime - os.fstat(self._number).st_mtime
    finally:
      probe.unlink()

  def _in_use(self, owner: dict[str, Any]) -> RunInUse:
    who = "another process"
    if owner:
      who = f"process {owner['pid']} on {owner['host']}, since {owner['since']},"
    return RunInUse(
      f"{self._folder}: {who} is training there; wait for its end, or choose another --workdir. "
      f"If it is dead, remove {self._path}."
    )

  def _write(self) -> None:
    since = datetime.datetime.now().astimezone().isoformat(" ", "seconds")
    self.note = {"host": platform.node(), "pid": os.getpid(), "since": since}
    with files.full_disk_told(self._path):
      os.ftruncate(self._number, 0)
      os.pwrite(self._number, json.dumps(self.note).encode(), 0)
      # other machines read it
      os.fsync(self._number)

  def _beat(self) -> None:
    while not self._released.wait(_BEAT):
      with contextlib.suppress(OSError):
        os.utime(self._number)

  def release(self) -> None:
    self._released.set()
    self._pulse.join()
    # before it is freed: who waits for it then looks whether the file is still there
    self._path.unlink(missing_ok=True)
    os.close(self._number)


@contextlib.contextmanager
def hold(folder) -> Iterator[None]:
  """Holds the lock of a run folder during a block, for all processes of a run.

  Raises RunInUse; ValueError where the processes do not all see that folder.
  """
  locks: list[Lock] = []

  def lock() -> dict[str, Any]:
    locks.append(Lock(folder))
    return locks[0].note

  try:
    owner = processes.on_first(lock)
    processes.together(lambda: _check_shared(pathlib.Path(folder), owner))
    yield
  finally:
    for held in locks:
      held.release()


def wait(folder: pathlib.Path, *, stopped: threading.Event, seconds: float = 600.0) -> None:
  """Waits until nobody writes to a folder, no longer than some seconds or until `stopped`."""
  end = time.monotonic() + seconds
  while folder.is_dir() and not stopped.is_set() and time.monotonic() < end:
    try:
      Lock(folder).release()
      return
    except RunInUse:
      stopped.wait(1.0)


def _check_shared(folder: pathlib.Path, owner: dict[str, Any]) -> None:
  """Raises ValueError if this process does not see the lock that the first one holds."""
  deadline = time.monotonic() + _DELAY
  while True:
    with contextlib.suppress(OSError, ValueError):
      if json.loads((folder / FILE).read_bytes()) == owner:
        return
    if time.monotonic() > deadline:
      raise ValueError(
        f"--workdir {folder}: is another folder on {platform.node()} than on {owner['host']}, "
        "where the first process of this run is; expected one that all see (NFS, Lustre, a mounted "
        "bucket): choose such a --workdir."
      )
    time.sleep(1.0)
