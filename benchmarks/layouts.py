"""One training on 4 fake devices by every layout: losses, collectives, calls of a prediction.

Usage: python benchmarks/layouts.py [--rank 2 3] [--steps 10] [--json FILE]

A small U-Net (instance norm: batch norm sums its statistics over devices, too) learns phantoms by
SGD, by the gradients that GPUs and TPUs use: those written for CPUs work sample by sample, and
gather what is split. Of each layout are printed the largest difference of its losses from those of
one device, the collectives in the compiled step (of the all-reduces, those that hold gradients of
kernels), the calls of the network for one case, and the largest difference of that case's logits.
"""

import argparse
import os
import pathlib
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
)

import jax
import numpy as np

from jaxseg import compose, defaults, files, sharding
from jaxseg.benchmark import collectives
from jaxseg.data.stream import Feeder
from jaxseg.experiment import Experiment, experiment
from jaxseg.inference import Case
from jaxseg.networks.blocks.acceleration import cpu_gradients
from jaxseg.step import compile_step

FSDP = {"parameters": "fsdp", "smallest": 1}
# name -> config.mesh, config.members
LAYOUTS = {
  "batch 4": ({"batch": 4}, 1),
  "batch 2 x space 2": ({"batch": 2, "space": 2}, 1),
  "space 4": ({"batch": 1, "space": 4}, 1),
  "batch 4, fsdp": ({"batch": 4, **FSDP}, 1),
  "batch 2 x space 2, fsdp": ({"batch": 2, "space": 2, **FSDP}, 1),
  "member 4": ({"batch": 1, "member": 4}, 4),
  "batch 2 x member 2": ({"batch": 2, "member": 2}, 4),
  "batch 4, 4 members": ({"batch": 4}, 4),
}


def config_of(rank: int, folder: str):
  config = defaults.config()
  config.data.source = dict(name="phantom", cases=6, size=(32 if rank == 3 else 64,) * rank)
  config.data.folder = folder
  config.data.patch = (16 if rank == 3 else 32,) * rank
  config.data.batch = 4
  layers = 1 if rank == 3 else 2
  config.network = dict(name="unet", widths=(4, 8, 16), norm="instance", up="transpose")
  config.network.update(depth=layers, decoder_depth=layers)
  # at 0.05 rounding grows: there weights that differ by 1e-6 of themselves, on one device alone,
  # give losses that differ by up to 3e-3 in ten steps
  config.optimiser = dict(name="sgd", learning_rate=0.01)
  config.augment = dict(mirror=dict(), brightness=dict())
  config.predictor = dict(name="sliding_window", overlap=0.75, batch=2)
  return config


def laid_out(run: Experiment, mesh: dict, members: int, devices=None) -> Experiment:
  """The experiment by another layout."""
  config = {**run.config, "mesh": {**run.config["mesh"], **mesh}, "members": members}
  labels = run.main.dataset.labels
  nets = compose.networks_by_role(config, labels.channels)
  layout = compose.layout(config, nets["network"], devices)
  return run._replace(
    config=config,
    layout=layout,
    method=compose.method(config, nets, layout=layout),
    predict=compose.window(
      config, nets["network"], run.patch, None, devices=layout.sizes[sharding.BATCH]
    ),
  )


def trained(run: Experiment, steps: int) -> dict:
  """{"losses", "collectives": kind -> number, "gradients", "calls", "logits"} of a training."""
  feeder = Feeder(run.streams, cache="device")
  store, seed = feeder.store(), np.uint32(run.config["seed"])
  step = compile_step(run, feeder.element(0), store)
  state = step.init(seed)
  params = jax.tree.leaves(step.abstract.learners["network"].params)
  # members, whose arrays are stacked, come one by one
  shapes = [leaf.shape[run.layout.members > 1 :] for leaf in params]
  kernels = {of for of in shapes if len(of) > len(run.patch)}
  arguments = (sharding.place(store, run.layout.replicated),)
  calls = 0

  def apply(batch):
    nonlocal calls
    calls += 1
    return step.apply(state, batch)

  case = Case(run.main.dataset.load(run.validation[0]))
  logits = run.predict(apply, case)
  element = sharding.place(feeder.element(0), run.layout.split)
  compiled = step.train.lower(state, *arguments, element, seed).compile()
  sent = collectives.read(compiled.as_text(), run.layout.mesh.size)
  losses = []
  for number in range(steps):
    element = sharding.place(feeder.element(number), run.layout.split)
    state, metrics = compiled(state, *arguments, element, seed)
    losses.append(float(metrics["loss"]))
  return {
    "losses": losses,
    "collectives": {kind: of["count"] for kind, of in collectives.summary(sent).items()},
    "gradients": sum(
      of.kind == "all-reduce" and any(shape in kernels for _, shape in of.shapes) for of in sent
    ),
    "calls": calls,
    "logits": logits,
  }


def compared(rank: int, steps: int, folder: str, names=LAYOUTS) -> dict[str, dict]:
  """A row for each layout; "one device" goes before."""
  run = experiment(config_of(rank, folder))
  single, rows = {}, {}
  for name in names:
    mesh, members = LAYOUTS[name]
    if members not in single:
      single[members] = trained(laid_out(run, {}, members, jax.devices()[:1]), steps)
    one, row = single[members], trained(laid_out(run, mesh, members), steps)
    rows[name] = row | {
      "rank": rank,
      "loss": row["losses"][-1],
      "loss_difference": float(np.max(np.abs(np.subtract(row["losses"], one["losses"])))),
      "logits_difference": float(np.max(np.abs(row.pop("logits") - one["logits"]))),
      "calls_of_one_device": one["calls"],
    }
  return rows


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--rank", type=int, nargs="+", choices=(2, 3), default=[2, 3])
  parser.add_argument("--steps", type=int, default=10)
  parser.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=list(LAYOUTS))
  parser.add_argument("--json", type=pathlib.Path, help="writes the rows there")
  wanted = parser.parse_args()
  rows = []
  with tempfile.TemporaryDirectory() as folder, cpu_gradients(False):
    for rank in wanted.rank:
      for name, row in compared(rank, wanted.steps, folder, wanted.layouts).items():
        rows.append({"layout": name, **row})
        kinds = ", ".join(f"{n} {kind}" for kind, n in row["collectives"].items()) or "none"
        print(
          f"{rank}D {name:<24} loss {row['loss']:.6f} differs by {row['loss_difference']:.1e}; "
          f"calls {row['calls']} for {row['calls_of_one_device']}, logits differ by "
          f"{row['logits_difference']:.1e}; {kinds} (with gradients: {row['gradients']})",
          flush=True,
        )
  if wanted.json:
    files.write_json(wanted.json, rows)


if __name__ == "__main__":
  main()
