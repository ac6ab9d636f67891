"""docs/transfer.md's tables from the rows of benchmarks/transfer.py."""

import itertools
import math

import numpy as np
import table_text
from table_text import paired_p, shown, write_between

# what others are compared with, in this order
FLOOR = "scratch"
COLUMNS = (
  "| set | labels | start | runs | Dice | gain over scratch | p, seeds | p, cases | CPU-min |\n"
  "|---|---|---|---|---|---|---|---|---|\n"
)
HEADS = {
  "imagenet": "ImageNet (EfficientNet-Lite0 in a U-Net; `unet` is a plain U-Net from scratch)",
  "domains": "Another domain (a plain U-Net; the start is the run that the weights are of)",
}


def runs_of(done, name, start, labelled) -> dict[int, dict]:
  """Seed -> row, of those that are done."""
  begin = f"{name}/{start}/labelled{labelled:g}/seed"
  of = {
    int(key.removeprefix(begin)): row
    for key, row in done.items()
    if key.startswith(begin) and "dice" in row
  }
  return dict(sorted(of.items()))


def by_case(runs, floor, group: str = "") -> list[float]:
  """`table_text.by_case` of rows."""
  of = ({seed: row.get("dice_of_case", {}) for seed, row in rows.items()} for rows in (runs, floor))
  return table_text.by_case(*of, group)


def _p(value) -> str:
  if math.isnan(value):
    return ""
  return "< 0.001" if value < 0.001 else f"{value:.3f}"


def line(name, labelled, start, runs, floor, group="") -> str:
  """A row of the table.

  Args:
    name, labelled, start: of which runs.
    runs: seed -> row.
    floor: those from scratch with the same labels; differences are of equal seeds.
    group: as of `by_case`.
  """
  of_seed = [runs[seed]["dice"] - floor[seed]["dice"] for seed in runs if seed in floor]
  cells = [name, f"{100 * labelled:g} %", f"`{start}`", len(runs)]
  cells.append(shown([row["dice"] for row in runs.values()]))
  if start == FLOOR or not of_seed:
    cells += ["", "", ""]
  else:
    of_case = by_case(runs, floor, group)
    cells += [shown(of_seed, sign=True), _p(paired_p(of_seed)), _p(paired_p(of_case))]
  cells.append(f"{np.mean([row['cpu_seconds'] for row in runs.values()]) / 60:.1f}")
  return f"| {' | '.join(map(str, cells))} |\n"


def tables(done, rows, patients) -> str:
  """The two tables, of what is there.

  Args:
    done: key -> row, as benchmarks/transfer.py keeps them.
    rows: all that there are to be.
    patients: set -> the expression that tells its patients, of those whose cases are no patients.
  """
  across = {row.name for row in rows if row.source}
  across |= {row.source.split("/")[0] for row in rows if row.source}
  kinds = {"imagenet": [], "domains": []}
  for row in rows:
    kinds["domains" if row.name in across else "imagenet"].append(row)
  text = ""
  for kind, of in kinds.items():
    lines = ""
    # sorted by set and share, starts as they come
    names = list(dict.fromkeys(row.name for row in of))
    groups = sorted(
      {(row.name, row.labelled) for row in of}, key=lambda pair: (names.index(pair[0]), pair[1])
    )
    for name, labelled in groups:
      floor = runs_of(done, name, FLOOR, labelled)
      starts = dict.fromkeys(r.start for r in of if (r.name, r.labelled) == (name, labelled))
      for start in starts:
        if runs := runs_of(done, name, start, labelled):
          lines += line(name, labelled, start, runs, floor, patients.get(name, ""))
    if lines:
      text += f"\n### {HEADS[kind]}\n\n{COLUMNS}{lines}"
  return text + failures(done)


def failures(done) -> str:
  lines = [f"- `{key}`: {row['failed']}\n" for key, row in done.items() if "failed" in row]
  return "\nRuns that failed:\n\n" + "".join(lines) if lines else ""


def missing(done, rows) -> str:
  """How many rows there are to be, by set, where some are not there."""
  counts = {
    name: (sum("dice" in done.get(row.key, {}) for row in of), len(of))
    for name, of in ((n, list(g)) for n, g in itertools.groupby(sorted(rows), lambda r: r.name))
  }
  left = {name: pair for name, pair in counts.items() if pair[0] < pair[1]}
  if not left:
    return ""
  words = ", ".join(f"{name} {there} of {number}" for name, (there, number) in left.items())
  return f"\nNot all runs were made yet: {words}.\n"


def write(done, rows, patients, page) -> None:
  """Writes the part of docs/transfer.md between its marks."""
  write_between(page, "transfer", tables(done, rows, patients) + missing(done, rows))
