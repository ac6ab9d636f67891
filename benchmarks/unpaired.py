"""The table of unpaired CT and MR: how much two domains should share; resumable.

Usage: python benchmarks/unpaired.py [train] [table] [--only PATTERN ...] [--retry] [--list]

- train: every variant of configs/unpaired.py that is not there yet, one seed of all of them first,
  then two more of those that are compared by name. A row is a run of train.py in runs/unpaired, on
  one core of its own (--cores); a stopped one goes on from its checkpoint, a finished one is not
  repeated unless its config has changed since, and one that failed is a row, tried again by
  --retry.
- table: writes the table of docs/domains.md from what is there.

Rows are kept in docs/unpaired.json as soon as they are there. Scores are those of the last step on
patients that nothing was chosen on. `--size published` is the paper's, for an accelerator, with
rows of its own. What follows a lone -- goes to train.py (-- --config.steps=20), with --output and
--runs for rows of such runs.
"""

import functools
import pathlib
import runpy
from typing import NamedTuple

import numpy as np
import run_rows
import table_command
from run_rows import ROOT
from table_text import paired_p, shown, write_between

from jaxseg import sealed
from jaxseg.evaluation import held_out
from jaxseg.methods import by_domain
from jaxseg.runs import checkpoint

CONFIG = "configs/unpaired.py"
SEEDS = (0, 1, 2)
# what the others are compared with, and what is claimed to be no worse
FLOOR, CLAIM = "individual", "unpaired"
# the config's streams, as the table calls them
DOMAINS = {"main": "CT", "mr": "MR"}
COLUMNS = (
  "| variant | each domain's own | runs | Dice CT | Dice MR | mean | gain over individual "
  "| p, seeds | p, cases | CPU-min |\n|---|---|---|---|---|---|---|---|---|---|\n"
)


class Row(NamedTuple):
  """One run.

  Attributes:
    variant: a name of the config's.
    seed: of weights, order and augmentation.
    size: "cpu" or "published".
  """

  variant: str
  seed: int
  size: str

  @property
  def key(self) -> str:
    return f"{self.size}/{self.variant}/seed{self.seed}"

  @property
  def config(self) -> str:
    """What train.py is given."""
    return f"{CONFIG}:{self.variant},size={self.size}"


def variants() -> list[str]:
  """In the table's order."""
  return list(runpy.run_path(str(ROOT / CONFIG))["VARIANTS"])


def rows(size: str, done=None) -> list[Row]:
  """All rows in the order in which they run."""
  del done
  first = (FLOOR, CLAIM)
  others = [name for name in variants() if name not in first]
  return [
    *(Row(name, SEEDS[0], size) for name in (*first, *others)),
    *(Row(name, seed, size) for seed in SEEDS[1:] for name in first),
  ]


def score(folder) -> dict:
  """The figures of a finished run, of each domain and case, and what its domains share."""
  folder = pathlib.Path(folder)
  report = sealed.read(folder / "report.json", what="the report of a run", advice="train again")
  streams = report["validation"]["streams"]
  cases = held_out.read_scores(folder)["cases"]
  shared, own = by_domain.shares(checkpoint.load_learners(folder)["network"])
  return run_rows.score(folder) | {
    "dice_of_stream": {name: of["mean"]["dice"] for name, of in streams.items()},
    "classes_of_stream": {name: of["classes"]["dice"] for name, of in streams.items()},
    "dice_of_case": {name: _mean(of["own"]["dice"].values()) for name, of in cases.items()},
    "shared": shared,
    "own": own,
  }


def _mean(values) -> float:
  return float(np.nanmean(list(values)))


def runs_of(done, variant: str, size: str) -> dict[int, dict]:
  """Seed -> row, of those that are done."""
  keys = {seed: Row(variant, seed, size).key for seed in SEEDS}
  return {seed: done[key] for seed, key in keys.items() if "dice_of_stream" in done.get(key, {})}


def both(row) -> float:
  """The mean over domains, whatever the number of their cases."""
  return _mean(row["dice_of_stream"].values())


def line(variant: str, runs, floor) -> str:
  """A row of the table; differences are of equal seeds."""
  first = next(iter(runs.values()))
  whole = first["shared"] + first["own"]
  cells = [f"`{variant}`", f"{first['own']:,} ({100 * first['own'] / whole:.2g} %)", len(runs)]
  for stream in DOMAINS:
    cells.append(shown([row["dice_of_stream"][stream] for row in runs.values()]))
  cells.append(shown([both(row) for row in runs.values()]))
  pairs = [(runs[seed], floor[seed]) for seed in runs if seed in floor]
  if variant == FLOOR or not pairs:
    cells += ["", "", ""]
  else:
    gains = [both(ours) - both(theirs) for ours, theirs in pairs]
    cases = [
      _mean([ours["dice_of_case"][name] - theirs["dice_of_case"][name] for ours, theirs in pairs])
      for name in pairs[0][0]["dice_of_case"]
    ]
    cells += [shown(gains, sign=True), *(_p(paired_p(of)) for of in (gains, cases))]
  cells.append(f"{_mean([row['cpu_seconds'] for row in runs.values()]) / 60:.1f}")
  return f"| {' | '.join(map(str, cells))} |\n"


def _p(value: float) -> str:
  return "" if np.isnan(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def text(done, size: str) -> str:
  """The table of what is there, what failed, and what is not there yet."""
  floor = runs_of(done, FLOOR, size)
  lines = "".join(
    line(variant, runs, floor) for variant in variants() if (runs := runs_of(done, variant, size))
  )
  wanted = rows(size)
  there = sum("dice_of_stream" in done.get(row.key, {}) for row in wanted)
  failed = "".join(f"- `{key}`: {of['failed']}\n" for key, of in done.items() if "failed" in of)
  words = f"\n{COLUMNS}{lines}" if lines else ""
  words += f"\nRuns that failed:\n\n{failed}" if failed else ""
  if there < len(wanted):
    words += f"\n{there} of {len(wanted)} runs were made yet.\n"
  return words


def main():
  parser = table_command.arguments(__doc__.splitlines()[0])
  parser.add_argument("--size", choices=("cpu", "published"), default="cpu")
  wanted = table_command.parsed(parser)
  table, of = table_command.places(wanted, "unpaired"), functools.partial(rows, wanted.size)
  if not run_rows.begin(wanted, table, of, score):
    return
  if "table" in wanted.verbs and not wanted.further:
    done = run_rows.current(wanted, table.read(), of)
    write_between(ROOT / "docs" / "domains.md", "unpaired", text(done, wanted.size))


if __name__ == "__main__":
  main()
