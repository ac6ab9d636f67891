"""Adaptation from one domain to another: methods, pairs, seeds, two trainings at a time; resumable.

Usage: python benchmarks/domains.py [train] [table] [--only PATTERN ...] [--retry] [--list]

- train: every row of configs/domains.py that is not there yet, seed 0 of every pair first, source
  and ceiling before the methods between them. A row is a run of train.py in runs/domains, on one
  core of its own (--cores); a stopped one goes on from its checkpoint, a finished one is not
  repeated unless its config has changed since, and one that failed is a row, tried again by
  --retry. A run that learns from translated images comes once its translator is there.
- table: writes the tables and the pictures of docs/domains.md from what is there.

Rows are kept in docs/domains.json as soon as they are there. Scores are of the target's unseen
cases, with the last step's weights, that nothing was chosen on. `--protocol published` is the
papers', for an accelerator, with rows of its own. What follows a lone -- goes to train.py
(-- --config.steps=20), with --output and --runs for rows of such runs.
"""

import itertools
import runpy
from typing import NamedTuple

import domains_table
import run_rows
import table_command
from run_rows import ROOT

from jaxseg import sealed
from jaxseg.evaluation import held_out

CONFIG = "configs/domains.py"
SEEDS = (0, 1, 2)


class Row(NamedTuple):
  """One run.

  Attributes:
    pair, method: of the config.
    seed: of weights, order and augmentation.
    protocol: of the config.
    translator: row of the run that translates its images, "" for none.
  """

  pair: str
  method: str
  seed: int
  protocol: str = "cpu"
  translator: str = ""

  @property
  def key(self) -> str:
    return f"{self.pair}/{self.method}/seed{self.seed}"

  def with_config(self, runs) -> run_rows.Planned:
    """The row, and what train.py is given, where runs lie in `runs`."""
    words = [self.method, f"pair={self.pair}", f"protocol={self.protocol}"]
    if self.translator:
      words.append(f"run={run_rows.place(runs, self.translator)}")
    sources = (self.translator,) if self.translator else ()
    return run_rows.Planned(self.key, f"{CONFIG}:{','.join(words)}", self.seed, sources)


def module() -> dict:
  """What the config file defines."""
  return runpy.run_path(str(ROOT / CONFIG))


def rows(protocol: str) -> list[Row]:
  """All rows in the order in which they run."""
  of = module()

  def once(seed):
    methods = of["METHODS"] if not seed else [m for m in of["METHODS"] if m in of["COMPARED"]]
    ends = [name for name in ("source", of["CEILING"]) if name in methods]
    order = [*ends, *(name for name in methods if name not in ends)]
    return [row(name, pair, seed) for pair in of["PAIRS"] for name in order]

  def row(name, pair, seed):
    translator = f"{pair}/{of['TRANSLATOR']}/seed{seed}" if name in of["TRANSLATED"] else ""
    return Row(pair, name, seed, protocol, translator)

  return list(itertools.chain.from_iterable(once(seed) for seed in SEEDS))


def planned(runs, protocol: str) -> list[run_rows.Planned]:
  """All rows as `run_rows` takes them."""
  return [row.with_config(runs) for row in rows(protocol)]


def score(folder) -> dict:
  """The figures of a finished run, and the mean Dice of each case; a translator has none."""
  if module()["TRANSLATOR"] == folder.parent.name:
    report = sealed.read(folder / "report.json", what="the report of a run", advice="train again")
    return {"steps": report["step"]}
  cases = held_out.read_scores(folder)["cases"]
  of_case = {name: domains_table.mean(of["own"]["dice"].values()) for name, of in cases.items()}
  return run_rows.score(folder) | {"dice_of_case": of_case}


def main():
  parser = table_command.arguments(__doc__.splitlines()[0])
  parser.add_argument("--protocol", default="cpu", choices=module()["PROTOCOLS"])
  wanted = table_command.parsed(parser)
  name = "domains" if wanted.protocol == "cpu" else f"domains_{wanted.protocol}"
  table = table_command.places(wanted, name)

  def of(_):
    return planned(wanted.runs, wanted.protocol)

  if not run_rows.begin(wanted, table, of, score):
    return
  if "table" in wanted.verbs:
    done = run_rows.current(wanted, table.read(), of)
    domains_table.write(done, rows(wanted.protocol), module(), ROOT, wanted.runs, name)


if __name__ == "__main__":
  main()
