"""Stored arrays come back whole and in part, in small blocks, with the same bytes every time."""

import hashlib

import numpy as np
import pytest

from jaxseg.data.prepared import blocks


def stored(folder):
  return [
    (f.relative_to(folder).as_posix(), hashlib.sha256(f.read_bytes()).hexdigest())
    for f in sorted(folder.rglob("*"))
    if f.is_file()
  ]


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.int32])
@pytest.mark.parametrize("shape", [(19, 23, 17), (19, 23, 17, 2), (30, 11)])
def test_arrays_and_their_parts_come_back(tmp_path, dtype, shape):
  array = (100 * np.random.default_rng(0).random(shape)).astype(dtype)
  rank = 2 if len(shape) == 2 else 3
  written = blocks.write(tmp_path / "a", array, (8, 5, 6)[:rank])
  found = blocks.read(tmp_path / "a", written)
  assert found.dtype == dtype
  np.testing.assert_array_equal(found, array)
  region = (slice(3, 17), slice(4, 11), slice(0, 17))[:rank]
  np.testing.assert_array_equal(blocks.read(tmp_path / "a", written, region), array[region])


def test_bytes_follow_from_the_array(tmp_path):
  array = np.random.default_rng(0).standard_normal((40, 40, 40)).astype(np.float32)
  for name in "ab":
    blocks.write(tmp_path / name, array, (8, 8, 8))
  assert stored(tmp_path / "a") == stored(tmp_path / "b")


def test_part_of_a_damaged_file_can_be_read_where_it_is_whole(tmp_path):
  # proof that only the touched blocks are read: the rest of the file is noise
  array = np.random.default_rng(0).standard_normal((32, 32, 32)).astype(np.float32)
  written = blocks.write(tmp_path / "a", array, (16, 16, 16))
  (file,) = [f for f in (tmp_path / "a").rglob("0") if f.is_file()]
  data = bytearray(file.read_bytes())
  middle = len(data) // 2
  data[middle : middle + 64] = bytes(64)
  file.write_bytes(data)
  whole = 0
  for corner in np.ndindex(2, 2, 2):
    region = tuple(slice(16 * c, 16 * c + 16) for c in corner)
    try:
      whole += bool((blocks.read(tmp_path / "a", written, region) == array[region]).all())
    except ValueError:
      continue
  assert whole == 7


@pytest.mark.parametrize(
  ("shape", "spacing", "voxel", "expected"),
  [
    ((400, 512, 512), (1, 1, 1), 4, (32, 32, 32)),
    ((40, 512, 512), (8, 1, 1), 4, (8, 64, 64)),
    ((400, 512, 512), (1, 1, 1), 400, (17, 17, 17)),  # 100 channels: at most 2 MiB
    ((20, 20, 20), (1, 1, 1), 4, (20, 20, 20)),
    ((2000, 2000), (1, 1), 12, (418, 418)),  # of 2^21 / 12 voxels
    ((600, 600), (1, 1), 4, (512, 512)),
  ],
)
def test_blocks_are_cubes_in_millimetres_of_at_most_two_mebibytes(shape, spacing, voxel, expected):
  assert blocks.block_shape(shape, spacing, bytes_per_voxel=voxel) == expected
  assert np.prod(expected) * voxel <= 2**21
