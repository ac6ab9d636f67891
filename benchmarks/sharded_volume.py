"""Memory per device of a training step on one large volume, on one device and split over eight.

Usage: python benchmarks/sharded_volume.py [--patch 256 256 256] [--step] [--json FILE]

A 3D U-Net (instance norm, AdamW, mirroring and brightness) is compiled for 1 fake device and for
`config.mesh.space` = 8, by the gradients that GPUs and TPUs use; what the compiler needs of memory
is printed for each: arguments, temporaries and outputs, less what is written in place. With
--step one step is run on the eight as well, which takes as much memory as one device's.
"""

import argparse
import os
import pathlib
import tempfile
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)

import jax
import numpy as np

from jaxseg import compose, defaults, files, sharding
from jaxseg.data.stream import Feeder
from jaxseg.experiment import Experiment, experiment
from jaxseg.networks.blocks.acceleration import cpu_gradients
from jaxseg.planning.peak_memory import of_compiled
from jaxseg.step import compile_step


def config_of(patch, widths, space: int, folder: str):
  config = defaults.config()
  config.data.source = dict(name="phantom", cases=2, size=(64, 64, 64))
  config.data.split = dict(name="kfold", fold=0, folds=2)
  config.data.folder, config.data.cache = folder, "host"
  config.data.patch, config.data.batch = tuple(patch), 1
  config.network = dict(name="unet", widths=tuple(widths), norm="instance", up="transpose")
  config.augment = dict(mirror=dict(), brightness=dict())
  config.mesh = dict(config.mesh, batch=1, space=space)
  return config


def laid_out(run: Experiment, space: int) -> Experiment:
  """The experiment with its patches split over so many devices."""
  config = {**run.config, "mesh": {**run.config["mesh"], "space": space}}
  nets = compose.networks_by_role(config, run.main.dataset.labels.channels)
  layout = compose.layout(config, nets["network"], jax.devices()[:space])
  return run._replace(
    config=config, layout=layout, method=compose.method(config, nets, layout=layout)
  )


def compiled(run: Experiment):
  """(element, store, step, the compiled training step)."""
  feeder = Feeder(run.streams, cache="host")
  element, store = feeder.element(0), feeder.store()
  step = compile_step(run, element, store)
  of = jax.eval_shape(lambda: (element, store))
  seed = jax.ShapeDtypeStruct((), np.uint32)
  with cpu_gradients(False):
    return element, store, step, step.train.lower(step.abstract, of[1], of[0], seed).compile()


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--patch", type=int, nargs=3, default=(256, 256, 256))
  parser.add_argument("--widths", type=int, nargs="+", default=(16, 32, 64, 128))
  parser.add_argument("--step", action="store_true", help="runs one step on the eight devices")
  parser.add_argument("--json", type=pathlib.Path, help="writes the rows there")
  options = parser.parse_args()
  rows = []
  with tempfile.TemporaryDirectory() as folder:
    run = experiment(config_of(options.patch, options.widths, 8, folder))
    for space in (8, 1):
      start = time.monotonic()
      own = laid_out(run, space)
      element, store, step, program = compiled(own)
      told = of_compiled(program)
      rows.append({"devices": space, **told._asdict(), "peak": told.peak})
      print(
        f"{space} device(s): {told.peak / 2**20:.0f} MiB each (arguments "
        f"{told.arguments / 2**20:.0f}, temporaries {told.temporaries / 2**20:.0f}); compiled in "
        f"{time.monotonic() - start:.0f} s",
        flush=True,
      )
      if options.step and space > 1:
        start = time.monotonic()
        place = sharding.place(element, own.layout.split)
        state = step.init(np.uint32(0))
        _, metrics = program(state, store, place, np.uint32(0))
        loss = float(metrics["loss"])
        print(f"one step: loss {loss:.4f}, {time.monotonic() - start:.0f} s", flush=True)
  print(f"eight devices: {rows[0]['peak'] / rows[1]['peak']:.3f} of one device's")
  if options.json:
    files.write_json(options.json, rows)


if __name__ == "__main__":
  main()
