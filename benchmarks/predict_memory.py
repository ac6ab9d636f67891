"""Peak memory of predicting one large volume with many classes.

A 3 x 3 x 3 convolution stands for the network: what is measured is what prediction keeps, from the
scan as it is read to the labels on its own grid. `--spacing 1.5` has the network on a grid of
1.5 mm for a scan of 1 mm, as a plan would: the scores are kept there as a whole, and resampled
class by class.

Run: python benchmarks/predict_memory.py                       (512 x 512 x 400, 100 classes)
     python benchmarks/predict_memory.py --shape 100 128 128 --patch 32
Measured figures: docs/benchmarks.md.
"""

import argparse
import functools
import resource
import time

import jax
import numpy as np
from flax import linen as nn

from jaxseg.batch import LabelSpec
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.data.sources.source import RawCase
from jaxseg.inference import sliding_window
from jaxseg.inference.segmentation import Configuration, segment

GIB = 2**30


def peak() -> float:
  """GiB that this process has held at most; Linux counts in KiB."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--shape", type=int, nargs=3, default=(400, 512, 512))
  parser.add_argument("--patch", type=int, default=128)
  parser.add_argument("--classes", type=int, default=100)
  parser.add_argument("--overlap", type=float, default=0.5)
  parser.add_argument("--spacing", type=float, help="of the network's grid; the scan's is 1 mm")
  given = parser.parse_args()
  shape = tuple(given.shape)

  random = np.random.default_rng(0)
  voxels = random.integers(-1000, 1000, (*shape, 1), np.int16)
  raw = RawCase(voxels, None, None, plain_geometry(shape))
  names = tuple(f"class {k}" for k in range(given.classes))
  labels = LabelSpec(names, tuple(range(given.classes)))
  scheme = {"name": "ct", "lower": -1000.0, "upper": 1000.0, "mean": 0.0, "std": 500.0}
  spacing = () if given.spacing is None else (given.spacing,) * 3
  preparation = Preparation(("CT",), 3, (scheme,), spacing=spacing)

  net = nn.Conv(given.classes, (3, 3, 3))
  weights = net.init(jax.random.key(0), np.zeros((1, 4, 4, 4, 1), np.float32))
  compiled = jax.jit(net.apply)
  logits = functools.partial(
    sliding_window,
    lambda batch: {"logits": compiled(weights, batch["image"])},
    patch=given.patch,
    overlap=given.overlap,
    batch=1,
  )
  print(f"before: {peak():.2f} GiB, {voxels.nbytes / GIB:.2f} of them the scan", flush=True)
  start = time.monotonic()

  def progress(done, total):
    if done % 20 == 0 or done == total:
      print(
        f"window {done} of {total}: {time.monotonic() - start:.0f} s, {peak():.2f} GiB", flush=True
      )

  found = segment([Configuration((preparation,), labels, logits)], raw, progress=progress)
  whole = np.prod(shape) * given.classes * 4 / GIB
  print(
    f"{shape}, {given.classes} classes, patch {given.patch}: peak {peak():.2f} GiB, "
    f"{time.monotonic() - start:.0f} s; all scores as float32 would be {whole:.1f} GiB"
  )
  print(f"{len(np.unique(found.labels[::8, ::8, ::8]))} classes found")


if __name__ == "__main__":
  main()
