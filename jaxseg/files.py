"""Whole files: written to a temporary name, flushed and renamed; JSON read, or told in words."""

import concurrent.futures
import contextlib
import errno
import json
import os
import pathlib
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# files that are flushed at the same time
_SYNCS = 16
_KINDS = {
  dict: "an object",
  list: "a list",
  tuple: "a list",
  str: "a text",
  bool: "true or false",
  type(None): "null",
}


class DiskFull(OSError):
  """No room was left where something was being written; its text is one sentence."""

  def __init__(self, path, advice: str = "free room there and give the command again"):
    self.sentence = f"{path}: the disk is full; {advice}."
    super().__init__(errno.ENOSPC, self.sentence)

  def __str__(self) -> str:
    return self.sentence


def disk_is_full(error: BaseException) -> bool:
  """Whether an error of any library means that the disk (or the user's share of it) is full."""
  number = getattr(error, "errno", None)
  if number is not None:
    return number in (errno.ENOSPC, errno.EDQUOT)
  # TensorStore passes on the system's words alone, NumPy how much it could write
  words = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT), " requested and ")
  return any(word in str(error) for word in words)


@contextlib.contextmanager
def full_disk_told(path) -> Iterator[None]:
  """Turns any error in the block that means a full disk into `DiskFull` with the path."""
  try:
    yield
  except DiskFull:
    raise
  except Exception as error:
    if disk_is_full(error):
      raise DiskFull(path) from error
    raise


def flush(path) -> None:
  """Brings a file, or a folder with all that is in it, to the disk: a power cut finds it whole."""
  path = pathlib.Path(path)
  if not path.is_dir():
    _sync(path)
    return
  # asked for together, they share the disk's waits: a sixth of the time of one after another
  with concurrent.futures.ThreadPoolExecutor(_SYNCS) as pool:
    for _ in pool.map(_sync, (path, *path.rglob("*"))):
      pass


def rename(old, new) -> None:
  """Renames a file or folder, and brings the new name to the disk; `flush` what it holds before."""
  os.rename(old, new)
  _sync(pathlib.Path(new).parent)


def _sync(path) -> None:
  """One file's bytes, or the names in one folder, to the disk."""
  number = os.open(path, os.O_RDONLY)
  try:
    os.fsync(number)
  finally:
    os.close(number)


@contextlib.contextmanager
def replacing(path) -> Iterator[pathlib.Path]:
  """Gives a temporary path with the same ending; renames it to `path` when the block succeeds.

  What was written is on the disk before it gets its name. Raises ValueError in words when the
  folder cannot be written, DiskFull when there is no room.
  """
  path = pathlib.Path(path)
  # hidden, and with the whole ending kept: writers choose their format by it
  temporary = path.with_name(f".{os.getpid()}.{path.name}")
  try:
    with full_disk_told(path):
      path.parent.mkdir(parents=True, exist_ok=True)
      # asked here, because not every writing library says why it failed
      if not os.access(path.parent, os.W_OK):
        raise PermissionError(errno.EACCES, "permission denied", str(path.parent))
      yield temporary
      flush(temporary)
      os.replace(temporary, path)
      _sync(path.parent)
  except OSError as error:
    if isinstance(error, DiskFull | FileNotFoundError) or error.filename is None:
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


def read_text(path, *, what: str, advice: str) -> str:
  """A UTF-8 file, with or without a byte order mark.

  Args:
    path: the file.
    what: what the file is, for the message: "the description of the run".
    advice: what to do where it is missing or damaged: "copy the folder again".

  Raises:
    FileNotFoundError: it is missing.
    ValueError: it is no UTF-8 text.
    OSError: it cannot be read for another reason, which passes on.
  """
  path = pathlib.Path(path)
  try:
    return path.read_text(encoding="utf-8-sig")
  except (FileNotFoundError, NotADirectoryError):
    raise FileNotFoundError(f"{path}: not found, expected {what}; {advice}.") from None
  except IsADirectoryError:
    raise ValueError(f"{path}: is a folder, expected {what}; {advice}.") from None
  except UnicodeDecodeError as error:
    raise ValueError(
      f"{path}: is damaged, expected {what} as UTF-8 text ({error.reason}, byte {error.start}); "
      f"{advice}."
    ) from error


def read_json(
  path,
  *,
  what: str,
  advice: str,
  fields: Mapping[str, type | tuple[type, ...]] | None = None,
  kind: type = dict,
) -> Any:
  """The object in a JSON file, or the list; the one reader of JSON files.

  Args:
    path, what, advice: as for `read_text`.
    fields: the fields that it must have, and their types; a tuple where several will do.
    kind: dict or list.

  Raises ValueError where it is no JSON, of another kind or lacks a field; else as `read_text`.
  """
  value = parse_json(read_text(path, what=what, advice=advice), path, what=what, advice=advice)
  if kind is not dict:
    if not isinstance(value, kind):
      raise ValueError(f"{path}: holds {_kind(value)}, expected {_KINDS[kind]}: {what}; {advice}.")
    return value
  check_fields(value, path, advice=advice, fields=fields or {})
  return value


def parse_json(text: str, path, *, what: str, advice: str) -> Any:
  """What JSON in a file holds; raises ValueError for text that is none, as `read_json`."""
  try:
    return json.loads(text, object_pairs_hook=_once)
  except (ValueError, RecursionError) as error:
    raise ValueError(
      f"{path}: is damaged or no JSON ({error}), expected {what}; {advice}."
    ) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  """An object whose fields each occur once; json would keep the last without a word."""
  value = dict(pairs)
  if len(value) < len(pairs):
    names = [name for name, _ in pairs]
    raise ValueError(f"'{next(n for n in names if names.count(n) > 1)}' occurs twice in an object")
  return value


def check_fields(value, where, *, advice: str, fields: Mapping, prefix: str = "") -> None:
  """Raises ValueError unless a value of JSON is an object with these fields, of these types.

  `prefix` goes before the names in messages, "data." of fields inside of `data`.
  """
  if not isinstance(value, dict):
    raise ValueError(f"{where}: holds {_kind(value)}, expected an object; {advice}.")
  for name, kinds in fields.items():
    if name not in value:
      raise ValueError(f"{where}: lacks '{prefix}{name}'; {advice}.")
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    # in Python a truth value is a number, in JSON it is not
    wrong = isinstance(value[name], bool) and bool not in kinds
    if wrong or not isinstance(value[name], kinds):
      expected = " or ".join(dict.fromkeys(_KINDS.get(kind, "a number") for kind in kinds))
      kind = _kind(value[name])
      raise ValueError(f"{where}: '{prefix}{name}' is {kind}, expected {expected}; {advice}.")


def _kind(value) -> str:
  for kind, word in _KINDS.items():
    if isinstance(value, kind):
      return word
  return "a number"


def check_place(path, what: str) -> None:
  """Raises ValueError for an address such as gs://bucket/run, which would become a folder "gs:"."""
  # pathlib makes one slash of two
  if address := re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/", str(path)):
    raise ValueError(
      f"{what} {path}: is an address ({address[1]}:), expected a folder of a file system that "
      "renames folders and that all machines of the run see; mount one (NFS, Lustre, Filestore), "
      "and copy what is finished to an object store by its own tool."
    )


def real_path(path) -> str:
  """The place itself, however it is written: by links, `..`, `~`, from here or from the root."""
  return os.path.realpath(os.path.expanduser(path))


def distinct(paths: Iterable) -> list[pathlib.Path]:
  """The paths of different places: of each place the first one."""
  places: dict[str, pathlib.Path] = {}
  for path in map(pathlib.Path, paths):
    places.setdefault(real_path(path), path)
  return list(places.values())


def writable_folder(path, what: str) -> pathlib.Path:
  """Makes the folder; raises ValueError in words when it cannot be made or written."""
  check_place(path, what)
  path = pathlib.Path(path)
  try:
    path.mkdir(parents=True, exist_ok=True)
    probe = path / f".{os.getpid()}.probe"
    probe.touch()
    probe.unlink()
  except OSError as error:
    if disk_is_full(error):
      raise DiskFull(path) from error
    raise ValueError(
      f"{what} {path}: cannot be written ({error.strerror}); choose a folder that you may write to."
    ) from error
  return path


def copy_aside(path) -> pathlib.Path:
  """Copies a damaged file to a name that is free, before it is mended."""
  path, number = pathlib.Path(path), 1
  while (kept := path.with_name(f"{path.name}.damaged-{number}")).exists():
    number += 1
  with replacing(kept) as temporary:
    shutil.copyfile(path, temporary)
  return kept


def remove_leftovers(folder) -> None:
  """Removes what a killed process left behind in a folder, and in those in it: `.PID.NAME`.

  Only this process's number and those of no living process count: another verb may be writing.
  """
  for place, folders, names in os.walk(folder):
    for name in (*folders, *names):
      number = re.match(r"\.([0-9]+)\..", name)
      # after a restart in a container the dead had this process's number
      if number and (int(number[1]) == os.getpid() or not alive(int(number[1]))):
        left = os.path.join(place, name)
        if name in folders:
          shutil.rmtree(left, ignore_errors=True)
          continue
        with contextlib.suppress(FileNotFoundError):
          os.remove(left)


def alive(pid: int) -> bool:
  """Whether a process of this machine has the number."""
  try:
    os.kill(pid, 0)
  except (ProcessLookupError, OverflowError):
    return False
  except PermissionError:
    return True
  return True
