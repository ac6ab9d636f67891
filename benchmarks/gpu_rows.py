"""The rows of benchmarks/gpu.py that JAX measures.

`python gpu_rows.py FOLDER [--tiny] [--data NPZ]` reads the name of a row a line, and prints its
result as one line of JSON after RESULT.
"""

import argparse
import functools
import json
import pathlib
import sys
import time

import numpy as np

from jaxseg import augment, defaults, files, xla_flags
from jaxseg.batch import LabelSpec
from jaxseg.benchmark import machine, made_data
from jaxseg.benchmark import program as programs
from jaxseg.benchmark.row import failure, of_program
from jaxseg.benchmark.training import spread
from jaxseg.data.formats.geometry import plain_geometry
from jaxseg.data.sources.source import RawCase, Source
from jaxseg.experiment import experiment

LABELS = LabelSpec(("background", "anterior", "posterior"), (0, 1, 2))
PLAIN, LARGE = (32, 64, 128, 256), (32, 64, 128, 256, 320, 320)
TIMED = {"steps": 30, "seconds": 8.0, "measure_peak": False}


def recipe(network: str, widths, patch, batch: int, dtype: str, *, augmented: bool, steps: int):
  """nnU-Net's training as a config: SGD with Nesterov's momentum, its losses and augmentation."""
  config = defaults.fields()
  # nnU-Net and PyTorch's row take the fastest kernels, too
  config.steps, config.deterministic = steps, False
  config.method = dict(name="supervised", drop_last_head=network != "mednext")
  config.network = dict(name=network, widths=widths, dtype=dtype)
  config.loss = dict(
    cross_entropy=dict(weight=1.0), dice=dict(weight=1.0, include_background=False)
  )
  config.optimiser = dict(
    name="sgd",
    learning_rate=1e-2,
    momentum=0.99,
    nesterov=True,
    schedule=dict(name="polynomial", power=0.9),
    weight_decay=3e-5,
    clip=12.0,
  )
  config.data.patch, config.data.batch, config.data.normalise = patch, batch, "none"
  config.augment = augment.nnunet(len(patch), patch) if augmented else {}
  config.predictor = dict(name="sliding_window", overlap=0.5, batch=batch)
  return config


def hippocampus(path) -> Source:
  """The cases of gpu_data.py's file, normalised already; half of a fold's names tell the split."""
  with np.load(path) as file:
    stored = {name: file[name] for name in file.files}
  ends = np.cumsum(stored["shape"].prod(1))[:-1]
  images, labels = (np.split(stored[name], ends) for name in ("image", "label"))
  names = tuple(f"case_{i:04d}" for i in range(len(images)))
  place = {name: i for i, name in enumerate(names)}

  def read(name: str) -> RawCase:
    i = place[name]
    shape = tuple(int(n) for n in stored["shape"][i])
    image = images[i].reshape(*shape, 1).astype(np.float32)
    label = labels[i].reshape(shape).astype(np.int32)
    return RawCase(image, label, None, plain_geometry(shape, stored["spacing"][i]))

  return Source("hippocampus", names, ("mri",), LABELS, 3, read, pathlib.Path(path).name)


def with_split(config, path, folder: pathlib.Path) -> None:
  """The split that gpu_data.py's file has."""
  with np.load(path) as file:
    sides = {
      side: [f"case_{i:04d}" for i in file[name].tolist()]
      for side, name in (("train", "training"), ("val", "validation"))
    }
  files.write_json(folder / "splits_final.json", [sides])
  config.data.split = dict(name="file", path=str(folder / "splits_final.json"), fold=0)


class Measured:
  """What the rows are made from."""

  def __init__(self, folder: pathlib.Path, data: str | None, tiny: bool):
    self.folder, self.data, self.tiny = folder, data, tiny

  def run(self, config):
    """An experiment on volumes that are made up."""
    counts = {"channels": 1, "classes": len(LABELS.names), "cases": 2}
    return made_data.made_experiment(config, self.folder / "prepared", **counts)

  def large(self, network="plain_conv_unet", widths=LARGE, dtype="bfloat16", augmented=False):
    """128^3, batch 2."""
    patch = (128,) * 3
    if self.tiny:
      patch, widths = (16,) * 3, (4, 8, 8)
    how = {"augmented": augmented, "steps": 1000}
    config = recipe(network, widths, patch, 2, dtype, **how)
    if self.tiny and network == "mednext":
      config.network |= dict(blocks=1, expansion=1)
    return self.run(config)

  def small(self, *, augmented: bool, steps: int = 1000, every: int = 250):
    """MSD hippocampus by nnU-Net's own plan, or made up where its file isn't there."""
    patch, batch, widths = (40, 56, 40), 7, PLAIN
    if self.tiny:
      patch, batch, widths = (16, 24, 16), 2, (4, 8, 8)
    how = {"augmented": augmented, "steps": steps}
    config = recipe("plain_conv_unet", widths, patch, batch, "bfloat16", **how)
    config.evaluate.every = every
    if not self.data:
      return self.run(config)
    with_split(config, self.data, self.folder)
    config.data.folder, config.data.workers = str(self.folder / "prepared"), 1
    config.evaluate.cases = 2 if self.tiny else 0
    source = hippocampus(self.data)
    return experiment(config, sources=lambda view: source)


def training(run, say) -> dict:
  """A row of a training step, its augmentation alone beside it."""
  import jax

  program = programs.of_experiment(run, say)
  begun = time.perf_counter()
  program.compiled()
  compiling = time.perf_counter() - begun
  row = of_program(program, ("training", "memory", "flops"), TIMED)
  row["conditions"]["compile_seconds"] = compiling
  if run.config["augment"]:
    say("sampling and augmentation alone")
    make, times = jax.jit(program.batch), []
    with program.fed(0, 12) as elements:
      for number, element in enumerate(elements):
        begun = time.perf_counter()
        jax.block_until_ready(make(np.int32(number), program.on_device, element, program.seed))
        times.append(time.perf_counter() - begun)
    # the first two compile, and warm up
    row["sampled_and_augmented_seconds"] = spread(times[2:])
  return row


def windows(measured: Measured, say) -> dict:
  program = programs.of_experiment(measured.large(), say)
  size = (24, 40, 40) if measured.tiny else (400, 512, 512)
  how = {"case_size": size, "repeats": 3, "inference_seconds": 20.0}
  return of_program(program, ("inference",), how)


def to_dice(measured: Measured, say) -> dict:
  steps, every, goal = (6, 2, 1e-9) if measured.tiny else (4000, 250, 0.88)
  run = measured.small(augmented=True, steps=steps, every=every)
  program = programs.of_experiment(run, say)
  return of_program(program, ("time_to",), {"time_to": f"dice={goal}", "seeds": 1})


def row_of(name: str, measured: Measured, say) -> dict:
  large, small = measured.large, measured.small
  runs = {
    "128, bfloat16, augmented": functools.partial(large, augmented=True),
    "128, bfloat16": large,
    "128, float32": functools.partial(large, dtype="float32"),
    "128, ResEnc, bfloat16": functools.partial(large, "resenc_unet"),
    "128, MedNeXt, bfloat16": functools.partial(large, "mednext", (32, 64, 128, 256, 512)),
    "hippocampus, bfloat16, augmented": functools.partial(small, augmented=True),
    "hippocampus, bfloat16": functools.partial(small, augmented=False),
  }
  if name in runs:
    return training(runs[name](), say)
  return {"512x512x400 by windows of 128": windows, "Dice 0.88 on hippocampus": to_dice}[name](
    measured, say
  )


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("folder", type=pathlib.Path)
  parser.add_argument("--data")
  parser.add_argument("--tiny", action="store_true")
  wanted = parser.parse_args()
  xla_flags.add(xla_flags.CPU)
  if wanted.tiny:
    # what a toy row costs is compiling it
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
  measured = Measured(wanted.folder, wanted.data, wanted.tiny)

  def say(text: str) -> None:
    print(text, flush=True)

  told = None
  for line in sys.stdin:
    try:
      row = {"failed": None, **row_of(line.strip(), measured, say)}
    except Exception as error:  # a row fails alone
      row = {"failed": failure(error)}
    told = told or machine.describe()
    print(f"RESULT {json.dumps({**row, 'machine': told})}", flush=True)


if __name__ == "__main__":
  main()
