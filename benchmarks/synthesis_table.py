"""docs/synthesis.md's tables from the rows of benchmarks/synthesis.py."""

import pathlib

import numpy as np
from table_text import paired_p, shown, write_between

# what is trained on, as benchmarks/synthesis.py has it
DATA = ("real", "synthetic", "both", "turned")
COLUMNS = ("set", "trained on", "runs", "Dice", "against real", "p, runs", "CPU-min")
JUDGED = ("set", "folds", "a new critic is right", "the own critic", "Dice of pairs, made (real)")
JUDGED += (
  "area, made (real)",
  "Frechet distance (unseen real)",
  "largest Dice with a training case",
)


def head(columns) -> str:
  return f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|\n"


def runs_of(done: dict, rows, name: str, part: str) -> dict[tuple[int, int], dict]:
  """(fold, seed) -> row, of those that are done."""
  of = {(r.fold, r.seed): done.get(r.key, {}) for r in rows if (r.name, r.part) == (name, part)}
  return {at: row for at, row in of.items() if "dice" in row}


def line(name: str, part: str, runs: dict, real: dict) -> str:
  """A row of the table: the mean over all folds of each seed that has them, differences by runs."""
  both = [at for at in runs if at in real]
  gains = [runs[at]["dice"] - real[at]["dice"] for at in both]
  minutes = np.mean([row["cpu_seconds"] for row in runs.values()]) / 60
  cells = [name, part, len(runs), shown(_by_seed(runs)), "", ""]
  if part != "real" and gains:
    p = paired_p(gains)
    cells[4:] = [shown(gains, sign=True), "" if np.isnan(p) else f"{p:.3f}"]
  return f"| {' | '.join(map(str, cells))} | {minutes:.1f} |\n"


def _by_seed(runs: dict) -> list[float]:
  """The mean over folds of each seed; only of folds that all seeds have, if there are some."""
  seeds = sorted({seed for _, seed in runs})
  folds = set.intersection(*({f for f, s in runs if s == seed} for seed in seeds))
  if not folds:
    return [row["dice"] for row in runs.values()]
  return [float(np.mean([runs[fold, seed]["dice"] for fold in folds])) for seed in seeds]


def judged(done: dict, name: str) -> list[dict]:
  """What was said of the made cases of each fold."""
  begin = f"{name}/fold"
  return [of for key, of in done.items() if key.startswith(begin) and key.endswith("/judged")]


def judged_line(name: str, of: list[dict]) -> str:
  """A row of the means over folds."""

  def mean(*path) -> float:
    values = []
    for value in of:
      for part in path:
        value = value[part]
      values.append(value)
    return float(np.mean(values))

  areas = list(of[0]["areas"])
  cells = [
    name,
    len(of),
    f"{100 * mean('verdict', 'new_critic', 'pairs'):.0f} %",
    f"{100 * mean('verdict', 'own_critic', 'pairs'):.0f} %"
    if "own_critic" in of[0]["verdict"]
    else "",
    f"{mean('diversity', 'pairwise_dice_made'):.3f} "
    f"({mean('diversity', 'pairwise_dice_training'):.3f})",
    ", ".join(
      f"{100 * mean('areas', k, 'made'):.1f} % ({100 * mean('areas', k, 'training'):.1f} %)"
      for k in areas
    ),
    f"{mean('features', 'made_to_training'):.3g} ({mean('features', 'held_out_to_training'):.3g})",
    # of samples without foreground there is none
    f"{max((row['copies']['largest_dice'] or 0.0) for row in of):.3f}",
  ]
  return f"| {' | '.join(map(str, cells))} |\n"


def tables(done: dict, rows) -> str:
  """Both tables, of what is there."""
  lines, said = "", ""
  for name in dict.fromkeys(row.name for row in rows):
    real = runs_of(done, rows, name, "real")
    for part in DATA:
      if runs := runs_of(done, rows, name, part):
        lines += line(name, part, runs, real)
    if of := judged(done, name):
      said += judged_line(name, of)
  text = head(COLUMNS) + lines if lines else ""
  text += f"\n{head(JUDGED)}{said}" if said else ""
  failed = [f"- `{key}`: {row['failed']}\n" for key, row in done.items() if "failed" in row]
  return text + ("\nRuns that failed:\n\n" + "".join(failed) if failed else "")


def write(done: dict, rows, page: pathlib.Path) -> None:
  """The page's tables."""
  write_between(page, "synthesis", tables(done, rows) or "(no rows yet)\n")
