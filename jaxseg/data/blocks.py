"""Arrays stored in compressed blocks, so that a patch reads only the blocks that it touches.

An array is a zarr folder with one file of blocks (a zarr 3 shard), written and read by TensorStore.
"""

import functools
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorstore

# voxels in a block, by rank: nnU-Net's 128 KiB of one channel, pictures of usual size whole
_VOXELS = {2: 2**18, 3: 2**15}
# a block's bytes before compression are at most as many
_LARGEST = 2**21


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


def write(folder: pathlib.Path, array: np.ndarray, block: Sequence[int]) -> None:
  """Writes a new array; `block` is the size of its blocks along the first axes, whole after them.

  The bytes follow from the array alone. Raises ValueError if it cannot be written.
  """
  block = (*block, *array.shape[len(block) :])
  shard = [-(-size // edge) * edge for size, edge in zip(array.shape, block, strict=True)]
  # of the fast codecs the one that unpacks fastest: reading is what training waits for
  pack = {"cname": "lz4", "clevel": 5, "shuffle": "shuffle", "typesize": array.itemsize}
  inner = [
    {"name": "bytes", "configuration": {"endian": "little"}} if array.itemsize > 1 else "bytes",
    {"name": "blosc", "configuration": pack},
  ]
  sharding = {"chunk_shape": list(block), "codecs": inner}
  metadata = {
    "shape": list(array.shape),
    "data_type": array.dtype.name,
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shard}},
    "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
  }
  store = tensorstore.open({**_spec(folder), "metadata": metadata}, create=True).result()
  store.write(array).result()


def read(folder: pathlib.Path, region: Sequence[slice] = ()) -> np.ndarray:
  """The array, or a region of it: slices along its first axes, within its bounds."""
  return _opened(str(folder))[(*region, ...)].read().result()


def _spec(folder) -> dict:
  return {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(folder)}}


@functools.lru_cache(4096)
def _opened(folder: str) -> tensorstore.TensorStore:
  # with the metadata in memory; what it holds is asked for once, a prepared set never changes
  return tensorstore.open(_spec(folder), open=True, read=True).result()
