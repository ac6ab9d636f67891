"""docs/few_labels.md's table and picture from the rows of benchmarks/few_labels.py."""

import re

import matplotlib
import numpy as np

matplotlib.use("agg")
from matplotlib import pyplot
from table_text import interval as interval
from table_text import shown as _shown
from table_text import write_between

from jaxseg import files
from jaxseg.data import read_label
from jaxseg.evaluation import held_out
from jaxseg.feeding import source_of
from jaxseg.inference import pictures
from jaxseg.runs import folder as run_folder

CLASSES = ("right ventricle", "myocardium", "left ventricle")
HEADS = {
  "labels": "Of the heart: RV, myocardium and LV are classes of their own",
  "scribbles": "From scribbles of all 70 patients, beside their full labels",
}
COLUMNS = (
  "| method | patients | runs | Dice | RV | myo | LV | HD95 | gain over supervised | CPU-min |\n"
  "|---|---|---|---|---|---|---|---|---|---|\n"
)
# voxels around the heart in the picture
ROOM = 12


def runs_of(rows, table, method, labelled, draw=0) -> dict[int, dict]:
  """Seed -> row, of those that are done."""
  found = {}
  for key, row in rows.items():
    match = re.fullmatch(r"(.+)/(.+)/labelled(\d+)/draw(\d+)/seed(\d+)", key)
    if match and "dice" in row:
      of = (match[1], match[2], int(match[3]), int(match[4]))
      if of == (table, method, labelled, draw):
        found[int(match[5])] = row
  return dict(sorted(found.items()))


def best(rows, number: int) -> list[str]:
  """The methods with the highest mean Dice at 3 patients; [] until each has as many runs."""
  names = list(dict.fromkeys(key.split("/")[1] for key in rows if key.startswith("labels/")))
  dice = {name: _dice(runs_of(rows, "labels", name, 3)) for name in names if name != "supervised"}
  # of the rows that choose: one that fails later changes no choice
  first = {name: f"labels/{name}/labelled3/draw0/" for name in dice}
  failed = [key for key, row in rows.items() if "failed" in row]
  dice = {
    name: values
    for name, values in dice.items()
    if not any(key.startswith(first[name]) for key in failed)
  }
  if not dice or min(map(len, dice.values())) < 3:
    return []
  return sorted(dice, key=lambda name: -float(np.mean(dice[name])))[:number]


def _dice(runs) -> list[float]:
  return [row["dice"] for row in runs.values()]


def _distance(of) -> str:
  """HD95 of what was segmented, and how many classes of all volumes were not at all."""
  finite = [row["hd95"] for row in of if row["hd95"] is not None]
  missing = sum(row["missing"] for row in of)
  text = f"{np.mean(finite):.1f}" if finite else "-"
  return f"{text} ({missing} missing)" if missing else text


def line(name, labelled, runs, floor) -> str:
  """A row of the table.

  Args:
    name: of the method.
    labelled: patients with labels, "" where that is another set's.
    runs: seed -> row.
    floor: those of supervised training with the same labels; differences are of equal seeds.
  """
  shared = [runs[seed]["dice"] - floor[seed]["dice"] for seed in runs if seed in floor]
  shared = shared if name != "supervised" else []
  classes = [np.mean([row["dice_of"][of] for row in runs.values()]) for of in CLASSES]
  cells = [f"`{name}`", labelled, len(runs), _shown(_dice(runs))]
  cells += [f"{value:.3f}" for value in classes]
  cells.append(_distance(list(runs.values())))
  cells.append(_shown(shared, sign=True) if shared else "")
  cells.append(f"{np.mean([row['cpu_seconds'] for row in runs.values()]) / 60:.1f}")
  return f"| {' | '.join(map(str, cells))} |\n"


def heart(rows, methods) -> str:
  """The tables of the heart, of what is there."""
  text = ""
  for draw, words in ((0, ""), (1, ", another draw of the patients")):
    for labelled in (3, 7):
      floor = runs_of(rows, "labels", "supervised", labelled, draw)
      of = {name: runs_of(rows, "labels", name, labelled, draw) for name in methods["labels"]}
      lines = [line(name, labelled, runs, floor) for name, runs in of.items() if runs]
      if lines:
        text += f"\n### {labelled} labelled patients{words}\n\n{COLUMNS}{''.join(lines)}"
        if (whole := runs_of(rows, "labels", "supervised", 70)) and not draw:
          text += line("supervised", 70, whole, {})
  whole = runs_of(rows, "labels", "supervised", 70)
  of = {name: runs_of(rows, "scribbles", name, 70) for name in methods["scribbles"]}
  lines = [line(name, 70, runs, whole) for name, runs in of.items() if runs]
  if lines:
    whole_line = line("supervised", 70, whole, whole) if whole else ""
    text += f"\n### Scribbles of 70 patients\n\n{COLUMNS}{''.join(lines)}{whole_line}"
  return text


def elsewhere(rows) -> str:
  """The tables of other sets: Dice of the last step, and how much more than supervised."""
  text = ""
  sets = dict.fromkeys(key.split("/")[0] for key in rows)
  for name in (name for name in sets if name not in HEADS):
    methods = dict.fromkeys(key.split("/")[1] for key in rows if key.startswith(f"{name}/"))
    floor = runs_of(rows, name, "supervised", 0)
    lines = []
    for method in methods:
      if not (runs := runs_of(rows, name, method, 0)):
        continue
      shared = [runs[seed]["dice"] - floor[seed]["dice"] for seed in runs if seed in floor]
      gain = _shown(shared, sign=True) if shared and method != "supervised" else ""
      minutes = np.mean([row["cpu_seconds"] for row in runs.values()]) / 60
      lines.append(
        f"| `{method}` | {len(runs)} | {_shown(_dice(runs))} | {gain} | {minutes:.1f} |\n"
      )
    if lines:
      text += f"\n### {name}\n\n| method | runs | Dice | gain over supervised | CPU-min |\n"
      text += "|---|---|---|---|---|\n" + "".join(lines)
  return text


def failures(rows) -> str:
  lines = [f"- `{key}`: {row['failed']}\n" for key, row in rows.items() if "failed" in row]
  return "\nRuns that failed:\n\n" + "".join(lines) if lines else ""


def write(rows, methods, root, runs, name) -> None:
  """Writes the part of docs/few_labels.md between the marks of that name, and its picture.

  Args:
    rows: key -> row, as benchmarks/few_labels.py keeps them.
    methods: table -> names of its methods, in their order.
    root: of the repository.
    runs: folder of the runs.
    name: "few_labels", or "few_labels_published".
  """
  picture = root / "docs" / f"{name}.png"
  text = heart(rows, methods) + elsewhere(rows) + failures(rows)
  if sheet(rows, methods, runs, picture):
    text += f"\n![the same three slices by every method]({picture.name})\n"
  write_between(root / "docs" / "few_labels.md", name, text)


def sheet(rows, methods, runs, path) -> bool:
  """One picture: three slices, their reference, and what seed 0 of every method makes of them.

  False if no prediction is there. A picture that is there stays where predictions are missing:
  they are not kept with the rows.
  """
  wanted = {
    f"{of}, {labelled}": f"labels/{of}/labelled{labelled}/draw0/seed0"
    for labelled in (70, 3)
    for of in methods["labels"]
  }
  wanted |= {of: f"scribbles/{of}/labelled70/draw0/seed0" for of in methods["scribbles"]}
  wanted = {title: key for title, key in wanted.items() if "dice" in rows.get(key, {})}
  there = {title: key for title, key in wanted.items() if (runs / key / "validation").is_dir()}
  if not there or (path.exists() and len(there) < len(wanted)):
    if path.exists():
      print(f"{path} stays as it is: {runs} lacks {len(wanted) - len(there)} predictions.")
    return path.exists()
  slices = telling_slices(runs / next(iter(there.values())))
  tiles = {"image": [pictures.grey(of.image) for of in slices]}
  tiles["reference"] = [pictures.overlay(of.image, of.label) for of in slices]
  for title, key in there.items():
    shown = [of.cut(runs / key) for of in slices]
    tiles[title] = [pictures.overlay(of.image, x) for of, x in zip(slices, shown, strict=True)]
  columns = 3
  high = -(-len(tiles) // columns)
  figure, axes = pyplot.subplots(
    high, columns, figsize=(4.2 * columns, 1.62 * high), layout="constrained", squeeze=False
  )
  for ax in axes.flat:
    ax.axis("off")
  for ax, (title, of) in zip(axes.flat, tiles.items(), strict=False):
    side = max(max(tile.shape[:2]) for tile in of)
    ax.imshow(np.concatenate([_square(tile, side) for tile in of], 1), interpolation="nearest")
    ax.set_title(title, fontsize=8)
  with files.replacing(path) as temporary:
    figure.savefig(temporary, dpi=100, format="png")
  pyplot.close(figure)
  return True


class Slice:
  """One slice of a validation case, cut out around the heart."""

  def __init__(self, case: str, at: int, image: np.ndarray, label: np.ndarray):
    where = np.argwhere(label > 0)
    ends = zip(where.min(0), where.max(0), label.shape, strict=True)
    self._box = tuple(slice(max(0, a - ROOM), min(n, b + ROOM + 1)) for a, b, n in ends)
    self._case, self._at = case, at
    self.image, self.label = image[self._box], label[self._box]

  def cut(self, run) -> np.ndarray:
    """What a run predicts there."""
    return read_label(run / "validation" / f"{self._case}.nii.gz")[0][self._at][self._box]


def telling_slices(run) -> list[Slice]:
  """Of three cases of a run, spread over the list: near the base, the middle and the apex."""
  source = source_of(run_folder.read_config(run))
  cases = sorted(held_out.read_scores(run)["cases"])
  chosen = []
  for number, part in enumerate((0.2, 0.5, 0.8)):
    case = cases[round((number + 0.5) * len(cases) / 3)]
    raw = source.read(case)
    filled = np.flatnonzero((raw.label > 0).any((1, 2)))
    at = int(filled[round(part * (len(filled) - 1))])
    image = raw.image[at].astype(np.float32)
    chosen.append(Slice(case, at, image, raw.label[at].astype(np.int32)))
  return chosen


def _square(tile: np.ndarray, side: int) -> np.ndarray:
  """A tile in the middle of a white square."""
  out = np.full((side, side, 3), 255, np.uint8)
  top, left = ((side - n) // 2 for n in tile.shape[:2])
  out[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
  return out
