"""Searches compared at equal cost: architectures, losses, and what cheap scores are worth.

Usage: python benchmarks/search.py [train] [table] [--only PATTERN ...] [--retry] [--list]

- train: every row that is not there yet, on one core of its own (--cores); a stopped one goes on, a
  finished one is not repeated unless its config has changed since, and one that failed is a row,
  tried again by --retry. A method has two rows: `search`, all of whose trials together have so many
  minutes of processor time (--budget) and see nothing of the cases held back, and `final`, its
  winner trained in full and scored on those. Rows of `agreement` score the same networks by every
  evaluation.
- table: writes the tables and pictures of docs/search.md from what is there.

Rows are kept in docs/search.json as soon as they are there, runs lie in runs/search. Three seeds of
random search, DARTS and the hand-made network, one of the others. What follows a lone -- goes to
both programs (-- --config.steps=20), with --output and --runs for rows of such runs.
"""

import itertools
import math
import runpy
import subprocess
import sys
from typing import NamedTuple

import run_rows
import search_table
import table_command
from run_rows import ROOT

from jaxseg import sealed
from jaxseg.config.file import load_config
from jaxseg.evaluation import held_out
from jaxseg.search import genotypes, trials, winner

CONFIG = "configs/search.py"
SEARCH = ("-m", "jaxseg", "search")
ARCHITECTURES = ("sunnybrook_lv", "msd_hippocampus")
LOSSES = ("sunnybrook_lv", "drive")
SEEDS, SEVERAL = (0, 1, 2), ("hand", "random", "darts", "dice_cross_entropy")
# whose genotype is derived from one run, which is trained without a search of runs
DARTS, GENOTYPE = "darts", "genotype.json"
# of the supernet's training, which take about the budget of the others: 0.13 and 0.42 CPU-s a step
# after 85 and 110
DARTS_STEPS = {"sunnybrook_lv": 10_000, "msd_hippocampus": 3_300}
AGREEMENT, EVALUATIONS = "agreement", ("full", "proxy", "synflow", "naswot", "gradient_norm")
# scores by the weights of a supernet, that DARTS' run trained
SHARED = "shared"


class Row(NamedTuple):
  """One row.

  Attributes:
    set: of the config.
    method: of the config, or an evaluation.
    seed: of search and training.
    stage: "search", "final", or "agreement".
  """

  set: str
  method: str
  seed: int
  stage: str

  @property
  def key(self) -> str:
    return f"{self.set}/{self.method}/seed{self.seed}/{self.stage}"

  @property
  def before(self) -> str:
    """The row that this one needs, "" for none."""
    if self.stage == "final":
      return self._replace(stage="search").key
    if self.method == SHARED:
      return Row(self.set, DARTS, self.seed, "search").key
    return ""


def module() -> dict:
  """What the config file defines."""
  return runpy.run_path(str(ROOT / CONFIG))


def patients() -> dict[str, str]:
  """Set -> what tells the patients of its cases, of those that its split keeps together."""
  splits = {
    name: load_config(f"{ROOT / CONFIG}:hand,set={name}").data.split
    for name in dict.fromkeys((*ARCHITECTURES, *LOSSES))
  }
  return {name: split["group"] for name, split in splits.items() if "group" in split}


def rows() -> list[Row]:
  """All rows in the order in which they run: seed 0 of everything first."""
  of = module()
  tables = [(name, of["SEARCHES"]) for name in ARCHITECTURES]
  tables += [(name, of["LOSS_SEARCHES"]) for name in LOSSES]
  out = []
  for seed in SEEDS:
    for name, methods in tables:
      of_seed = [m for m in methods if not seed or m in SEVERAL]
      # a winner right after its search, whose run it needs
      out += [Row(name, m, seed, stage) for m in of_seed for stage in ("search", "final")]
    if not seed:
      every = itertools.product(ARCHITECTURES, (*EVALUATIONS, SHARED))
      out += [Row(name, evaluation, seed, AGREEMENT) for name, evaluation in every]
  return out


def planned(row: Row, runs, budget: int) -> run_rows.Planned:
  """What runs, where the row's runs lie in `runs`."""
  of, program = f"set={row.set}", SEARCH
  sources = (row.before,) if row.before else ()
  if row.stage == AGREEMENT:
    words = ["random", of, f"evaluation={row.method}"]
    if row.method == SHARED:
      words.append(f"run={run_rows.place(runs, row.before)}")
  elif row.stage == "search":
    words = [row.method, of, f"budget={budget}"]
    if row.method == DARTS:
      words, program = [DARTS, of, f"steps={DARTS_STEPS[row.set]}"], run_rows.TRAIN
  elif row.method == DARTS:
    place = run_rows.place(runs, row.before) / GENOTYPE
    words, program = [module()["DERIVED"], of, f"genotype={place}"], run_rows.TRAIN
  else:
    place = run_rows.place(runs, row.before) / winner.CONFIG
    return run_rows.Planned(row.key, str(place), row.seed, sources, cold=True)
  config = f"{CONFIG}:{','.join(words)}"
  # what an earlier row has compiled is no gift to the next: all pay for their own programs
  return run_rows.Planned(row.key, config, row.seed, sources, program, cold=True)


def score(folder) -> dict:
  """The figures of a finished search, of a supernet's run, or of a winner's."""
  stage, method = folder.name, folder.parents[1].name
  if stage == "final":
    cases = held_out.read_scores(folder)["cases"]
    of_case = {
      metric: {name: _mean(of["own"][metric].values()) for name, of in cases.items()}
      for metric in ("dice", "boundary_iou")
    }
    return run_rows.score(folder) | {"of_case": of_case}
  if method == DARTS:
    command = [sys.executable, "-m", "jaxseg", "derive", str(folder)]
    subprocess.run([*command, "--output", str(folder / GENOTYPE)], cwd=ROOT, check=True)
    report = sealed.read(folder / "report.json", what="the report of a run", advice="train again")
    genotype = genotypes.read(folder / GENOTYPE)
    return {"steps": report["step"], "trials": 1, "genotype": genotype}
  best, all_of = winner.read(folder / winner.FILE), trials.Rows(folder).all()
  told = {name: best[name] for name in ("steps", "score", "metric", "fields", "number")}
  kept = ("number", "steps", "score", "cpu_seconds")
  return told | {
    "trials": len(all_of),
    "failed": sum("score" not in row for row in all_of),
    "curve": [{name: row.get(name) for name in kept} for row in all_of],
  }


def _mean(values) -> float | None:
  known = [value for value in values if math.isfinite(value)]
  return sum(known) / len(known) if known else None


def main():
  parser = table_command.arguments(__doc__.splitlines()[0])
  parser.add_argument(
    "--budget", type=int, default=25, help="minutes of processor time of a search"
  )
  wanted = table_command.parsed(parser)
  table = table_command.places(wanted, "search")

  def of(_):
    return [planned(row, wanted.runs, wanted.budget) for row in rows()]

  if not run_rows.begin(wanted, table, of, score):
    return
  if "table" in wanted.verbs:
    done = run_rows.current(wanted, table.read(), of)
    search_table.write(done, rows(), module(), patients(), ROOT)


if __name__ == "__main__":
  main()
