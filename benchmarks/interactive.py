"""Interactive segmentation: sets, methods and clicks, two trainings at a time; resumable.

Usage: python benchmarks/interactive.py [train] [time] [table] [--only PATTERN ...] [--list]

- train: every row that is not there yet. A row is a run of train.py in runs/interactive, on one
  core of its own (--cores), whose unseen cases a simulated user then clicks, 10 times each; a
  stopped one goes on from its checkpoint, a finished one is not repeated unless its config has
  changed since, and one that failed is a row, tried again by --retry. Rows of MedScribble leave one
  task out, and have the scribbles of its three annotators, and none, in place of clicks.
- time: a click's answer on 256 x 256 pixels and on 64^3 voxels, warm, beside the same forward pass
  alone, with random weights; on an otherwise quiet machine.
- table: writes the tables and the picture of docs/interactive.md from what is there.

Configs are configs/interactive.py:METHOD,data=SET,protocol=cpu, which defines METHODS, DATA and
PROTOCOLS, and configs/interactive_medscribble.py. Rows are kept in docs/interactive.json. Scores
are those of the last step, on cases that nothing was chosen on. `--protocol published` is the
papers', for an accelerator. What follows a lone -- goes to train.py (-- --config.steps=20), with
--output and --runs for rows of such runs.
"""

import functools
import json
import pathlib
import runpy
from typing import NamedTuple

import interactive_medscribble as medscribble
import interactive_table
import interactive_time
import run_rows
import table_command
from run_rows import ROOT

from jaxseg.evaluation.interactive import held_out
from jaxseg.evaluation.reporting import as_json
from jaxseg.runs.folder import read_config
from jaxseg.runs.interactive import prompts_of

CONFIG = "configs/interactive.py"
SEEDS = (0,)
CLICKS = 10
# unseen cases of a set that are clicked, evenly chosen
CASES = 20


class Row(NamedTuple):
  """One run.

  Attributes:
    table: a set of CONFIG, or "medscribble".
    method: of its config; of MedScribble the method and the task that is left out.
    seed: of weights, order and augmentation.
    config: what train.py is given.
  """

  table: str
  method: str
  seed: int
  config: str

  @property
  def key(self) -> str:
    return f"{self.table}/{self.method}/seed{self.seed}"


def module() -> dict:
  """What the config file defines; nothing where it is not there."""
  path = ROOT / CONFIG
  return runpy.run_path(str(path)) if path.is_file() else {}


def rows(protocol: str, done) -> list[Row]:
  """All rows in the order in which they run: seed 0 of everything first."""
  del done
  of = module()
  every = []
  for seed in SEEDS:
    every += [
      Row(data, method, seed, f"{CONFIG}:{method},data={data},protocol={protocol}")
      for data in of.get("DATA", ())
      for method in of.get("METHODS", ())
      if (data, method) not in of.get("WITHOUT", ())
    ]
    every += [
      Row(
        "medscribble", f"{method}_without_{task}", seed, medscribble.config(method, fold, protocol)
      )
      for method in medscribble.methods()
      for fold, task in enumerate(medscribble.TASKS)
    ]
  return every


def score(folder: pathlib.Path) -> dict:
  """The figures of a finished run: its own, and after clicks or scribbles of its unseen cases."""
  made = run_rows.score(folder)
  config = read_config(folder)
  if medscribble.is_of(config):
    return made | {"annotators": medscribble.scored(folder)}
  if prompts_of(config) is None:
    return made | {"dice_of_case": run_rows.dice_of_case(folder)}
  # what is no number is null, in a file that other programs read, too
  report = json.loads(as_json(held_out(folder, clicks=CLICKS, most=CASES)))
  return made | {"clicks": report}


def main():
  parser = table_command.arguments(__doc__.splitlines()[0])
  parser.add_argument("--protocol", default="cpu", choices=("cpu", "published"))
  wanted = table_command.parsed(parser)
  name = "interactive" if wanted.protocol == "cpu" else f"interactive_{wanted.protocol}"
  table = table_command.places(wanted, name)
  of = functools.partial(rows, wanted.protocol)
  if not run_rows.begin(wanted, table, of, score):
    return
  if "time" in wanted.verbs:
    for size, row in interactive_time.rows().items():
      table.keep(f"time/{size}", row)
  if "table" in wanted.verbs:
    timed = {key: row for key, row in table.read().items() if key.startswith("time/")}
    done = run_rows.current(wanted, table.read(), of) | timed
    interactive_table.write(done, of({}), ROOT, name)


if __name__ == "__main__":
  main()
