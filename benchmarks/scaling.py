"""Training steps compiled for TPUs that are not there: memory, collectives, FLOPs, roofline.

Usage: python benchmarks/scaling.py [--only NAME ...] [--again] [--minutes 40]

Needs libtpu (`pip install libtpu`, Linux), no TPU. Every row is a process of its own and a row of
docs/scaling.json, kept as soon as it is there: run again to go on. A row that fails or takes longer
than --minutes is a row that says so. `python benchmarks/scaling_table.py` makes docs/scaling.md of
them.

A step is the method's own (forward, backward, optimiser), fed with a batch: augmentation happens on
each device alone and sends nothing, but takes a TPU's compiler minutes more.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

from jaxseg.benchmark import topologies

for variable, value in topologies.ENVIRONMENT.items():
  os.environ.setdefault(variable, value)

ROOT = pathlib.Path(__file__).parents[1]
ROWS = ROOT / "docs" / "scaling.json"

UNET = dict(name="unet", depth=1, decoder_depth=1, norm="instance", dtype="bfloat16")
# the compiler's time goes with the number of convolutions: few stages
DEEPER2D = dict(UNET, widths=(32, 64, 128))
UNET2D = dict(UNET, widths=(32, 64))
UNET3D = dict(UNET, widths=(16, 32))
RESENC2D = dict(name="resenc_unet", depth=1, widths=(32, 64), dtype="bfloat16")
RESENC3D = dict(name="resenc_unet", depth=1, widths=(16, 32), dtype="bfloat16")
PLANE = dict(target="tpu:v5e:2x4", patch=(128, 128), batch=16, mesh=dict(batch=8))
PLANE_SPLIT = dict(PLANE, patch=(512, 128), batch=1, mesh=dict(batch=1, space=8))
VOLUME = dict(target="tpu:v5e:2x4", patch=(32, 32, 32), batch=8, mesh=dict(batch=8))
VOLUME_SPLIT = dict(VOLUME, patch=(128, 32, 32), batch=1, mesh=dict(batch=1, space=8))
FSDP = dict(batch=8, parameters="fsdp", smallest=1024)
# name -> what is compiled
OPTIONS = {
  "2D U-Net, data parallel": dict(PLANE, network=DEEPER2D),
  "3D U-Net, data parallel": dict(VOLUME, network=UNET3D),
  "2D U-Net, space split": dict(PLANE_SPLIT, network=UNET2D),
  "3D U-Net, space split": dict(VOLUME_SPLIT, network=UNET3D),
  "2D ResEnc, data parallel": dict(PLANE, network=RESENC2D),
  "2D U-Net, data parallel, float32": dict(PLANE, network=dict(UNET2D, dtype="float32")),
  "2D U-Net, data parallel, batch norm": dict(PLANE, network=dict(UNET2D, norm="batch")),
  "2D ResEnc, space split": dict(PLANE_SPLIT, network=RESENC2D),
  "3D ResEnc, data parallel": dict(VOLUME, network=RESENC3D),
  "3D ResEnc, space split": dict(VOLUME_SPLIT, network=RESENC3D),
  "2D U-Net, fsdp": dict(PLANE, network=UNET2D, mesh=FSDP),
  "2D U-Net, data parallel, 64 chips": dict(
    PLANE, network=UNET2D, target="tpu:v5p:4x4x4", batch=128, mesh=dict(batch=64)
  ),
}


def step(target, network, patch, batch, mesh):
  """(jitted step, its arguments in shapes, layout) of a method over a target's devices."""
  import jax
  import numpy as np

  from jaxseg import compose, defaults
  from jaxseg.batch import LabelSpec
  from jaxseg.build import plain
  from jaxseg.config.rehearsal import batch_shapes
  from jaxseg.networks.blocks.acceleration import cpu_gradients

  config = defaults.config()
  config.network = network
  config.data.patch, config.data.batch = patch, batch
  config.mesh.update(mesh)
  config = plain(config)
  labels = LabelSpec(("background", "one", "two"), (0, 1, 2))
  nets = compose.networks_by_role(config, labels.channels)
  layout = compose.layout(config, nets["network"], topologies.devices(topologies.parse(target)))
  method = compose.method(config, nets, layout=layout)
  shapes = batch_shapes((batch, *patch), 1, labels)
  state = jax.eval_shape(method.init, jax.eval_shape(lambda: jax.random.key(0)), shapes)
  places = layout.of_state(state)

  def train(state, batch, seed):
    with cpu_gradients(False):
      return method.train_step(state, layout.spread(batch), jax.random.key(seed))

  jitted = jax.jit(
    train,
    in_shardings=(places, layout.split, layout.replicated),
    out_shardings=(places, layout.replicated),
    donate_argnums=0,
  )
  return jitted, (state, shapes, jax.ShapeDtypeStruct((), np.uint32)), layout


def measure(name: str, effort: float | None) -> dict:
  """One row: what is compiled, and what the compiler says of it, of one device."""
  import jax

  from jaxseg.benchmark import compiled_for

  of = OPTIONS[name]
  jitted, arguments, layout = step(**of)
  begin = time.perf_counter()
  lowered = jitted.trace(*arguments).lower(lowering_platforms=("tpu",))
  compiled = lowered.compile(compiler_options=compiled_for.effort(effort))
  seconds = time.perf_counter() - begin
  params = jax.tree.leaves(arguments[0].learners["network"].params)
  kind = layout.mesh.devices.flat[0].device_kind
  dtype = of["network"]["dtype"]
  if folder := os.environ.get("JAXSEG_KEEP_HLO"):
    (pathlib.Path(folder) / f"{name}.hlo").write_text(compiled.as_text(), encoding="utf-8")
  return {
    "dtype": dtype,
    "devices": layout.mesh.size,
    "parameters": sum(leaf.size for leaf in params),
    "compile_seconds": seconds,
    "jax": jax.__version__,
    "effort": effort,
    **compiled_for.of_compiled(compiled, kind, devices=layout.mesh.size, dtype=dtype),
  }


def row(name: str, minutes: float, effort: float | None) -> dict:
  """`measure` in a process of its own; {"failed": why} where it doesn't end well or in time."""
  words = [sys.executable, __file__, "--row", name]
  words += [] if effort is None else ["--effort", str(effort)]
  begin = time.perf_counter()
  try:
    ended = subprocess.run(words, timeout=60 * minutes, capture_output=True, text=True, check=False)
  except subprocess.TimeoutExpired:
    return {"failed": f"not compiled within {minutes:g} minutes"}
  seconds = time.perf_counter() - begin
  if ended.returncode:
    last = (ended.stderr.strip().splitlines() or ["no words are given"])[-1]
    return {"failed": f"after {seconds:.0f} s: {last[:300]}"}
  return json.loads(ended.stdout.strip().splitlines()[-1])


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  add = parser.add_argument
  add("--only", nargs="+", choices=OPTIONS, default=list(OPTIONS), metavar="NAME")
  add("--again", action="store_true", help="compile anew what is there")
  add("--minutes", type=float, default=40, help="at most for a row")
  add("--effort", type=float, help="of the compiler, -1 to 1; below 0 it compiles faster")
  add("--row", choices=OPTIONS, help=argparse.SUPPRESS)
  asked = parser.parse_args()
  if asked.row:
    print(json.dumps(measure(asked.row, asked.effort)))
    return
  from jaxseg import files

  try:
    for name in asked.only:
      topologies.check_compiler(topologies.parse(OPTIONS[name]["target"]))
  except ValueError as error:
    sys.exit(f"scaling: {error}")
  for name in asked.only:
    rows = json.loads(ROWS.read_text(encoding="utf-8")) if ROWS.exists() else {}
    if name in rows and not asked.again and "failed" not in rows[name]:
      print(f"{name}: kept, compiled before", flush=True)
      continue
    print(f"{name}: compiling ...", flush=True)
    new = {"options": OPTIONS[name], **row(name, asked.minutes, asked.effort)}
    rows = json.loads(ROWS.read_text(encoding="utf-8")) if ROWS.exists() else {}
    files.write_json(ROWS, {**rows, name: new})
    print(name, new.get("failed") or f"{new['compile_seconds']:.0f} s", sep=": ", flush=True)


if __name__ == "__main__":
  main()
