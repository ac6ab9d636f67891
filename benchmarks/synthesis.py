"""What are made cases worth? Five folds, three seeds: real only, synthetic only, both; resumable.

Usage: python benchmarks/synthesis.py [train] [judge] [table] [--only PATTERN ...] [--retry]
       [--list]

- train: every row of configs/synthesis_vessels.py that is not there yet. A row is a run of train.py
  in runs/synthesis, on one core of its own (--cores). Of each fold first the run that makes label
  maps and the one that makes images, which learn from the cases that train in that fold alone;
  what they make is trained with once both are there. "turned" is synthetic only, of images of real
  label maps, turned: what the label maps from noise cost. A stopped run goes on from its
  checkpoint, a finished one is not repeated unless its config has changed since, and one that
  failed is a row, too.
- judge: of each fold whose runs are there `jaxseg judge-synthetic`, with the features of the run on
  real cases of seed 0; its page lies beside the runs.
- table: writes the tables of docs/synthesis.md from what is there.

Rows are kept in docs/synthesis.json as soon as they are there. Scores are those of the last step on
the four images that validate, at which nothing was chosen. What follows a lone -- goes to train.py
(-- --config.steps=20), with --output and --runs for rows of such runs.
"""

import pathlib
import subprocess
import sys
from typing import NamedTuple

import run_rows
import synthesis_table
import table_command
from run_rows import ROOT

from jaxseg import files, sealed
from jaxseg.children import on_cores

CONFIG = "configs/synthesis_vessels.py"
SETS = ("drive", "chase_db1")
FOLDS = range(5)
SEEDS = (0, 1, 2)
GENERATORS = ("masks", "images")
# what is trained on -> of the config, its data, and the runs that make cases
DATA = {
  "real": ("real", ()),
  "synthetic": ("synthetic", GENERATORS),
  "both": ("both", GENERATORS),
  "turned": ("synthetic", ("images",)),
}


class Row(NamedTuple):
  """One run.

  Attributes:
    name: of the set.
    fold: of five.
    part: "masks" or "images" of what makes cases, else what is segmented with: one of DATA.
    seed: of weights, order and augmentation.
  """

  name: str
  fold: int
  part: str
  seed: int = 0

  @property
  def key(self) -> str:
    return f"{home(self.name, self.fold)}/{self.part}/seed{self.seed}"

  @property
  def sources(self) -> tuple[str, ...]:
    """The rows whose runs it is trained with."""
    _, parts = DATA.get(self.part, ("", ()))
    return tuple(Row(self.name, self.fold, part).key for part in parts)

  def with_config(self, runs: pathlib.Path) -> run_rows.Planned:
    """The row, and what train.py is given, where runs lie in `runs`."""
    words = [self.part if self.part in GENERATORS else "segment"]
    words += [f"set={self.name}", f"fold={self.fold}"]
    data, parts = DATA.get(self.part, ("", ()))
    words += [f"data={data}"] if data else []
    words += [
      f"{part}={run_rows.place(runs, key)}" for part, key in zip(parts, self.sources, strict=True)
    ]
    if self.part == "turned":
      words.append("masks=training")
    config = f"{CONFIG}:{','.join(words)}"
    return run_rows.Planned(self.key, config, self.seed, self.sources)


def home(name: str, fold: int) -> str:
  """Where the runs of a fold lie."""
  return f"{name}/fold{fold}"


def rows() -> list[Row]:
  """All rows in the order in which they run: what makes cases first, then seed by seed."""
  made = [Row(n, f, part) for n in SETS for f in FOLDS for part in GENERATORS]
  return made + [
    Row(n, f, data, seed) for n in SETS for seed in SEEDS for f in FOLDS for data in DATA
  ]


def planned(runs: pathlib.Path) -> list[run_rows.Planned]:
  """All rows as `run_rows` takes them."""
  return [row.with_config(runs) for row in rows()]


def score(folder: pathlib.Path) -> dict:
  """The figures of a finished run: of one that makes cases what its report has."""
  if folder.parent.name in DATA:
    return run_rows.score(folder)
  report = sealed.read(folder / "report.json", what="the report of a run", advice="train again")
  return {"steps": report["step"], "means": report["validation"]["mean"]}


def judge(wanted, table: run_rows.Table) -> None:
  """Compares what each fold's runs make with its real cases, where that isn't done."""
  done = table.read()
  for name in SETS:
    for fold in FOLDS:
      key = f"{home(name, fold)}/judged"
      runs = {part: Row(name, fold, part).key for part in (*GENERATORS, "real")}
      there = all(run_rows.is_there(of, done, wanted.runs) for of in runs.values())
      if key in done or not there or wanted.further:
        continue
      output = wanted.runs / key
      masks, images, encoder = (str(run_rows.place(wanted.runs, of)) for of in runs.values())
      command = [sys.executable, "-m", "jaxseg", "judge-synthetic", "--masks", masks]
      command += ["--images", images, "--encoder", encoder, "--output", str(output)]
      print(f"{key}: {output}", flush=True)
      environment = run_rows.environment()
      subprocess.run([*on_cores(wanted.cores[:1]), *command], cwd=ROOT, env=environment, check=True)
      numbers = files.read_json(output / "synthetic.json", what="what was judged", advice="again")
      table.keep(key, numbers)


def main():
  parser = table_command.arguments(__doc__.splitlines()[0])
  parser.set_defaults(verbs=["train", "judge", "table"])
  wanted = table_command.parsed(parser)
  table = table_command.places(wanted, "synthesis")

  def of(_):
    return planned(wanted.runs)

  if not run_rows.begin(wanted, table, of, score):
    return
  if "judge" in wanted.verbs:
    judge(wanted, table)
  if "table" in wanted.verbs:
    done = run_rows.current(wanted, table.read(), of)
    synthesis_table.write(done, rows(), ROOT / "docs" / "synthesis.md")


if __name__ == "__main__":
  main()
