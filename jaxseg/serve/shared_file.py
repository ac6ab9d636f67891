"""A JSON file that several servers on one folder change, one after the other."""

import contextlib
import fcntl
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from jaxseg import files


@contextlib.contextmanager
def changed(path: pathlib.Path, read: Callable[[], dict[str, Any]]) -> Iterator[dict[str, Any]]:
  """A copy of what the file says, to be changed: no other server changes it meanwhile.

  It is written when the block ends without an exception, if its top level is another then.
  """
  with open(path.with_name(f".{path.stem}.lock"), "w") as lock:
    with contextlib.suppress(OSError):  # a file system without locks
      fcntl.flock(lock, fcntl.LOCK_EX)
    told = dict(before := read())
    yield told
    if told != before:
      files.write_json(path, told)
