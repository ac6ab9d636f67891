"""docs/domains.md's tables and pictures from the rows of benchmarks/domains.py."""

import math

import matplotlib
import numpy as np

matplotlib.use("agg")
from matplotlib import pyplot
from table_text import shown, write_between

from jaxseg import files
from jaxseg.evaluation import held_out
from jaxseg.inference import pictures
from jaxseg.report import views

SOURCE = "source"


def mean(values) -> float | None:
  """Of the values that there are; None of none."""
  known = [value for value in values if value is not None and math.isfinite(value)]
  return float(np.mean(known)) if known else None


def runs_of(done, pair, method) -> dict[int, dict]:
  """Seed -> row, of those that have a Dice."""
  begin = f"{pair}/{method}/seed"
  of = {int(k.removeprefix(begin)): row for k, row in done.items() if k.startswith(begin)}
  return {seed: of[seed] for seed in sorted(of) if "dice" in of[seed]}


def closed(runs, floor, ceiling) -> list[float]:
  """Of each seed that all three have, the share of the gap from floor to ceiling, in per cent."""
  shares = []
  for seed in runs:
    if seed in floor and seed in ceiling:
      gap = ceiling[seed]["dice"] - floor[seed]["dice"]
      if gap > 0:
        shares.append(100 * (runs[seed]["dice"] - floor[seed]["dice"]) / gap)
  return shares


def line(method, runs, floor, ceiling) -> str:
  """A row of the table.

  Args:
    method: its name.
    runs: seed -> row.
    floor, ceiling: likewise, of the source's labels and of the target's.
  """
  names = list(next(iter(runs.values()))["dice_of"])
  cells = [f"`{method}`", len(runs), shown([row["dice"] for row in runs.values()])]
  cells += [f"{mean(row['dice_of'][name] for row in runs.values()) or 0:.3f}" for name in names]
  distances = [row["hd95"] for row in runs.values() if row["hd95"] is not None]
  missing = sum(row["missing"] for row in runs.values())
  cells.append(
    (f"{np.mean(distances):.1f}" if distances else "-") + f" ({missing} missing)" * (missing > 0)
  )
  shares = closed(runs, floor, ceiling) if method != SOURCE else []
  cells.append(f"{shown(shares, 0)} %" if shares else "")
  cells.append(f"{np.mean([row['cpu_seconds'] for row in runs.values()]) / 60:.1f}")
  return f"| {' | '.join(map(str, cells))} |\n"


def tables(done, rows, module) -> str:
  """The tables of all pairs, of what is there.

  Args:
    done: key -> row, as benchmarks/domains.py keeps them.
    rows: all that there are to be.
    module: what configs/domains.py defines.
  """
  text = ""
  for pair in module["PAIRS"]:
    floor, ceiling = (runs_of(done, pair, name) for name in (SOURCE, module["CEILING"]))
    of = {name: runs_of(done, pair, name) for name in module["METHODS"]}
    of = {name: runs for name, runs in of.items() if runs}
    if not of:
      continue
    names = list(next(iter(next(iter(of.values())).values()))["dice_of"])
    heads = ["method", "runs", "Dice", *names, "HD95", "gap closed", "CPU-min"]
    text += f"\n#### {pair.replace('_', ' ')}\n\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}\n"
    text += "".join(line(name, runs, floor, ceiling) for name, runs in of.items())
    left = [row.key for row in rows if row.pair == pair and not _there(done.get(row.key, {}))]
    text += f"\n{len(left)} run(s) are not made yet.\n" if left else ""
    failed = {k: row["failed"] for k, row in done.items() if k.startswith(pair) and "failed" in row}
    text += "".join(f"\n- `{key}` failed: {words}\n" for key, words in failed.items())
  return text


def _there(row) -> bool:
  return bool({"dice", "steps"} & row.keys())


def write(done, rows, module, root, runs, name) -> None:
  """Writes the part of docs/domains.md between the marks of that name, and its pictures.

  Args:
    done, rows, module: as of `tables`.
    root: of the repository.
    runs: folder of the runs.
    name: "domains", or "domains_published".
  """
  text = tables(done, rows, module)
  for pair in module["PAIRS"]:
    picture = root / "docs" / f"{name}_{pair}.png"
    if sheet(done, pair, module["METHODS"], runs, picture):
      text += f"\n![unseen cases of {pair} by every method]({picture.name})\n"
  write_between(root / "docs" / "domains.md", name, text)


def sheet(done, pair, methods, runs, path) -> bool:
  """One picture: two unseen cases of the target, their reference, and seed 0 of every method.

  False if no prediction is there. A picture that is there stays where predictions are missing:
  they are not kept with the rows.
  """
  keys = {name: f"{pair}/{name}/seed0" for name in methods}
  keys = {name: key for name, key in keys.items() if "dice" in done.get(key, {})}
  there = {n: runs / key / held_out.FOLDER / held_out.VIEWS for n, key in keys.items()}
  there = {name: folder for name, folder in there.items() if folder.is_dir()}
  if not there or (path.exists() and len(there) < len(keys)):
    return path.exists()
  cases = sorted(file.stem for file in next(iter(there.values())).glob("*.npz"))
  chosen = dict.fromkeys((cases[0], cases[-1]))
  tiles: dict[str, list[np.ndarray]] = {"image": [], "reference": []}
  for case in chosen:
    of = {name: views.load(folder, case) for name, folder in there.items()}
    first = next(iter(of.values()))
    # the slice with the most foreground
    at = int((first.label > 0).sum((1, 2)).argmax())
    image = first.image[at].astype(np.float32).mean(-1, keepdims=True)
    tiles["image"].append(pictures.grey(image))
    tiles["reference"].append(pictures.overlay(image, first.label[at].astype(np.int32)))
    for name, view in of.items():
      shown_here = pictures.overlay(image, view.prediction[at].astype(np.int32))
      tiles.setdefault(name, []).append(shown_here)
  columns = 4
  high = -(-len(tiles) // columns)
  size = (3.2 * columns, 1.75 * high)
  figure, axes = pyplot.subplots(high, columns, figsize=size, layout="constrained", squeeze=False)
  for ax in axes.flat:
    ax.axis("off")
  for ax, (title, of) in zip(axes.flat, tiles.items(), strict=False):
    height = min(tile.shape[0] for tile in of)
    ax.imshow(np.concatenate([tile[:height] for tile in of], 1), interpolation="nearest")
    ax.set_title(title, fontsize=9)
  with files.replacing(path) as temporary:
    figure.savefig(temporary, dpi=90, format="png")
  pyplot.close(figure)
  return True
