"""Arrays stored in compressed blocks, so that a patch reads only the blocks that it touches.

An array is a zarr folder with one file of blocks (a zarr 3 shard), written and read by TensorStore.
Every block has a checksum, and so has the file's index of them; a missing block is an error.
"""

import functools
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorstore

from jaxseg.data import integrity
from jaxseg.data.integrity import Damaged

# voxels in a block, by rank: nnU-Net's 128 KiB of one channel, pictures of usual size whole
_VOXELS = {2: 2**18, 3: 2**15}
# a block's bytes before compression are at most as many
_LARGEST = 2**21
# of the index at the end of the file of blocks: its checksum
_END = 4


class Stored(NamedTuple):
  """What is known of a stored array; kept by who wrote it, needed to read it.

  Attributes:
    shape: of the array.
    dtype: NumPy's name of its type.
    block: the shape of its blocks.
    size: bytes of the file of blocks.
    index: checksum of that file's index, in hexadecimal.
  """

  shape: tuple[int, ...]
  dtype: str
  block: tuple[int, ...]
  size: int
  index: str

  @classmethod
  def from_json(cls, fields: Mapping[str, Any]) -> "Stored":
    return cls(**{**fields, "shape": tuple(fields["shape"]), "block": tuple(fields["block"])})


def block_shape(
  shape: Sequence[int], spacing: Sequence[float], *, bytes_per_voxel: int
) -> tuple[int, ...]:
  """The size of a block: a cube in millimetres, as patches are; no longer than the array.

  Args:
    shape: (rank,) of the array.
    spacing: (rank,) millimetres.
    bytes_per_voxel: of all channels together.
  """
  rank, spacing = len(shape), np.asarray(spacing, float)
  voxels = min(_VOXELS[rank], max(1, _LARGEST // bytes_per_voxel))
  edge = (voxels * spacing.prod()) ** (1 / rank)
  block = np.clip(np.floor(edge / spacing + 1e-6).astype(int), 1, shape)
  return tuple(int(n) for n in block)


def write(folder: pathlib.Path, array: np.ndarray, block: Sequence[int]) -> Stored:
  """Writes a new array; `block` is the size of its blocks along the first axes, whole after them.

  The bytes follow from the array alone; they are not flushed to the disk. Raises ValueError if it
  cannot be written.
  """
  block = (*block, *array.shape[len(block) :])
  metadata = _metadata(array.shape, array.dtype.name, block)
  # a block of zeros is stored as any other: one that is missing is an error
  spec = {**_spec(folder), "metadata": metadata, "store_data_equal_to_fill_value": True}
  # who writes flushes a whole folder at once
  context = {"file_io_sync": False}
  store = tensorstore.open({**spec, "context": context}, create=True).result()
  store.write(array).result()
  with open(_file(folder, array.ndim), "rb") as file:
    size = file.seek(-_END, os.SEEK_END) + _END
    index = file.read().hex()
  return Stored(tuple(array.shape), array.dtype.name, block, size, index)


def read(folder: pathlib.Path, stored: Stored, region: Sequence[slice] = ()) -> np.ndarray:
  """The array, or a region of it: slices along its first axes, within its bounds.

  Raises:
    Damaged: a block is missing, or not what was written; the text is the reason alone.
    OSError: it cannot be read.
  """
  array = _opened(str(folder), stored)[(*region, ...)]
  try:
    return array.read().result()
  except ValueError as error:
    raise _told(folder, str(error)) from error


def check(folder: pathlib.Path, stored: Stored) -> None:
  """Raises Damaged unless the file of blocks is there, whole, with the index that was written."""
  file = _file(folder, len(stored.shape))
  integrity.check_end(file, stored.size, bytes.fromhex(stored.index))


def _told(folder, text: str) -> Exception:
  # what TensorStore says is some hundred characters, of which these words tell the cause
  system = re.search(r"\[OS error \d+: ([^\]]*)\]", text)
  if system:
    return OSError(f"{folder}: cannot be read ({system[1]}).")
  if "Digest mismatch" in text:
    return Damaged("a block's checksum is another one")
  return Damaged("a block is missing" if "is missing" in text else "a block cannot be unpacked")


def _metadata(shape: Sequence[int], dtype: str, block: Sequence[int]) -> dict[str, Any]:
  shard = [-(-size // edge) * edge for size, edge in zip(shape, block, strict=True)]
  itemsize = np.dtype(dtype).itemsize
  # of the fast codecs the one that unpacks fastest: reading is what training waits for
  pack = {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": itemsize}
  inner = [
    {"name": "bytes", "configuration": {"endian": "little"}} if itemsize > 1 else "bytes",
    {"name": "blosc", "configuration": pack},
    "crc32c",
  ]
  sharding = {"chunk_shape": list(block), "codecs": inner}
  return {
    "shape": list(shape),
    "data_type": dtype,
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shard}},
    "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
  }


def _spec(folder) -> dict[str, Any]:
  return {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(folder)}}


def _file(folder, axes: int) -> pathlib.Path:
  return pathlib.Path(folder, "c", *["0"] * axes)


@functools.lru_cache(4096)
def _opened(folder: str, stored: Stored) -> tensorstore.TensorStore:
  # looked at once, a prepared set never changes; its metadata are those that were written, whatever
  # became of their file
  check(pathlib.Path(folder), stored)
  metadata = _metadata(stored.shape, stored.dtype, stored.block)
  spec = {**_spec(folder), "metadata": metadata, "fill_missing_data_reads": False}
  return tensorstore.open(spec, open=True, read=True, assume_metadata=True).result()
