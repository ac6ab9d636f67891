"""Writing whole files: to a temporary name in the same folder, then renamed."""

import contextlib
import errno
import json
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path) -> Iterator[pathlib.Path]:
  """Gives a temporary path with the same ending; renames it to `path` when the block succeeds.

  Raises ValueError in words when the folder cannot be written.
  """
  path = pathlib.Path(path)
  # hidden, and with the whole ending kept: writers choose their format by it
  temporary = path.with_name(f".{os.getpid()}.{path.name}")
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    # asked here, because not every writing library says why it failed
    if not os.access(path.parent, os.W_OK):
      raise PermissionError(errno.EACCES, "permission denied", str(path.parent))
    yield temporary
    os.replace(temporary, path)
  except OSError as error:
    if error.filename is None or isinstance(error, FileNotFoundError):
      raise
    raise ValueError(
      f"{path}: cannot be written ({error.strerror}); choose a folder that you may write to."
    ) from error
  finally:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
      temporary.unlink()


def write_text(path, text: str) -> None:
  with replacing(path) as temporary:
    temporary.write_text(text, encoding="utf-8")


def write_json(path, value) -> None:
  write_text(path, json.dumps(value, indent=2, default=str) + "\n")


def writable_folder(path, what: str) -> pathlib.Path:
  """Makes the folder; raises ValueError in words when it cannot be made or written."""
  path = pathlib.Path(path)
  try:
    path.mkdir(parents=True, exist_ok=True)
    probe = path / f".{os.getpid()}.probe"
    probe.touch()
    probe.unlink()
  except OSError as error:
    raise ValueError(
      f"{what} {path}: cannot be written ({error.strerror}); choose a folder that you may write to."
    ) from error
  return path
