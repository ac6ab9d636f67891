"""Every network: what it costs, and what a short run on real data makes of it.

Usage: python benchmarks/networks.py [train] [cost] [table] [--rank 2 3] [--only NAME ...]

- train: each name of configs/networks_2d.py and networks_3d.py, 200 steps or two minutes of two
  cores, whichever ends first; then one held-out image (2D) or eight cases (3D) are scored.
- cost: each network at its published size, one image of 256x256 or one volume of 64^3: parameters,
  FLOPs of a forward pass, time and peak memory of a training step. Sizes that a network cannot
  take, or that do not fit into memory, fall back to the next smaller one, which the table says.
- table: writes docs/networks.md and its pictures from what is there.

Without a verb all three. Each measurement is a process of its own and a row of docs/networks.json,
kept as soon as it is there: run again to go on. Time is the processor's, of all threads together,
so that other work on the machine changes neither budget nor figures much.
"""

import argparse
import json
import os
import pathlib
import runpy
import subprocess
import sys
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from jaxseg import files
from jaxseg.verbs.configs import load_config

ROOT = pathlib.Path(__file__).parents[1]
ROWS = ROOT / "docs" / "networks.json"
PICTURES = ROOT / "runs" / "networks"
STEPS, SECONDS = 200, 2 * 120  # of processor time: two minutes of two cores
SIZES = {2: (256, 252, 224, 192, 128, 64), 3: (64, 60, 48, 44, 32, 24, 16, 8)}
MEMORY = 18 * 2**30  # bytes that a training step may take here
PATIENCE = 900  # seconds that a measurement may take


def options(rank):
  """name -> network options of the comparison's config for that rank."""
  return runpy.run_path(str(ROOT / "configs" / f"networks_{rank}d.py"))["OPTIONS"]


def train(name, rank):
  """One short run: a row of figures; the held-out prediction is kept for the picture."""
  import jax
  import numpy as np

  from jaxseg import sharding
  from jaxseg.data import sampling
  from jaxseg.experiment import experiment
  from jaxseg.loop import compile_step
  from jaxseg.validation import validate

  config = load_config(str(ROOT / "configs" / f"networks_{rank}d.py") + f":{name}")
  run = experiment(config)
  feeder = sampling.Feeder(run.dataset, run.training, run.sampling, cache="device")
  store = sampling.device_store(run.dataset, run.training)
  slots = range(run.sampling.batch)
  step = compile_step(run, feeder.element(0, slots), store)
  seed = np.uint32(config.seed)
  state = step.init(seed)
  store = sharding.place(store, step.replicated)
  losses, begun = [], None
  for number in range(STEPS):
    element = sharding.place(feeder.element(number, slots), step.split)
    state, metrics = step.train(state, store, element, seed)
    losses.append(float(metrics["loss"]))
    if begun is None:
      begun = time.process_time()  # without compilation
    elif time.process_time() - begun > SECONDS:
      break
  spent = time.process_time() - begun
  scores = validate(run, step.apply, state, run.watched)
  PICTURES.mkdir(parents=True, exist_ok=True)
  np.savez_compressed(PICTURES / f"{name}_{rank}d.npz", panel=scores.panels[0])
  ends = [float(np.mean(part)) for part in (losses[:5], losses[-10:])]
  return {
    "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.learners["network"].params)),
    "steps": len(losses),
    "cpu_seconds_per_step": spent / max(1, len(losses) - 1),
    "first_loss": ends[0],
    "last_loss": ends[1],
    "dice": scores.mean,
    "one_class": one_class(run),
    "cases": len(run.watched),
  }


def one_class(run) -> float:
  """Mean Dice of the best prediction that gives every voxel the same class."""
  import numpy as np

  classes = range(1, run.dataset.labels.channels)
  best = 0.0
  for everywhere in classes:
    dice = []
    for index in run.watched:
      truth = run.dataset.load(index)["label"]
      share = np.mean(truth == everywhere)
      dice.append(2 * share / (1 + share) / len(classes))
    best = max(best, float(np.mean(dice)))
  return best


def cost(name, rank):
  """Parameters, FLOPs, time and memory of a network at its published size."""
  import jax

  from jaxseg.networks import NETWORKS
  from jaxseg.networks.describe import describe

  net = NETWORKS[name](classes=3)
  for size in SIZES[rank]:
    shape = (1, *(size,) * rank, 1)
    try:
      jax.eval_shape(lambda key, x: net.init(key, x, train=True), *_abstract(shape))
    except ValueError:
      continue  # not a size that it takes
    told = describe(net, shape)
    compiled, state = _step(net, shape)
    memory = compiled.memory_analysis()
    peak = memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes
    if peak > MEMORY:
      continue
    seconds = _seconds(compiled, state, shape)
    return {
      "parameters": told.parameters,
      "size": size,
      "gflops": told.flops / 1e9,
      "cpu_seconds_per_step": seconds,
      "peak_gib": peak / 2**30,
    }
  return {"failed": f"no size of {SIZES[rank]} fits into {MEMORY >> 30} GiB"}


def _abstract(shape):
  import jax
  import jax.numpy as jnp

  return jax.eval_shape(lambda: jax.random.key(0)), jax.ShapeDtypeStruct(shape, jnp.float32)


def _step(net, shape):
  """A compiled training step (cross entropy over all heads, SGD) and the state's shapes."""
  import jax
  import jax.numpy as jnp
  import optax

  from jaxseg import method

  tx = optax.sgd(1e-3)

  def step(learner, x, key):
    def objective(params):
      out, stats = method.forward(net, params, learner.stats, x, key=key, update_stats=True)
      heads = (out["logits"], *out.get("aux", ()))
      return sum(jnp.mean(jax.nn.logsumexp(h, -1) - h[..., 0]) for h in heads), (stats, {})

    return method.descend(tx, learner, objective)

  key, x = _abstract(shape)
  state = jax.eval_shape(lambda key, x: method.learner(net, tx, key, x), key, x)
  return jax.jit(step, donate_argnums=0).lower(state, x, key).compile(), state


def _seconds(compiled, state, shape):
  """Median processor seconds of up to four steps after the first, within two minutes of them."""
  import statistics

  import jax
  import jax.numpy as jnp
  import numpy as np

  rng = np.random.default_rng(0)
  # small random weights: what the arithmetic costs does not depend on them
  state = jax.tree.map(lambda s: jnp.asarray(0.02 * rng.normal(size=s.shape), s.dtype), state)
  x, key, times = jnp.asarray(rng.normal(size=shape), jnp.float32), jax.random.key(0), []
  while len(times) < 5 and sum(times) < 120:
    begun = time.process_time()
    state, metrics = compiled(state, x, key)
    metrics["loss"].block_until_ready()
    times.append(time.process_time() - begun)
  return statistics.median(times[1:] or times)


def measure(verb, name, rank):
  """The row of one measurement, made in a process of its own."""
  command = [sys.executable, __file__, verb, "--rank", str(rank), "--only", name, "--here"]
  try:
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT)
  except subprocess.TimeoutExpired:
    return {"failed": f"not done after {PATIENCE} s"}
  if ended.returncode:
    words = ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"]
    return {"failed": words[-1][:300]}
  return json.loads(ended.stdout.strip().splitlines()[-1])


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("verbs", nargs="*", default=["train", "cost", "table"])
  parser.add_argument("--rank", type=int, nargs="+", default=[2, 3], choices=[2, 3])
  parser.add_argument("--only", nargs="+", help="names; default: all that have no row yet")
  parser.add_argument("--here", action="store_true", help="measure in this process, print the row")
  wanted = parser.parse_args()
  for verb in (v for v in wanted.verbs if v != "table"):
    for rank in wanted.rank:
      names = options(rank)
      if verb == "cost":  # variants of a network cost about what it costs
        names = [name for name, spec in names.items() if "name" not in spec]
      for name in wanted.only or names:
        if wanted.here:
          print(json.dumps({"train": train, "cost": cost}[verb](name, rank)))
          return
        rows = json.loads(ROWS.read_text()) if ROWS.exists() else {}
        where = f"{verb}/{rank}d/{name}"
        if where in rows and not wanted.only:
          continue
        row = measure(verb, name, rank)
        print(where, row, flush=True)
        # read again: another run may have added rows meanwhile
        rows = json.loads(ROWS.read_text()) if ROWS.exists() else {}
        files.write_json(ROWS, {**rows, where: row})
  if "table" in wanted.verbs:
    import networks_table

    networks_table.write(json.loads(ROWS.read_text()), ROOT, PICTURES)


if __name__ == "__main__":
  main()
