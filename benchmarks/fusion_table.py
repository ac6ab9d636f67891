"""The section of docs/domains.md on fusion, from the rows of benchmarks/fusion.py."""

import pathlib

import matplotlib
import numpy as np

matplotlib.use("agg")
from matplotlib import pyplot
from table_text import shown, write_between

from jaxseg import files
from jaxseg.inference import pictures

NAME = "fusion"
# of every subset the slice of the patient's tumour that is largest, beside the run
SLICES = "subsets.npz"
_ROOM = 12


def groups(rows, order) -> dict[tuple[str, str], list[dict]]:
  """(fusion, dropout) -> its rows that are done, in the order of all."""
  out: dict[tuple[str, str], list[dict]] = {}
  for row in order:
    of = rows.get(row.key, {})
    if "subsets" in of:
      out.setdefault((row.fusion, row.dropout), []).append(of)
  return dict(sorted(out.items(), key=lambda item: _place(item[0], order)))


def _place(pair, order) -> tuple[int, int]:
  fusions = list(dict.fromkeys(row.fusion for row in order))
  dropouts = list(dict.fromkeys(row.dropout for row in order))
  return fusions.index(pair[0]), dropouts.index(pair[1])


def text(rows, order) -> str:
  """The tables: mean Dice of the regions by subset, and the regions of each subset."""
  done = groups(rows, order)
  if not done:
    return "\nNo row has been run yet.\n"
  subsets = list(next(iter(done.values()))[0]["subsets"])
  regions = list(next(iter(done.values()))[0]["subsets"][subsets[0]]["dice_of"])
  head = f"| fusion | modality dropout | patients | {' | '.join(subsets)} | mean | CPU-min |\n"
  out = f"\n{head}|{'---|' * (len(subsets) + 5)}\n"
  for (fusion, dropout), of in done.items():
    values = [[row["subsets"][name]["dice"] for row in of] for name in subsets]
    mean = np.mean([np.mean(v) for v in values])
    minutes = np.mean([row["cpu_seconds"] for row in of]) / 60
    cells = [shown(v) for v in values]
    out += (
      f"| {fusion} | {dropout} | {len(of)} | {' | '.join(cells)} | {mean:.3f} | {minutes:.1f} |\n"
    )
  for region in regions:
    out += f"\n{region}:\n\n| fusion | modality dropout | {' | '.join(subsets)} |\n"
    out += f"|{'---|' * (len(subsets) + 2)}\n"
    for (fusion, dropout), of in done.items():
      cells = [
        f"{_mean([row['subsets'][name]['dice_of'][region] for row in of])}" for name in subsets
      ]
      out += f"| {fusion} | {dropout} | {' | '.join(cells)} |\n"
  failed = [f"- `{key}`: {row['failed']}\n" for key, row in rows.items() if "failed" in row]
  return out + ("\nRuns that failed:\n\n" + "".join(failed) if failed else "")


def _mean(values) -> str:
  known = [value for value in values if value is not None and np.isfinite(value)]
  return f"{np.mean(known):.3f}" if known else "-"


def write(rows, order, runs: pathlib.Path, page: pathlib.Path) -> None:
  """Writes the page's part between the marks "fusion", and its picture.

  Args:
    rows: key -> row, as benchmarks/fusion.py keeps them.
    order: all rows there are.
    runs: folder of the runs.
    page: docs/domains.md.
  """
  picture, words = page.with_name(f"{NAME}.png"), text(rows, order)
  if sheet(rows, order, runs, picture):
    words += f"\n![one slice of one patient from every subset of channels]({picture.name})\n"
  write_between(page, NAME, words)


def sheet(rows, order, runs: pathlib.Path, path: pathlib.Path) -> bool:
  """A picture: a row for each run of the first patient, a column for each subset of its channels.

  False if no prediction is there; a picture that is there stays then.
  """
  first = min(row.fold for row in order)
  there = {
    f"{row.fusion}, dropout {row.dropout}": runs / row.key / SLICES
    for row in order
    if row.fold == first
    and "subsets" in rows.get(row.key, {})
    and (runs / row.key / SLICES).is_file()
  }
  if not there:
    return path.exists()
  tiles: dict[str, dict[str, np.ndarray]] = {}
  for title, file in there.items():
    with np.load(file) as of:
      case = next(iter(of)).split(": ")[0]
      label, image = of[f"{case}: label"], of[f"{case}: image"]
      inside = np.argwhere((image != 0).any(-1))
      ends = zip(inside.min(0), inside.max(0), label.shape, strict=True)
      box = tuple(slice(max(0, a - _ROOM), min(n, b + _ROOM + 1)) for a, b, n in ends)
      base = image[..., :1][box].astype(np.float32)
      names = [name.split(": ", 1)[1] for name in of if not name.endswith((": label", ": image"))]
      row = {"FLAIR": pictures.grey(base), "T1c": pictures.grey(image[..., 1:2][box])}
      row["reference"] = pictures.overlay(base, label[box].astype(np.int32))
      row |= {
        f"from {name}": pictures.overlay(base, of[f"{case}: {name}"][box].astype(np.int32))
        for name in names
      }
      tiles[title] = row
  columns = len(next(iter(tiles.values())))
  figure, axes = pyplot.subplots(
    len(tiles),
    columns,
    figsize=(1.7 * columns, 2.0 * len(tiles)),
    layout="constrained",
    squeeze=False,
  )
  for line, (title, row) in zip(axes, tiles.items(), strict=True):
    for ax, (name, tile) in zip(line, row.items(), strict=True):
      ax.imshow(tile, interpolation="nearest")
      ax.set_title(name, fontsize=7)
      ax.set_xticks([])
      ax.set_yticks([])
    line[0].set_ylabel(title, fontsize=7)
  with files.replacing(path) as temporary:
    figure.savefig(temporary, dpi=100, format="png")
  pyplot.close(figure)
  return True
