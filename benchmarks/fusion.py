"""The table of fusion: every kind with every subset of channels, each patient once; resumable.

Usage: python benchmarks/fusion.py [train] [table] [--only PATTERN ...] [--retry] [--list]

- train: every row of configs/fusion.py that is not there yet: the kinds of fusion with and without
  modality dropout, patient after patient. A row is a run of train.py in runs/fusion, on one core of
  its own (--cores), then its patient segmented from every subset of the channels, as
  `jaxseg evaluate-subsets` does; a stopped one goes on from its checkpoint, a finished one is not
  repeated unless its config has changed since, and one that failed is a row, tried again by
  --retry.
- table: writes the table and the picture of docs/domains.md's section from what is there.

Rows are kept in docs/fusion.json as soon as they are there. Scores are those of the last step, on
the patient that nothing was chosen on. What follows a lone -- goes to train.py
(-- --config.steps=20), with --output and --runs for rows of such runs.
"""

import pathlib
import runpy
from typing import NamedTuple

import fusion_table
import numpy as np
import run_rows
import table_command
from run_rows import ROOT

from jaxseg.evaluation.subsets import evaluate_subsets
from jaxseg.inference import pictures

CONFIG = "configs/fusion.py"
# of the config's: what is compared; "count" is there to be tried
DROPOUTS = ("none", "independent")


class Row(NamedTuple):
  """One run."""

  fusion: str
  dropout: str
  fold: int
  seed: int = 0

  @property
  def key(self) -> str:
    return f"{self.fusion}/{self.dropout}/fold{self.fold}"

  @property
  def config(self) -> str:
    return f"{CONFIG}:{self.fusion},dropout={self.dropout},fold={self.fold}"


def rows(done=None) -> list[Row]:
  """All rows in the order in which they run: one patient of everything first."""
  del done
  told = runpy.run_path(str(ROOT / CONFIG))
  return [
    Row(fusion, dropout, fold)
    for fold in range(told["FOLDS"])
    for dropout in DROPOUTS
    for fusion in told["FUSIONS"]
  ]


def score(folder: pathlib.Path) -> dict:
  """The figures of a finished run, and the Dice of each subset; a slice of each is kept beside."""
  slices = {}

  def keep(case, subset, raw, stored):
    at = pictures.telling_slice(raw.label)
    slices[f"{case}: {subset}"] = stored[at]
    slices[f"{case}: label"], slices[f"{case}: image"] = raw.label[at], raw.image[at]

  report = evaluate_subsets([folder], metrics=("dice",), keep=keep)
  np.savez_compressed(folder / fusion_table.SLICES, **slices)
  of = {
    " + ".join(row["channels"]): {"dice": row["dice"], "dice_of": row["mean"]["dice"]}
    for row in report["subsets"]
  }
  return run_rows.score(folder) | {"subsets": of}


def main():
  wanted = table_command.parsed(table_command.arguments(__doc__.splitlines()[0]))
  table = table_command.places(wanted, "fusion")
  if not run_rows.begin(wanted, table, rows, score):
    return
  if "table" in wanted.verbs:
    done = run_rows.current(wanted, table.read(), rows)
    fusion_table.write(done, rows(), wanted.runs, ROOT / "docs" / "domains.md")


if __name__ == "__main__":
  main()
