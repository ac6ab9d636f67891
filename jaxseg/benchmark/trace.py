"""A profile of some training steps, for XProf, TensorBoard or Perfetto."""

import argparse
import pathlib
from typing import Any

import jax

from jaxseg import files

STEPS, WARM_UP = 5, 2
HOW = (
  "pip install xprof tensorboard, then `tensorboard --logdir {folder}` and its page Profile; or "
  "https://ui.perfetto.dev, which opens {file}"
)


def add_options(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--trace",
    metavar="FOLDER",
    help=f"keep a profile of {STEPS} steps there (for XProf, TensorBoard, Perfetto)",
  )


def check(config, options) -> None:
  """Raises ValueError without a folder, or for one that cannot be written; makes none."""
  del config
  if not options.get("trace"):
    raise ValueError("--trace: expected a folder, where the profile is kept.")
  from jaxseg.verbs.arguments import check_folder

  check_folder(options["trace"], "--trace")


def measure(program, *, options) -> dict[str, Any]:
  """Profiles some steps after the first; raises ValueError for a folder that cannot be written."""
  folder = files.writable_folder(options["trace"], "--trace")
  before = set(_files(folder))
  step = program.compiled()
  program.say(f"tracing {STEPS} steps")
  state, store, seed = program.init(program.seed), program.on_device, program.seed
  profiler = jax.profiler.ProfileOptions()
  # calls of Python are left out: they would fill the file and slow the host
  profiler.python_tracer_level = 0
  with program.fed(0, WARM_UP + STEPS) as elements:
    for _ in range(WARM_UP):
      state, metrics = step(state, store, next(elements), seed)
    jax.block_until_ready((state, metrics))
    with jax.profiler.trace(str(folder), create_perfetto_trace=True, profiler_options=profiler):
      for number in range(STEPS):
        with jax.profiler.StepTraceAnnotation("train", step_num=number):
          state, metrics = step(state, store, next(elements), seed)
          jax.block_until_ready(metrics)
  written = sorted(set(_files(folder)) - before)
  readable = [path for path in written if path.name.startswith("perfetto_trace")]
  file = readable[0] if readable else folder
  return {
    "folder": str(folder),
    "steps": STEPS,
    "files": [str(path.relative_to(folder)) for path in written],
    "bytes": sum(path.stat().st_size for path in written),
    "how": HOW.format(folder=folder, file=file),
  }


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
  return [path for path in folder.rglob("*") if path.is_file()]


def lines(values) -> list[tuple[str, str]]:
  size = values["bytes"] / 2**20
  return [
    ("trace", f"{values['steps']} steps in {values['folder']} ({size:.1f} MiB): {values['how']}")
  ]
