"""What is stored is checked when it is read: sealed JSON, sums of files, an error for damage."""

import functools
import hashlib
import json
import os
import pathlib
import zlib
from collections.abc import Mapping
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


@functools.lru_cache(2**16)
def check_file(path: str, expected: tuple[int, int]) -> None:
  """Raises Damaged, with the reason, unless a file has that sum; once for each in a process."""
  name = pathlib.Path(path).name
  try:
    found = file_sum(path)
  except _GONE:
    raise Damaged(f"{name} is missing") from None
  if found != expected:
    raise Damaged(f"{name}: its checksum is another one")


def check_end(path, size: int, end: bytes) -> None:
  """Raises Damaged, with the reason, unless a file has that size and ends in those bytes."""
  name = "its file of blocks"
  try:
    number = os.open(path, os.O_RDONLY)
    try:
      found = os.fstat(number).st_size
      same = found == size and os.pread(number, len(end), max(0, size - len(end))) == end
    finally:
      os.close(number)
  except _GONE:
    raise Damaged(f"{name} is missing") from None
  if found != size:
    raise Damaged(f"{name} has {found} bytes instead of {size}")
  if not same:
    raise Damaged(f"{name} is of another array, or its index is damaged")
