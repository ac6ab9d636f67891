"""docs/search.md's tables and pictures from the rows of benchmarks/search.py."""

import math

import matplotlib
import numpy as np

matplotlib.use("agg")
from matplotlib import pyplot
from table_text import by_case, paired_p, shown, write_between

from jaxseg import files
from jaxseg.search import drawing, genotypes
from jaxseg.search.ranks import agreement

# what each of the others is compared with, case by case
BAR = {"architectures": "random", "losses": "dice_cross_entropy"}
EDGES = "boundary_iou"
MARKS = {"architectures": "search architectures", "losses": "search losses"}
AGREEMENT, SPACES = "search agreement", "search spaces"
# genotypes of the papers, by which the page shows what is chosen in their spaces
DRAWN = {"nas_unet_v2": "NAS-UNet", "darts_v2": "DARTS"}


def runs_of(done, name: str, method: str, stage: str) -> dict[int, dict]:
  """Seed -> row, of those that are done."""
  begin, end = f"{name}/{method}/seed", f"/{stage}"
  of = {
    int(key.removeprefix(begin).removesuffix(end)): row
    for key, row in done.items()
    if key.startswith(begin) and key.endswith(end) and "steps" in row
  }
  return dict(sorted(of.items()))


def line(
  method: str,
  finals: dict[int, dict],
  searches: dict[int, dict],
  bar: dict[int, dict],
  group: str = "",
) -> str:
  """A row of the table.

  Args:
    method: its name.
    finals, searches: seed -> row.
    bar: seed -> row of what it is compared with.
    group: as of `by_case`.
  """
  cells = [f"`{method}`", len(finals), shown([row["dice"] for row in finals.values()])]
  edges = [np.mean(_known(row["of_case"][EDGES])) for row in finals.values()]
  cells.append(shown(edges))
  distances = [row["hd95"] for row in finals.values() if row["hd95"] is not None]
  missing = sum(row["missing"] for row in finals.values())
  cells.append(
    (f"{np.mean(distances):.1f}" if distances else "-") + f" ({missing} missing)" * (missing > 0)
  )
  cells += [_against(finals, bar, metric, group) for metric in ("dice", EDGES)]
  searched = [row["cpu_seconds"] / 60 for row in searches.values()]
  cells.append(f"{np.mean(searched):.1f}" if searched else "-")
  trials = [row["trials"] for row in searches.values()]
  cells.append(f"{np.mean(trials):.0f}" if trials else "-")
  cells.append(f"{np.mean([row['cpu_seconds'] for row in finals.values()]) / 60:.1f}")
  return f"| {' | '.join(map(str, cells))} |\n"


def _known(of_case: dict) -> list[float]:
  return [value for value in of_case.values() if value is not None] or [math.nan]


def _against(finals: dict[int, dict], bar: dict[int, dict], metric: str, group: str) -> str:
  """The mean difference of a metric, case by case, with its interval and p of a paired test."""
  if finals is bar:
    return "-"
  of = ({seed: row["of_case"][metric] for seed, row in rows.items()} for rows in (finals, bar))
  differences = by_case(*of, group)
  if len(differences) < 2:
    return "-"
  return f"{shown(differences, sign=True)} (p {paired_p(differences):.2g})"


def table(done, name: str, methods, bar: str, group: str) -> str:
  """The table of one set, of what is there; "" of nothing. `group` as of `by_case`."""
  finals = {method: runs_of(done, name, method, "final") for method in methods}
  finals = {method: of for method, of in finals.items() if of}
  if not finals:
    return ""
  unit = "patient" if group else "case"
  heads = ["method", "seeds", "Dice", "boundary IoU", "HD95"]
  heads += [f"{metric} against `{bar}`, by {unit}" for metric in ("Dice", "boundary IoU")]
  heads += ["search, CPU-min", "trials", "final, CPU-min"]
  text = f"\n#### {name}\n\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}\n"
  known = finals.get(bar, {})
  for method, of in finals.items():
    text += line(method, of, runs_of(done, name, method, "search"), known, group)
  return text


def cells(done, name: str, methods, docs) -> str:
  """Draws the cells that each search has found, of seed 0; the lines that show them."""
  text = ""
  for method in methods:
    row = runs_of(done, name, method, "search").get(0, {})
    genotype = row.get("genotype", row.get("fields", {}).get("network.genotype"))
    if genotype:
      picture = docs / f"search_cells_{name}_{method}.png"
      drawing.draw(genotypes.check(genotype, picture.name), picture)
      text += f"\n![cells of `{method}`]({picture.name})\n"
  return text


def agreements(done, name: str) -> str:
  """Kendall's tau of each evaluation against the full training, of one set; "" of nothing."""
  every = {}
  for key, row in done.items():
    if key.startswith(f"{name}/") and key.endswith("/agreement") and "curve" in row:
      every[key.split("/")[1]] = row["curve"]
  truth = scores(every.pop("full", []))
  if not truth or not every:
    return ""
  text = f"\n#### {name}\n\n| evaluation | Kendall's tau | p | networks | CPU-s a network |\n"
  text += "|---|---|---|---|---|\n"
  for evaluation, curve in every.items():
    told = agreement(scores(curve), truth)
    seconds = [row["cpu_seconds"] for row in curve if row["cpu_seconds"] is not None]
    text += (
      f"| `{evaluation}` | {told.tau:+.2f} | {told.p:.2g} | {told.count} | "
      f"{np.mean(seconds):.0f} |\n"
    )
  return text


def scores(curve) -> dict[str, float]:
  """Number of a trial -> its score, of those that have one."""
  return {
    str(row["number"]): row["score"] for row in curve if isinstance(row["score"], int | float)
  }


def _left(done, rows, stages, methods) -> str:
  left = [
    row.key
    for row in rows
    if row.stage in stages and row.method in methods and "steps" not in done.get(row.key, {})
  ]
  failed = {key: row["failed"] for key, row in done.items() if "failed" in row and "/" in key}
  text = f"\n{len(left)} row(s) are not made yet.\n" if left else ""
  of = {key: words for key, words in failed.items() if isinstance(words, str)}
  own = {key: words for key, words in of.items() if key in left}
  return text + "".join(f"\n- `{key}` failed: {words}\n" for key, words in own.items())


def write(done, rows, module, patients, root) -> None:
  """Writes the parts of docs/search.md between their marks, and the pictures.

  Args:
    done: key -> row, as benchmarks/search.py keeps them.
    rows: all that there are to be.
    module: what configs/search.py defines.
    patients: set -> the expression that tells its patients, of those whose cases are no patients.
    root: of the repository.
  """
  page = root / "docs" / "search.md"
  text = ""
  for name, paper in DRAWN.items():
    drawing.draw(genotypes.PUBLISHED[name], root / "docs" / f"search_{name}.png")
    text += f"\n![published cells of {paper}](search_{name}.png)\n"
  write_between(page, SPACES, text)
  groups = {"architectures": module["SEARCHES"], "losses": module["LOSS_SEARCHES"]}
  for group, methods in groups.items():
    names = dict.fromkeys(row.set for row in rows if row.method in methods and row.stage == "final")
    text = ""
    for name in names:
      text += table(done, name, methods, BAR[group], patients.get(name, ""))
      picture = root / "docs" / f"search_{group}_{name}.png"
      if curves(done, name, methods, picture):
        text += f"\n![best score of each search against its processor time]({picture.name})\n"
      text += cells(done, name, methods, root / "docs")
    write_between(page, MARKS[group], text + _left(done, rows, ("search", "final"), methods))
  sets = dict.fromkeys(row.set for row in rows if row.stage == "agreement")
  text = "".join(agreements(done, name) for name in sets)
  every = {row.method for row in rows if row.stage == "agreement"}
  write_between(page, AGREEMENT, text + _left(done, rows, ("agreement",), every))


def curves(done, name: str, methods, path) -> bool:
  """One picture: the best score so far of each search, of seed 0; False if none is there."""
  searches = {method: runs_of(done, name, method, "search").get(0) for method in methods}
  searches = {method: row for method, row in searches.items() if row and row.get("curve")}
  if not searches:
    return False
  figure, ax = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
  for method, row in searches.items():
    spent, best, points = 0.0, -math.inf, []
    for trial in row["curve"]:
      spent += (trial["cpu_seconds"] or 0.0) / 60
      if isinstance(trial["score"], int | float) and trial["steps"] == row["steps"]:
        best = max(best, trial["score"])
        points.append((spent, best))
    ax.step(*zip(*points, strict=True), where="post", label=f"{method} ({row['metric']})")
  ax.set_xlabel("processor time of the search, minutes")
  ax.set_ylabel("best score on the inner validation cases")
  ax.legend(fontsize=8)
  with files.replacing(path) as temporary:
    figure.savefig(temporary, dpi=100, format="png")
  pyplot.close(figure)
  return True
