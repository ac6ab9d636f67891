"""What is stored is checked when it is read: sums and states of files."""

import os
import pathlib
import zlib
from collections.abc import Sequence

from jaxseg.sealed import Damaged

# a file's sum is made of parts of so many bytes, so that a large one need not fit into memory
_PART = 1 << 22
_GONE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


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
