"""What is stored is checked when it is read: sealed JSON, sums of files, an error for damage."""

import hashlib
import json
import os
import pathlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxseg import files

_SEAL = "seal"
# a file's sum is made of parts of so many bytes, so that a large one need not fit into memory
_PART = 1 << 22
_GONE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class Damaged(ValueError):
  """What is stored is not what was written; the text is one sentence, or the reason for one."""


def sealed(value: Mapping) -> dict[str, Any]:
  """An object of JSON with a digest of all its fields among them."""
  return {**value, _SEAL: _digest(value)}


def read_sealed(path, *, what: str, advice: str) -> dict[str, Any]:
  """The object that was `sealed` in a JSON file, without its seal.

  Raises Damaged where a field is not as it was written; else as `files.read_json`.
  """
  value = files.read_json(path, what=what, advice=advice, fields={_SEAL: str})
  seal = value.pop(_SEAL)
  if _digest(value) != seal:
    raise Damaged(f"{path}: is damaged or was edited, its digest is another one; {advice}.")
  return value


def _digest(value) -> str:
  return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def file_sum(path) -> tuple[int, int]:
  """Bytes of a file, and their CRC-32."""
  size, crc = 0, 0
  with open(path, "rb") as file:
    while part := file.read(_PART):
      size, crc = size + len(part), zlib.crc32(part, crc)
  return size, crc


def state_of(path) -> tuple[int, int, int]:
  """What changes when a file is written; raises Damaged, with the reason, if it is missing."""
  try:
    status = os.stat(path)
  except _GONE:
    raise Damaged(f"{_name(path)} is missing") from None
  return status.st_ino, status.st_size, status.st_mtime_ns


def check_file(path, expected: Sequence[int]) -> None:
  """Raises Damaged, with the reason, unless a file is there and has that sum."""
  state_of(path)
  if file_sum(path) != tuple(expected):
    raise Damaged(f"{_name(path)} has another checksum")


def _name(path) -> str:
  # what zarr calls its files tells a user nothing
  name = pathlib.Path(path).name
  return "its file of blocks" if name.isdigit() else name
