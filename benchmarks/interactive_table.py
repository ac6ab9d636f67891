"""docs/interactive.md's tables and picture from the rows of benchmarks/interactive.py."""

import math

import matplotlib
import numpy as np

matplotlib.use("agg")
from matplotlib import pyplot
from table_text import shown, write_between

from jaxseg import files
from jaxseg.metrics.statistics import bootstrap_interval

PROMPTS = ("0", "1", "3", "5", "10")
QUALITIES = ("0.8", "0.85", "0.9")
MEDSCRIBBLE = "medscribble"
HEADS = ["method", "runs", *(f"Dice, {n} clicks" for n in PROMPTS)]
HEADS += [*(f"NoC@{100 * float(q):.0f}" for q in QUALITIES), "NoC@85, RITM", "area of 5", "s"]
# what tells that a row is there: clicks, scribbles, or the cases of a run that takes neither
MADE = {"clicks", "annotators", "dice_of_case"}


def by_seed(done, table: str, method: str) -> dict[int, dict]:
  """Seed -> row, of those that were clicked."""
  begin = f"{table}/{method}/seed"
  of = {int(k.removeprefix(begin)): row for k, row in done.items() if k.startswith(begin)}
  return {seed: of[seed] for seed in sorted(of) if "clicks" in of[seed]}


def _one(value: dict, digits: int) -> str:
  """A mean over cases, and its interval over them."""
  low, high = (math.nan if of is None else of for of in value["interval"])
  return f"{value['mean']:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def _over(rows, pick, digits: int) -> str:
  """Of one seed with the interval over cases, of several with that over seeds."""
  if len(rows) == 1:
    return _one(pick(rows[0]), digits)
  return shown([pick(row)["mean"] for row in rows], digits)


def line(method: str, runs: dict[int, dict]) -> str:
  """A row of a set's table: Dice after clicks, clicks to an IoU, area, answer time."""
  rows = [row["clicks"] for row in runs.values()]
  cells = [f"`{method}`", len(rows)]
  cells += [_over(rows, lambda of, n=n: of["dice"][n], 3) for n in PROMPTS]
  cells += [_over(rows, lambda of, q=q: of["noc"][q]["exact"], 1) for q in QUALITIES]
  cells.append(_over(rows, lambda of: of["noc"]["0.85"]["ritm"], 1))
  cells.append(_over(rows, lambda of: of["area_under"], 2))
  cells.append(f"{np.median([of['seconds']['median'] for of in rows]):.2f}")
  return f"| {' | '.join(map(str, cells))} |\n"


def automatic(done, table: str, method: str, cases) -> str:
  """The same row of a network that takes no clicks, on the cases that others are clicked on."""
  key = f"{table}/{method}/seed0"
  of_case = done.get(key, {}).get("dice_of_case", {})
  values = [of_case[name] for name in cases if of_case.get(name) is not None]
  if not values:
    return ""
  told = {"mean": float(np.mean(values)), "interval": bootstrap_interval(np.array(values))}
  return f"| `{method}` | 1 | {_one(told, 3)} |{' |' * (len(HEADS) - 3)}\n"


def of_set(done, rows, name: str) -> str:
  """The table of a set; "" without a row."""
  methods = list(dict.fromkeys(row.method for row in rows if row.table == name))
  runs = {method: by_seed(done, name, method) for method in methods}
  runs = {method: of for method, of in runs.items() if of}
  if not runs:
    return ""
  text = f"\n#### {name.replace('_', ' ')}\n\n| {' | '.join(HEADS)} |\n|{'---|' * len(HEADS)}\n"
  first = next(iter(next(iter(runs.values())).values()))["clicks"]["cases"]
  text += "".join(automatic(done, name, of, first) for of in methods if of not in runs)
  return text + "".join(line(method, of) for method, of in runs.items())


def of_annotators(done) -> str:
  """MedScribble's table: each task, unseen, without prompts and with each annotator's scribbles."""
  text = ""
  keys = [key for key, row in done.items() if key.startswith(MEDSCRIBBLE) and "annotators" in row]
  for key in sorted(keys):
    cases = done[key]["annotators"].values()
    none = float(np.mean([of["none"] for of in cases]))
    each = np.array([of["annotators"] for of in cases]).mean(0)
    method, task = key.split("/")[1].rsplit("_without_", 1)
    cells = [task, f"`{method}`", key.rsplit("seed", 1)[1], len(cases), f"{none:.3f}"]
    cells += [f"{value:.3f}" for value in each]
    cells += [f"{each.mean():.3f}", f"{each.std(ddof=1):.3f}", f"{each.mean() - none:+.3f}"]
    text += f"| {' | '.join(map(str, cells))} |\n"
  if not text:
    return ""
  heads = ["task", "method", "seed", "images", "no prompt", "annotator 1", "2", "3", "mean"]
  heads += ["spread", "gain"]
  head = f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}\n"
  return f"\n#### MedScribble, each task by a network that never saw it\n\n{head}{text}"


def of_times(done) -> str:
  """What an answer takes beside the forward pass alone."""
  rows = {k.removeprefix("time/"): row for k, row in done.items() if k.startswith("time/")}
  if not rows:
    return ""
  text = "\n#### An answer's time, two cores, warm\n\n"
  text += (
    "| window | answer, s | longest | forward pass alone, s | overhead |\n|---|---|---|---|---|\n"
  )
  for size, row in rows.items():
    cells = [size, *(f"{row[name]:.3f}" for name in ("answer", "longest", "forward"))]
    text += f"| {' | '.join(cells)} | {100 * row['overhead']:.0f} % |\n"
  return text


def tables(done, rows) -> str:
  """All tables, of what is there, and what is not."""
  names = list(dict.fromkeys(row.table for row in rows))
  text = "".join(of_set(done, rows, name) for name in names if name != MEDSCRIBBLE)
  text += of_annotators(done) + of_times(done)
  left = [row.key for row in rows if not MADE & done.get(row.key, {}).keys()]
  text += f"\n{len(left)} run(s) are not made yet.\n" if left else ""
  failed = {key: row["failed"] for key, row in done.items() if "failed" in row}
  return text + "".join(f"\n- `{key}` failed: {words}\n" for key, words in failed.items())


def picture(done, rows, path) -> bool:
  """Dice after each click, of every method of each set, with the band over cases; if any."""
  names = [n for n in dict.fromkeys(row.table for row in rows) if n != MEDSCRIBBLE]
  curves = {}
  for name in names:
    for method in dict.fromkeys(row.method for row in rows if row.table == name):
      if of := by_seed(done, name, method):
        cases = next(iter(of.values()))["clicks"]["cases"].values()
        curves.setdefault(name, {})[method] = [case["dice"]["mean"] for case in cases]
  if not curves:
    return False
  figure, axes = pyplot.subplots(1, len(curves), figsize=(4.2 * len(curves), 3.4), squeeze=False)
  for axis, (name, of) in zip(axes[0], curves.items(), strict=True):
    for method, cases in of.items():
      most = max(map(len, cases))
      filled = np.array([[*case, *[case[-1]] * (most - len(case))] for case in cases])
      axis.plot(filled.mean(0), marker=".", label=method)
      low, high = np.percentile(filled, (25, 75), axis=0)
      axis.fill_between(range(most), low, high, alpha=0.15)
    axis.set(title=name.replace("_", " "), xlabel="clicks", ylabel="Dice", ylim=(0, 1))
    axis.legend(fontsize="small")
  figure.tight_layout()
  with files.replacing(path) as temporary:
    figure.savefig(temporary, dpi=110, format="png")
  pyplot.close(figure)
  return True


def write(done, rows, root, name) -> None:
  """Writes the part of docs/interactive.md between the marks of that name, and its picture."""
  text = tables(done, rows)
  drawn = root / "docs" / f"{name}_clicks.png"
  if picture(done, rows, drawn):
    text += f"\n![Dice after each click, mean and quartiles over unseen cases]({drawn.name})\n"
  write_between(root / "docs" / "interactive.md", name, text)
