"""Seconds of one window: the run's own function, its StableHLO export, its ONNX export.

Usage: python benchmarks/export.py [RUN ...] [--rounds 15] [--batch 1] [--output FILE]

Each RUN is a run folder (or a folder of folds). Without any, two networks of random weights stand
in for one: nnU-Net's plain U-Net on a plane of 256x256 (widths 32 to 256) and on a volume of 64^3.
From a window in memory to its logits in memory, normalisation inside of all three; taken in turn,
so that other work on the machine hits all alike. The first call, which loads and compiles, is told
apart. Needs flatbuffers, jax2onnx and onnxruntime beside jaxseg; what is missing is left out.
Printed for each: the median, the tenth and the ninetieth percentile in milliseconds, the median of
the ratios to ours, the largest difference of the logits from ours, and the size of the file.
"""

import argparse
import json
import os
import pathlib
import statistics
import tempfile
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np

from jaxseg import packages, paths
from jaxseg.interop.exports import intensities, onnx_file, stablehlo
from jaxseg.interop.exports.window_program import WindowProgram, window_program
from jaxseg.networks import PlainConvUNet
from jaxseg.runs.folder import run_folders
from jaxseg.runs.load import open_runs

STAND_INS = {"plane": (256, 256), "volume": (64, 64, 64)}
WIDTHS, CLASSES = (32, 64, 128, 256), 3
SCHEMES = ({"name": "zscore"},)


def stand_in(name: str) -> WindowProgram:
  """A network of random weights with a z-score in front."""
  patch = STAND_INS[name]
  net = PlainConvUNet(classes=CLASSES, widths=WIDTHS)
  image = np.zeros((1, *patch, 1), np.float32)
  params = jax.jit(net.init)(jax.random.key(0), image)["params"]
  weights = {path: np.asarray(leaf) for path, leaf in paths.flatten(params).items()}
  fixed = intensities.numbers(SCHEMES)

  def function(weights, image, statistics):
    image = intensities.normalised(image, statistics, SCHEMES, fixed)
    return {"logits": net.apply({"params": paths.unflatten(weights)}, image)["logits"]}

  told = {
    "runs": [name],
    "output": "logits",
    "channels": ["image"],
    "patch": patch,
    "margin": (0,) * len(patch),
    "window": patch,
    "overlap": 0.5,
    "weighting": "gaussian",
    "padding": "zero",
    "normalised": False,
    "normalisation": [list(SCHEMES)],
    "labels": {},
  }
  return WindowProgram(function, weights, patch, 1, True, told)


def of_run(path, loops: bool) -> WindowProgram:
  return window_program(open_runs(run_folders(path), devices=jax.devices()[:1]), loops=loops)


def measured(ours: WindowProgram, flat: WindowProgram, *, rounds: int, batch: int) -> list[dict]:
  """A row for each of the ways to compute a window; `flat` is the same without loops."""
  output = ours.told["output"]
  shape = (batch, *ours.patch, ours.channels)
  image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
  numbers = intensities.statistics(image)
  weights, compiled = jax.device_put(ours.weights), jax.jit(ours.function)
  ways = {"jaxseg": (0, lambda: compiled(weights, image, numbers))}
  with tempfile.TemporaryDirectory() as scratch:
    for name, needed, write, load in (
      ("stablehlo", ("flatbuffers",), lambda path: stablehlo.write(path, ours), stablehlo.load),
      (
        "onnx",
        ("jax2onnx", "onnxruntime"),
        lambda path: onnx_file.write(path, flat),
        onnx_file.load,
      ),
    ):
      if missing := [package for package in needed if not packages.installed(package)]:
        print(f"{name}: left out, {', '.join(missing)} is not installed", flush=True)
        continue
      path = pathlib.Path(scratch) / name
      write(path)
      artefact = load(path)
      run = lambda artefact=artefact: artefact.apply(image, numbers)  # noqa: E731
      ways[name] = (path.stat().st_size, run)
    first, scores = {}, {}
    for name, (_, run) in ways.items():
      start = time.perf_counter()
      scores[name] = np.asarray(run()[output])
      first[name] = time.perf_counter() - start
    times = {name: [] for name in ways}
    for _ in range(rounds):
      for name, (_, run) in ways.items():
        start = time.perf_counter()
        np.asarray(run()[output])
        times[name].append(time.perf_counter() - start)
  rows = []
  for name, (size, _) in ways.items():
    ratios = [a / b for a, b in zip(times[name], times["jaxseg"], strict=True)]
    low, high = np.percentile(times[name], (10, 90)) * 1e3
    rows.append(
      {
        "of": ours.told["runs"][0],
        "window": list(shape),
        "way": name,
        "median_ms": round(statistics.median(times[name]) * 1e3, 1),
        "p10_ms": round(float(low), 1),
        "p90_ms": round(float(high), 1),
        "ratio": round(statistics.median(ratios), 2),
        "first_call_s": round(first[name], 1),
        "difference": float(np.abs(scores[name] - scores["jaxseg"]).max()),
        "megabytes": round(size / 1e6, 1),
      }
    )
  return rows


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("runs", nargs="*", type=pathlib.Path, metavar="RUN")
  parser.add_argument("--rounds", type=int, default=15)
  parser.add_argument("--batch", type=int, default=1, help="windows per call")
  parser.add_argument("--output", type=pathlib.Path, help="a JSON file of the rows")
  arguments = parser.parse_args()
  print(f"jax {jax.__version__}, {os.cpu_count()} cores, {jax.default_backend()}", flush=True)
  pairs = [(of_run(run, True), of_run(run, False)) for run in arguments.runs]
  pairs = pairs or [(program, program) for program in map(stand_in, STAND_INS)]
  rows = []
  for ours, flat in pairs:
    for row in measured(ours, flat, rounds=arguments.rounds, batch=arguments.batch):
      print(json.dumps(row), flush=True)
      rows.append(row)
  if arguments.output:
    arguments.output.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
  main()
