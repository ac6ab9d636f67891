"""The table of few labels: every method, seeds and draws, two trainings at a time; resumable.

Usage: python benchmarks/few_labels.py [train] [table] [--only PATTERN ...] [--retry] [--list]

- train: every row that is not there yet, in an order that leaves a fair table whenever it is
  stopped: seed 0 of all methods first. A row is a run of train.py in runs/few_labels, on one core
  of its own (--cores); a stopped one goes on from its checkpoint, a finished one is not repeated
  unless its config has changed since, and one that failed is a row, tried again by --retry.
- table: writes the table and the picture of docs/few_labels.md from what is there.

Rows are kept in docs/few_labels.json as soon as they are there. Scores are those of the last step,
on cases that nothing was chosen on. `--protocol published` is the literature's, for an accelerator,
with rows of its own; `--list` shows what would run. What follows a lone -- goes to train.py
(-- --config.steps=20), with --output and --runs for rows of such runs.
"""

import functools
import itertools
import runpy
from typing import NamedTuple

import few_labels_table
import run_rows
import table_command
from run_rows import ROOT

CONFIG = "configs/few_labels.py"
SCRIBBLES = "configs/scribbles_acdc.py"
FULL = "full"  # the variant of SCRIBBLES that is supervised training with all labels
SEEDS = (0, 1, 2)
FLOOR = "supervised"  # with more labels than 3 patients, too
BEST = 3  # methods that are tried on another draw of the labelled patients
# other data: critics beside the same network without one, the config's VARIANTS
SETS = {"drive": "configs/drive_adversarial.py", "cxr_lung": "configs/cxr_lung_adversarial.py"}


class Row(NamedTuple):
  """One run.

  Attributes:
    table: of which table of the page: "labels", "scribbles", or the name of a data set.
    method: a name of the config's.
    labelled: patients with labels, of the heart's tables.
    draw: of the labelled patients.
    seed: of weights, order and augmentation.
    config: what train.py is given.
  """

  table: str
  method: str
  labelled: int
  draw: int
  seed: int
  config: str

  @property
  def key(self) -> str:
    return f"{self.table}/{self.method}/labelled{self.labelled}/draw{self.draw}/seed{self.seed}"


def named(config: str, table: str) -> list[str]:
  """The names in a table of a config file; [] where there is no such file."""
  path = ROOT / config
  return list(runpy.run_path(str(path))[table]) if path.is_file() else []


def methods() -> dict[str, list[str]]:
  """Table of the page -> the names of its methods in their order."""
  drawn = [name for name in named(SCRIBBLES, "VARIANTS") if name != FULL]
  elsewhere = {name: named(config, "VARIANTS") for name, config in SETS.items()}
  return {"labels": named(CONFIG, "METHODS"), "scribbles": drawn, **elsewhere}


def rows(protocol: str, done) -> list[Row]:
  """All rows in the order in which they run; `done` are the rows so far, which choose the best."""
  of, patients = methods(), runpy.run_path(str(ROOT / CONFIG))["PATIENTS"]
  published = ",published" if protocol == "published" else ""

  def heart(method, labelled, seed, draw=0):
    words = f"{method},labelled={labelled},draw={draw},protocol={protocol}"
    return Row("labels", method, labelled, draw, seed, f"{CONFIG}:{words}")

  def once(seed):
    """One seed of everything that every seed has: floor and ceiling first."""
    few = [heart(name, 3, seed) for name in of["labels"]]
    ends = [few[0], heart(FLOOR, patients, seed)]
    drawn = [
      Row("scribbles", name, patients, 0, seed, f"{SCRIBBLES}:{name}{published}")
      for name in of["scribbles"]
    ]
    elsewhere = [
      Row(name, variant, 0, 0, seed, f"{config}:{variant}")
      for name, config in SETS.items()
      for variant in of[name]
    ]
    return [*ends, *few[1:], *drawn, *elsewhere]

  best = (FLOOR, *few_labels_table.best(done, BEST))
  return [
    *itertools.chain.from_iterable(once(seed) for seed in SEEDS),
    *(heart(FLOOR, 7, seed) for seed in SEEDS),
    *(heart(name, 3, seed, draw=1) for seed in SEEDS for name in best),
  ]


def current(wanted, done: dict[str, dict]) -> dict[str, dict]:
  """The rows without those that another config trained, which are told."""
  return run_rows.current(wanted, done, functools.partial(rows, wanted.protocol))


def main():
  parser = table_command.arguments(__doc__.splitlines()[0])
  parser.add_argument("--protocol", default="cpu", choices=("cpu", "published"))
  wanted = table_command.parsed(parser)
  name = "few_labels" if wanted.protocol == "cpu" else f"few_labels_{wanted.protocol}"
  table = table_command.places(wanted, name)
  if not run_rows.begin(wanted, table, functools.partial(rows, wanted.protocol)):
    return
  if "table" in wanted.verbs:
    few_labels_table.write(current(wanted, table.read()), methods(), ROOT, wanted.runs, name)


if __name__ == "__main__":
  main()
