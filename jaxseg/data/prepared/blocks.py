"""Arrays stored in compressed blocks, so that a patch reads only the blocks that it touches.

An array is a zarr folder with one file of blocks (a zarr 3 shard), written and read by TensorStore.
Every block has a checksum beside them, which is looked at when a process first reads the block from
this state of the file; zarr's own, at every reading, would take a quarter of the time.
"""

import functools
import os
import pathlib
import re
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import tensorstore

from jaxseg.data.prepared import integrity
from jaxseg.runs.plain_path import plain_path
from jaxseg.sealed import Damaged

# voxels in a block, by rank: nnU-Net's 128 KiB of one channel, pictures of usual size whole
_VOXELS = {2: 2**18, 3: 2**15}
# a block's bytes before compression are at most as many
_LARGEST = 2**21
_SUMS = "sums"
# blocks whose checksums one thread compares
_TOGETHER = 32
# zarr's place of a block that was never written
_NEVER_WRITTEN = 2**64 - 1


class Stored(NamedTuple):
  """What is known of a stored array; kept by who wrote it, needed to read it.

  Attributes:
    shape: of the array.
    dtype: NumPy's name of its type.
    block: the shape of its blocks.
    size: bytes of the file of blocks.
    index: CRC-32 of that file's index of blocks.
    sums: CRC-32 of the file of the blocks' checksums.
  """

  shape: tuple[int, ...]
  dtype: str
  block: tuple[int, ...]
  size: int
  index: int
  sums: int

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
  metadata = metadata_of(array.shape, array.dtype.name, block)
  # a block of zeros is stored as any other: one that is missing is an error
  spec = {**_spec(folder), "metadata": metadata, "store_data_equal_to_fill_value": True}
  # who writes flushes a whole folder at once
  context = {"file_io_sync": False}
  store = tensorstore.open({**spec, "context": context}, create=True).result()
  store.write(array).result()
  count = int(np.prod(_grid(array.shape, block)))
  with open(_file(folder, array.ndim), "rb") as file:
    size = file.seek(0, os.SEEK_END)
    index = os.pread(file.fileno(), size, size - _index_size(count))
    sums = _sums(file.fileno(), _places(index)).tobytes()
  pathlib.Path(folder, _SUMS).write_bytes(sums)
  stored = (size, zlib.crc32(index), zlib.crc32(sums))
  return Stored(tuple(array.shape), array.dtype.name, block, *stored)


def read(folder: pathlib.Path, stored: Stored, region: Sequence[slice] = ()) -> np.ndarray:
  """The array, or a region of it: slices along its first axes, within its bounds.

  Raises:
    Damaged: a block is missing, or not what was written; the text is the reason alone.
    OSError: it cannot be read.
  """
  file = _file(folder, len(stored.shape))
  array = _open(str(folder), stored, integrity.state_of(file))
  asked = array.store[(*region, ...)].read()
  # while TensorStore unpacks
  if array.unseen:
    array.verify(region)
  try:
    return asked.result()
  except ValueError as error:
    raise _error(folder, str(error)) from error


def check(folder: pathlib.Path, stored: Stored) -> bytes:
  """The index of the file of blocks; raises Damaged unless that is there, as long as written."""
  file, count = _file(folder, len(stored.shape)), int(np.prod(_grid(stored.shape, stored.block)))
  _, size, _ = integrity.state_of(file)
  if size != stored.size:
    raise Damaged(f"its file of blocks has {size} bytes instead of {stored.size}")
  with open(file, "rb") as opened:
    index = os.pread(opened.fileno(), size, size - _index_size(count))
  if zlib.crc32(index) != stored.index:
    raise Damaged("its index of blocks has another checksum")
  return index


class _Array:
  """A stored array that is open, and which of its blocks were verified."""

  def __init__(self, folder: str, stored: Stored):
    check(pathlib.Path(folder), stored)
    self._folder, self._stored = folder, stored
    # the metadata are those that were written, whatever became of their file
    metadata = metadata_of(stored.shape, stored.dtype, stored.block)
    spec = {**_spec(folder), "metadata": metadata, "fill_missing_data_reads": False}
    self.store = tensorstore.open(spec, open=True, read=True, assume_metadata=True).result()
    self._seen = np.zeros(_grid(stored.shape, stored.block), bool)
    self.unseen = True

  def verify(self, region: Sequence[slice]) -> None:
    """Compares the blocks of a region with their checksums, those that were not before."""
    cells = [slice(0, n) for n in self._seen.shape]
    for axis, (part, edge) in enumerate(zip(region, self._stored.block, strict=False)):
      cells[axis] = slice(part.start // edge, -(-part.stop // edge))
    seen = self._seen[tuple(cells)]
    if seen.all():
      return
    new = np.argwhere(~seen) + [cell.start for cell in cells]
    self._verify(np.ravel_multi_index(tuple(new.T), self._seen.shape))
    # threads may do the same work twice, never too little of it
    seen[...] = True
    self.unseen = not self._seen.all()

  def _verify(self, numbers: np.ndarray) -> None:
    file = pathlib.Path(self._folder, _SUMS)
    integrity.check_file(file, (4 * self._seen.size, self._stored.sums))
    sums = np.frombuffer(file.read_bytes(), "<u4")
    places = _places(check(pathlib.Path(self._folder), self._stored))
    with open(_file(self._folder, len(self._stored.shape)), "rb") as opened:
      parts = np.array_split(numbers, -(-len(numbers) // _TOGETHER))
      work = functools.partial(_sums, opened.fileno())
      found = (_threads().map if len(parts) > 1 else map)(work, (places[part] for part in parts))
      if not np.array_equal(np.concatenate(list(found)), sums[numbers]):
        raise Damaged("a block has another checksum")


@functools.cache
def _threads() -> ThreadPoolExecutor:
  # checksums let go of the interpreter
  return ThreadPoolExecutor(os.cpu_count() or 1)


@functools.lru_cache(4096)
def _open(folder: str, stored: Stored, state: tuple) -> _Array:
  del state  # a file that was written since is opened and verified anew
  return _Array(folder, stored)


def _index_size(count: int) -> int:
  # two numbers for each block, and a checksum
  return 16 * count + 4


def _places(index: bytes) -> np.ndarray:
  """(blocks, 2): the first byte of each block, and how many it has."""
  return np.frombuffer(index[:-4], "<u8").reshape(-1, 2)


def _sums(file: int, places: np.ndarray) -> np.ndarray:
  """The checksums of blocks; `places` as of `_places`."""
  if (places == _NEVER_WRITTEN).all(1).any():
    raise Damaged("a block is missing")
  # one buffer for all: memory that is asked for anew costs as much as reading into it
  buffer, found = memoryview(bytearray(int(places[:, 1].max()))), []
  for start, size in places.tolist():
    count = os.preadv(file, [buffer[:size]], start)
    found.append(zlib.crc32(buffer[:count]))
  return np.array(found, "<u4")


def _error(folder, text: str) -> Exception:
  # what TensorStore says is some hundred characters, of which these words tell the cause
  system = re.search(r"\[OS error \d+: ([^\]]*)\]", text)
  if system:
    return OSError(f"{folder}: cannot be read ({system[1]}).")
  return Damaged("a block is missing" if "is missing" in text else "a block cannot be unpacked")


def metadata_of(shape: Sequence[int], dtype: str, block: Sequence[int]) -> dict[str, Any]:
  """zarr's description of an array, of its blocks and of how they are packed."""
  shard = [n * edge for n, edge in zip(_grid(shape, block), block, strict=True)]
  itemsize = np.dtype(dtype).itemsize
  # of the fast codecs the one that unpacks fastest: reading is what training waits for
  pack = {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": itemsize}
  inner = [
    {"name": "bytes", "configuration": {"endian": "little"}} if itemsize > 1 else "bytes",
    {"name": "blosc", "configuration": pack},
  ]
  sharding = {"chunk_shape": list(block), "codecs": inner}
  return {
    "shape": list(shape),
    "data_type": dtype,
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shard}},
    "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
  }


def _grid(shape: Sequence[int], block: Sequence[int]) -> tuple[int, ...]:
  return tuple(-(-size // edge) for size, edge in zip(shape, block, strict=True))


def _spec(folder) -> dict[str, Any]:
  return {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(plain_path(folder))}}


def _file(folder, axes: int) -> str:
  return f"{folder}/c{'/0' * axes}"
