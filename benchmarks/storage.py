"""Patches per second from volumes that don't fit into memory: blocks beside whole volumes.

  python benchmarks/storage.py [--volumes 20] [--size 400 512 512] [--patch 128] [--seconds 20]
                               [--rounds 15] [--folder DIR]

Writes synthetic volumes (smooth noise in steps of one Hounsfield unit, normalised: about as hard to
compress as a CT) as a prepared set stores them, then reads random patches with two threads, as
training with cache="disk" does, and again by reading the whole volume for every patch.

What verifying costs: the same volumes are also stored without checksums, each is read whole from
both (where every block is compared), and then the same patches are read from both in turn; ratios
are medians. Twenty volumes at full size take
8 GB of disk before compression, twice, and some minutes to write.
"""

import argparse
import itertools
import pathlib
import shutil
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorstore
from scipy import ndimage

from jaxseg.data.prepared import blocks

_THREADS = 2


def volume(shape: tuple[int, ...], seed: int) -> np.ndarray:
  """Air around a body of soft tissue with noise; float32, as after normalisation."""
  random = np.random.default_rng(seed)
  coarse = random.standard_normal([n // 16 + 2 for n in shape])
  zoom = [n / m for n, m in zip(shape, coarse.shape, strict=True)]
  smooth = ndimage.zoom(coarse, zoom, order=1, output=np.float32, grid_mode=True, mode="nearest")
  units = np.round(60 * smooth + 12 * random.standard_normal(shape, np.float32) + 50)
  axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape[1:]), indexing="ij", sparse=True)
  units[:, axes[0] ** 2 + axes[1] ** 2 > 0.8] = -160
  return ((units - 50) / 70).astype(np.float32)


def write_bare(folder: pathlib.Path, array: np.ndarray, block) -> tensorstore.TensorStore:
  """As `blocks.write`, without checksums; gives what it can be read from, unverified."""
  metadata = blocks.metadata_of(array.shape, array.dtype.name, block)
  spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(folder)}}
  tensorstore.open({**spec, "metadata": metadata}, create=True).result().write(array).result()
  return tensorstore.open(spec, open=True, read=True).result()


def in_turn(first, second, corners, rounds: int) -> float:
  """Time of first(corner) over that of second(corner): median over rounds of the same corners."""
  ratios = []
  with ThreadPoolExecutor(_THREADS) as pool:
    for number in range(rounds + 1):
      where, taken = list(itertools.islice(corners, 16)), {}
      for read in (first, second) if number % 2 else (second, first):
        started = time.perf_counter()
        list(pool.map(read, where))
        taken[read] = time.perf_counter() - started
      ratios.append(taken[first] / taken[second])
  # the first round opens the files
  return statistics.median(ratios[1:])


def rate(read, corners, seconds: float) -> tuple[float, int]:
  """Calls of read(corner) per second, over at least `seconds`."""
  started, done = time.perf_counter(), 0
  with ThreadPoolExecutor(_THREADS) as pool:
    while time.perf_counter() - started < seconds:
      done += len(list(pool.map(read, itertools.islice(corners, 2 * _THREADS))))
  return done / (time.perf_counter() - started), done


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--volumes", type=int, default=20)
  parser.add_argument("--size", type=int, nargs=3, default=(400, 512, 512))
  parser.add_argument("--patch", type=int, default=128)
  parser.add_argument("--seconds", type=float, default=20)
  parser.add_argument("--rounds", type=int, default=15)
  parser.add_argument("--folder", type=pathlib.Path, help="on the disk to measure")
  given = parser.parse_args()
  shape, patch = tuple(given.size), given.patch
  block = blocks.block_shape(shape, (1, 1, 1), bytes_per_voxel=4)
  folder = pathlib.Path(tempfile.mkdtemp(prefix="storage-", dir=given.folder))
  try:
    started = time.perf_counter()
    written, bare, firsts = [], [], []
    for i in range(given.volumes):
      array = volume(shape, i)
      written.append(blocks.write(folder / str(i), array, block))
      bare.append(write_bare(folder / f"bare-{i}", array, block))
      bare[i][:1, :1, :1].read().result()
      times = {}
      for verified in (True, False) if i % 2 else (False, True):
        begun = time.perf_counter()
        _ = blocks.read(folder / str(i), written[i]) if verified else bare[i][...].read().result()
        times[verified] = time.perf_counter() - begun
      firsts.append(times[True] / times[False])
    taken = time.perf_counter() - started
    stored = sum(of_volume.size for of_volume in written)
    gigabytes = given.volumes * np.prod(shape) * 4 / 1e9
    print(f"{given.volumes} volumes of {shape}, blocks of {block}: {gigabytes:.1f} GB, on disk "
          f"{stored / 1e9:.1f} GB; made and written twice in {taken:.0f} s")  # fmt: skip

    random = np.random.default_rng(0)

    def corners():
      while True:
        where = tuple(int(random.integers(0, max(1, n - patch + 1))) for n in shape)
        yield int(random.integers(given.volumes)), where

    def region(where):
      return tuple(slice(a, min(a + patch, n)) for a, n in zip(where, shape, strict=True))

    def from_blocks(corner):
      return blocks.read(folder / str(corner[0]), written[corner[0]], region(corner[1]))

    def unverified(corner):
      return bare[corner[0]][region(corner[1])].read().result()

    def from_whole(corner):
      whole = blocks.read(folder / str(corner[0]), written[corner[0]])
      return np.array(whole[region(corner[1])])

    ratio = in_turn(from_blocks, unverified, corners(), given.rounds)
    print(f"time with checksums over time without: {ratio:.3f} ({given.rounds} rounds); of the "
          f"first reading of a volume {statistics.median(firsts):.2f}")  # fmt: skip

    speeds = {}
    for name, read in (("blocks", from_blocks), ("whole volumes", from_whole)):
      speeds[name], done = rate(read, corners(), given.seconds)
      print(f"{name:>14}: {speeds[name]:7.2f} patches of {patch}^3 a second ({done} read)")
    print(f"         ratio: {speeds['blocks'] / speeds['whole volumes']:.1f}")
  finally:
    shutil.rmtree(folder)


if __name__ == "__main__":
  main()
