"""Every loss on the same small U-Net, fold and budget: what a short run on real data makes of it.

Usage: python benchmarks/losses.py [train] [table] [--rank 2 3] [--seeds 3] [--only NAME ...]

- train: each name of configs/losses_2d.py with several seeds and of losses_3d.py with one, the
  config's steps or two minutes of two cores, whichever ends first.
- table: writes docs/losses.md from what is there.

Without a verb both. Each run is a process of its own and a row of docs/losses.json, kept as soon as
it is there: run again to go on.
"""

import argparse
import datetime
import json
import math
import runpy
import statistics

import jax
import short_runs
from short_runs import ROOT

from jaxseg import files
from jaxseg.config.file import load_config
from jaxseg.metrics import METRICS

ROWS = ROOT / "docs" / "losses.json"
PICTURES = ROOT / "runs" / "losses"
BESIDES = ("sensitivity", "precision", "hd95", "cldice")

HEAD = """# Losses

Made by `python benchmarks/losses.py` on {date} with jax {jax} on two CPU cores. Every name is one
of configs/losses_2d.py and configs/losses_3d.py (`--config=configs/losses_2d.py:boundary`).

These are short runs of one small U-Net with one recipe for all: 500 steps in 2D, 200 in 3D (AdamW,
learning rate 2e-3 and 1e-2), one to two minutes of processor time each, so that the figures show
that each loss trains, not which is best. Dice is the mean over held-out cases (and classes); HD95
in voxels of the picture or millimetres of the scan, infinite where nothing was found of a class.
"""
DATA = {
  2: "CHASE_DB1's vessels, one held-out image; batch 4 of 96x96; mean ± deviation of seeds",
  3: "Decathlon hippocampus, eight held-out cases of fold 0; batch 2 of 32x32x32; one seed",
}


def names(rank):
  return runpy.run_path(str(ROOT / "configs" / f"losses_{rank}d.py"))["LOSSES"]


def train(name, rank, seed):
  config = load_config(str(ROOT / "configs" / f"losses_{rank}d.py") + f":{name}")
  config.seed = seed
  picture = PICTURES / f"{name}_{rank}d_{seed}.npz"
  return short_runs.short_run(config, picture, {metric: METRICS[metric] for metric in BESIDES})


def table(rows, rank) -> str:
  """The runs of one rank, one line per loss, in the config's order."""
  lines = [f"\n## {rank}D: {DATA[rank]}\n"]
  lines.append("| loss | runs | Dice | sensitivity | precision | HD95 | clDice | loss falls |")
  lines.append("|---|---|---|---|---|---|---|---|")
  for name in names(rank):
    runs = [row for where, row in rows.items() if where.startswith(f"{rank}d/{name}/")]
    failed = [row["failed"] for row in runs if "failed" in row]
    if failed or not runs:
      lines.append(f"| `{name}` | {failed[0] if failed else 'not run'} | | | | | | |")
      continue
    cells = [_spread([run[metric] for run in runs]) for metric in ("dice", *BESIDES)]
    ends = [statistics.mean(run[end] for run in runs) for end in ("first_loss", "last_loss")]
    lines.append(
      f"| `{name}` | {len(runs)} | {' | '.join(cells)} | {ends[0]:.3g} to {ends[1]:.3g} |"
    )
  return "\n".join(lines) + "\n"


def _spread(values) -> str:
  finite = [value for value in values if math.isfinite(value)]
  if not finite:
    return "inf"
  text = f"{statistics.mean(finite):.3f}"
  if len(finite) > 1:
    text += f" ± {statistics.stdev(finite):.3f}"
  return text + f" ({len(values) - len(finite)} inf)" * (len(finite) < len(values))


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("verbs", nargs="*", default=["train", "table"])
  parser.add_argument("--rank", type=int, nargs="+", default=[2, 3], choices=[2, 3])
  parser.add_argument("--seeds", type=int, default=3, help="of each 2D run")
  parser.add_argument("--only", nargs="+", help="names; default: all that have no row yet")
  parser.add_argument("--here", type=int, metavar="SEED", help="one run in this process")
  wanted = parser.parse_args()
  if wanted.here is not None:
    print(json.dumps(train(wanted.only[0], wanted.rank[0], wanted.here)))
    return
  # all losses with one seed before the next one
  runs = [
    (rank, name, seed)
    for seed in range(wanted.seeds)
    for rank in wanted.rank
    for name in wanted.only or names(rank)
    if rank == 2 or seed == 0
  ]
  for rank, name, seed in runs if "train" in wanted.verbs else ():
    where = f"{rank}d/{name}/{seed}"
    if where not in short_runs.rows(ROWS):
      arguments = ("--rank", str(rank), "--only", name, "--here", str(seed))
      short_runs.keep(ROWS, where, short_runs.in_own_process(__file__, *arguments))
  if "table" in wanted.verbs:
    rows = short_runs.rows(ROWS)
    text = HEAD.format(date=datetime.date.today(), jax=jax.__version__)
    files.write_text(
      ROOT / "docs" / "losses.md", text + "".join(table(rows, rank) for rank in wanted.rank)
    )


if __name__ == "__main__":
  main()
