"""Every network: what it costs, and what a short run on real data makes of it.

Usage: python benchmarks/networks.py [train] [longer] [cost] [table] [--rank 2 3] [--only NAME ...]

- train: each name of configs/networks_2d.py and networks_3d.py, 200 steps or two minutes of two
  cores, whichever ends first; then one held-out image (2D) or eight cases (3D) are scored.
- longer: three times the steps and the time for those that ended clearly below `unet`.
- cost: each network that takes images or volumes, at its published size, on one image of 256x256 or
  one volume of 64^3, and `unet` with each part (`unet+attention=se`), on a volume if that is all
  the part takes: parameters, FLOPs of a forward pass, time and peak memory of a training step.
  Sizes that a network cannot take, or that do not fit into memory, fall back to the next smaller
  one, which the table says.
- table: writes docs/networks.md and its pictures from what is there.

Without a verb all four. Each measurement is a process of its own and a row of docs/networks.json,
kept as soon as it is there: run again to go on. Time is the processor's, of all threads together,
so that other work on the machine changes neither budget nor figures much.
"""

import argparse
import itertools
import json
import runpy
import time

import short_runs
from short_runs import ROOT

from jaxseg.config.file import load_config

ROWS = ROOT / "docs" / "networks.json"
PICTURES = ROOT / "runs" / "networks"
SIZES = {2: (256, 252, 224, 192, 128, 64), 3: (64, 60, 48, 44, 32, 24, 16, 8)}
LONGER = 3  # times
BELOW = 0.1  # of Dice below `unet`'s: clearly
VOLUMES_ONLY = ("p3d", "dsts")
MEMORY = 18 * 2**30  # bytes that a training step may take here


def options(rank):
  """name -> network options of the comparison's config for that rank."""
  return runpy.run_path(str(ROOT / "configs" / f"networks_{rank}d.py"))["OPTIONS"]


def train(name, rank, times=1):
  """A run `times` as long as the short one: a row of figures; the picture is kept."""
  config = load_config(str(ROOT / "configs" / f"networks_{rank}d.py") + f":{name}")
  config.steps *= times
  picture = PICTURES / f"{name}_{rank}d{'' if times == 1 else '_longer'}.npz"
  row = short_runs.short_run(config, picture, seconds=times * short_runs.SECONDS)
  return {"learning_rate": config.optimiser.learning_rate, **row}


def longer(name, rank):
  return train(name, rank, LONGER)


def behind(rank):
  """Names whose short run ended clearly below that of `unet`, and `unet` itself."""
  rows = short_runs.rows(ROWS)
  dice = {name: rows.get(f"train/{rank}d/{name}", {}).get("dice", 1.0) for name in options(rank)}
  return ["unet", *(name for name in dice if dice[name] < dice["unet"] - BELOW)]


def costly(rank):
  """Names for `cost`: the networks that take this rank, and `unet` with each part."""
  from jaxseg.networks import NETWORKS, parts
  from jaxseg.networks.blocks import CONVS

  names = []
  for name, network in NETWORKS.items():
    try:
      network().total_stride(rank)
      names.append(name)
    except ValueError:
      continue  # for volumes
  tables = {"block": parts.BLOCKS, "conv": CONVS, "attention": parts.ATTENTIONS}
  tables |= {"skip": parts.SKIPS, "bottleneck": parts.BOTTLENECKS}
  default = ("plain", "none", "concat")  # `unet` itself
  pairs = [(o, name) for o, table in tables.items() for name in table if name not in default]
  pairs = [(o, name) for o, name in pairs if (name in VOLUMES_ONLY) == (rank == 3)]
  return names + [f"unet+{option}={name}" for option, name in pairs]


def cost(name, rank):
  """Parameters, FLOPs, time and memory of a network at its published size."""
  import jax

  from jaxseg.networks import NETWORKS
  from jaxseg.networks.describe import describe
  from jaxseg.planning.peak_memory import of_compiled

  name, *chosen = name.split("+")
  net = NETWORKS[name](classes=3, **dict(part.split("=") for part in chosen))
  variants = [({}, net)]
  if hasattr(net, "padding"):  # valid convolutions may want more than the largest of these sizes
    variants.append(({"padding": "same"}, net.clone(padding="same")))
  if hasattr(net, "pools"):  # the largest of the published windows needs 161 voxels per axis
    variants.append(({"pools": (1, 2)}, net.clone(pools=(1, 2))))
  for (changed, net), size in itertools.product(variants, SIZES[rank]):
    shape = (1, *(size,) * rank, 1)
    try:
      jax.eval_shape(lambda key, x, net=net: net.init(key, x, train=True), *_abstract(shape))
    except ValueError:
      continue  # not a size that it takes
    told = describe(net, shape)
    compiled, state = _step(net, shape)
    peak = of_compiled(compiled).peak
    if peak > MEMORY:
      continue
    seconds = _seconds(compiled, state, shape)
    return {
      "parameters": told.parameters,
      "size": size,
      **changed,
      "gflops": told.flops / 1e9,
      "cpu_seconds_per_step": seconds,
      "peak_gib": peak / 2**30,
    }
  return {"failed": f"takes none of {SIZES[rank]}, or in more than {MEMORY >> 30} GiB"}


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
  """Median processor seconds of up to four steps after the first; of one if they are slow."""
  import statistics

  import jax
  import jax.numpy as jnp
  import numpy as np

  rng = np.random.default_rng(0)
  # small random weights: what the arithmetic costs does not depend on them
  state = jax.tree.map(lambda s: jnp.asarray(0.02 * rng.normal(size=s.shape), s.dtype), state)
  x, key, times = jnp.asarray(rng.normal(size=shape), jnp.float32), jax.random.key(0), []
  while len(times) < 2 or (len(times) < 5 and sum(times) < 45):
    begun = time.process_time()
    state, metrics = compiled(state, x, key)
    metrics["loss"].block_until_ready()
    times.append(time.process_time() - begun)
  return statistics.median(times[1:])


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("verbs", nargs="*", default=["train", "longer", "cost", "table"])
  parser.add_argument("--rank", type=int, nargs="+", default=[2, 3], choices=[2, 3])
  parser.add_argument("--only", nargs="+", help="names; default: all that have no row yet")
  parser.add_argument("--here", action="store_true", help="measure in this process, print the row")
  wanted = parser.parse_args()
  for verb in (v for v in wanted.verbs if v != "table"):
    for rank in wanted.rank:
      names = options(rank)
      if verb == "cost":
        names = costly(rank)
      if verb == "longer":
        names = behind(rank)
      for name in wanted.only or names:
        if wanted.here:
          print(json.dumps({"train": train, "longer": longer, "cost": cost}[verb](name, rank)))
          return
        where = f"{verb}/{rank}d/{name}"
        if where in short_runs.rows(ROWS) and not wanted.only:
          continue
        arguments = (verb, "--rank", str(rank), "--only", name, "--here")
        short_runs.keep(ROWS, where, short_runs.in_own_process(__file__, *arguments))
  if "table" in wanted.verbs:
    import networks_table

    names = {rank: (list(options(rank)), costly(rank)) for rank in (2, 3)}
    networks_table.write(short_runs.rows(ROWS), names, ROOT, PICTURES)


if __name__ == "__main__":
  main()
