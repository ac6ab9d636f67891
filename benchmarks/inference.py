"""Sliding-window prediction of one case in jaxseg beside MONAI, on CPU, in one run.

Usage: python benchmarks/inference.py [--torch PYTHON] [--pairs 9] [--batch 4] [--torch-batch 1]
         [--tune] [--case 120 160 160]

PYTHON is an interpreter that has torch, monai and numpy; by default the one that runs this.

A case of 120x160x160 in windows of 64 that overlap by half (48 of them), Gaussian weights, no
mirroring: from the image in memory to the logits in memory. The networks have the same layers
(widths 16-32-64-128, strided down, transposed up, instance norm with scale and bias, leaky ReLU;
`PlainConvUNet`, whose convolutions before a norm have a bias that the norm takes away again, and
MONAI's `DynUNet`, whose have none). Cases are predicted in turn, so that other work on the machine
hits both alike. Printed: the median seconds of each, the median of the ratios of neighbours (below
1: jaxseg is faster) and its 95 % interval (of the median, by order statistics).

`--batch` and `--torch-batch` are the windows per call of the network; `--tune` tries 1, 2 and 4 on
both sides first and takes each side's fastest.
"""

import argparse
import functools
import math
import os
import pathlib
import statistics
import sys
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
from other_python import Worker

from jaxseg.inference.case import Case
from jaxseg.inference.windows import sliding_window
from jaxseg.networks import PlainConvUNet
from jaxseg.sharding import layout

WIDTHS, CLASSES, PATCH, OVERLAP = (16, 32, 64, 128), 3, 64, 0.5
BATCHES = (1, 2, 4)


def jaxseg_prediction(shape, batch):
  """A function that predicts the case once."""
  net = PlainConvUNet(classes=CLASSES, widths=WIDTHS)
  image = np.random.default_rng(0).normal(size=(*shape, 1)).astype(np.float32)
  case = Case({"image": image, "spacing": np.ones(3, np.float32)})
  variables = jax.jit(net.init)(jax.random.key(0), image[None, :PATCH, :PATCH, :PATCH])

  def logits(variables, fields):
    return {"logits": net.apply(variables, fields["image"])["logits"]}

  compiled = layout(batches={}, devices=jax.devices()[:1]).windowed(logits)
  apply = functools.partial(compiled, variables)
  options = {"patch": PATCH, "classes": CLASSES, "overlap": OVERLAP, "batch": batch}
  return lambda: sliding_window(apply, case, **options)


def seconds(run):
  start = time.perf_counter()
  run()
  return time.perf_counter() - start


def interval(values):
  """The narrowest two order statistics with the median between them in 95 % of samples, or all."""
  n, low, outside = len(values), 0, 2 * 0.5 ** len(values)
  while low + 1 < n // 2 and outside + 2 * math.comb(n, low + 1) * 0.5**n <= 0.05:
    low += 1
    outside += 2 * math.comb(n, low) * 0.5**n
  ordered = sorted(values)
  return ordered[low], ordered[n - 1 - low]


def torch_worker(python, shape, batch):
  task = {
    "shape": shape,
    "patch": PATCH,
    "widths": WIDTHS,
    "classes": CLASSES,
    "overlap": OVERLAP,
    "batch": batch,
  }
  return Worker(python, str(pathlib.Path(__file__).with_name("inference_torch.py")), task)


def tuned(make, what, rounds=3):
  """The number of windows per call that is fastest, each the median of `rounds` cases."""
  times = {}
  for batch in BATCHES:
    work = make(batch)
    work()
    times[batch] = statistics.median(work() for _ in range(rounds))
    getattr(work, "close", lambda: None)()
    print(f"{what}, {batch} windows a call: {times[batch]:.2f} s", flush=True)
  return min(times, key=times.get)


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--torch", default=sys.executable, help="interpreter with torch and monai")
  parser.add_argument("--pairs", type=int, default=9)
  parser.add_argument("--batch", type=int, default=4, help="jaxseg's windows per call")
  parser.add_argument("--torch-batch", type=int, default=1, help="MONAI's windows per call")
  parser.add_argument("--case", type=int, nargs=3, default=(120, 160, 160))
  parser.add_argument("--tune", action="store_true", help="finds the two numbers of windows")
  arguments = parser.parse_args()
  print(f"jax {jax.__version__}, {os.cpu_count()} cores", flush=True)
  batch, torch_batch = arguments.batch, arguments.torch_batch
  if arguments.tune:

    def timed(batch):
      run = jaxseg_prediction(arguments.case, batch)
      return lambda: seconds(run)

    batch = tuned(timed, "jaxseg")
    torch_batch = tuned(lambda batch: torch_worker(arguments.torch, arguments.case, batch), "MONAI")
  theirs = torch_worker(arguments.torch, arguments.case, torch_batch)
  ours = jaxseg_prediction(arguments.case, batch)
  ours(), theirs()
  times = [(seconds(ours), theirs()) for _ in range(arguments.pairs)]
  theirs.close()
  ratios = [a / b for a, b in times]
  own, other = (statistics.median(column) for column in zip(*times, strict=True))
  low, high = interval(ratios)
  print("ratios", *(f"{r:.3f}" for r in sorted(ratios)))
  print(f"jaxseg {own:.2f} s ({batch} windows a call), MONAI {other:.2f} s ({torch_batch})")
  print(
    f"ratio {statistics.median(ratios):.2f} ({low:.2f} to {high:.2f}; {len(ratios)} pairs of "
    f"{tuple(arguments.case)})",
    flush=True,
  )


if __name__ == "__main__":
  main()
