"""Do explanations say more than chance? Deletion and insertion of maps beside random ones; SAUNet.

Usage: python benchmarks/explain.py [train] [measure] [table] [--only PATTERN ...] [--list]

- train: the two runs of configs/explain.py, and three seeds of SAUNet and of U-Net
  (configs/sunnybrook_saunet.py), in runs/explain, a few minutes of one core each.
- measure: the maps of up to 10 validation cases of each in which the run sees the class, with
  deletion, insertion and the pointing game; kept after each case, so that it can be stopped.
- table: writes the tables of docs/explain.md.

Beside the methods there are maps that know nothing of the network: the value of each voxel by
chance, blobs by chance (five draws each, their mean), and one that knows its answer alone, the
predicted mask. Figures lie in docs/explain.json.
"""

import fnmatch
import pathlib
import runpy
from typing import NamedTuple

import numpy as np
import run_rows
import table_command
from run_rows import ROOT
from scipy import ndimage
from table_text import paired_p, shown, write_between

from jaxseg.explain import mapping
from jaxseg.explain import scan as scans
from jaxseg.feeding import source_of
from jaxseg.runs.folder import read_config, read_dataset
from jaxseg.runs.load import as_model, open_runs

CONFIG = "configs/explain.py"
PAGE = ROOT / "docs" / "explain.md"
CASES, DRAWS = 10, 5
# key of its rows, config, what of it
SHAPE, SHAPE_CONFIG = "shape", "configs/sunnybrook_saunet.py"
SHAPE_VARIANTS = {"small": "`shape_attentive` (SAUNet)", "unet": "`unet`"}
SEEDS = (0, 1, 2)
METHODS = (
  "gradient",
  "guided",
  "smooth_grad",
  "integrated_gradients",
  "cam",
  "grad_cam",
  "grad_cam_plus_plus",
  "hires_cam",
  "layer_cam",
  "occlusion",
)
VOXELS, BLOBS, MASK = "chance: voxels", "chance: blobs", "predicted mask"
FIGURES = ("deletion", "insertion", "hit", "share")


class Run(NamedTuple):
  """A row as `run_rows` takes it."""

  key: str
  config: str
  seed: int = 0


def mapped() -> list[Run]:
  """The runs whose maps are measured."""
  return [Run(name, f"{CONFIG}:{name}") for name in runpy.run_path(str(ROOT / CONFIG))["SETS"]]


def beside() -> list[Run]:
  """A network that explains itself and one that does not, trained for as many steps."""
  return [
    Run(f"{SHAPE}/{variant}/seed{seed}", f"{SHAPE_CONFIG}:{variant}", seed)
    for seed in SEEDS
    for variant in SHAPE_VARIANTS
  ]


def rows(done=None) -> list[Run]:
  """All runs, in the order in which they are trained."""
  del done
  return [*mapped(), *beside()]


def chance(shape, kind: str, seed: int) -> np.ndarray:
  """A map that knows nothing: noise, or noise through a Gaussian of a twelfth of the side."""
  noise = np.random.default_rng(seed).standard_normal(shape)
  return ndimage.gaussian_filter(noise, min(shape) / 12) if kind == BLOBS else noise


def figures(scan, found, made: mapping.Map, label) -> dict[str, float]:
  """What a map of a case is worth; `label` is (*space) bool on the scan's grid."""
  areas = {kind: of.area for kind, of in mapping.curves(scan, found, made).items()}
  pointing = mapping.point(scan, made, label)
  return {**areas, "hit": float(pointing.hit), "share": pointing.energy}


def of_case(subject, raw, name: str) -> dict[str, dict[str, float]] | None:
  """Map -> its figures; None where the run sees nothing to explain."""
  scan = scans.scan(subject, raw._replace(label=None), name)
  if not scans.present(scan):
    return None
  target = scans.target(scan, scans.CLASS)
  found, _ = mapping.views(scan, target, 1)
  label = subject.labels.encode(raw.label, name)[0] == target.channel
  if not label.any():
    return None

  def judged(title, values):
    return figures(scan, found, mapping.Map(title, values, False, {}), label)

  told = {}
  for method in METHODS:
    for layer in mapping.select_layers(scan, found[0], method, ()):
      made = mapping.map_of(scan, found, method, layer, {})
      told[made.name] = figures(scan, found, made, label)
      told[made.name] |= {k: v for k, v in made.numbers.items() if k == "completeness_error"}
  for kind in (VOXELS, BLOBS):
    drawn = [judged(kind, chance(scan.case.space, kind, seed)) for seed in range(DRAWS)]
    told[kind] = {figure: float(np.mean([of[figure] for of in drawn])) for figure in FIGURES}
  told[MASK] = judged(MASK, target.inside.astype(np.float32))
  return told


def measure(table: run_rows.Table, run: Run, folder: pathlib.Path) -> None:
  """The figures of a run's cases that are not there yet."""
  opened = open_runs(folder)
  subject, source = scans.subject(opened, as_model(opened)), source_of(read_config(folder))
  names = read_dataset(folder, {"validation": list})["validation"]
  key = f"{run.key}/maps"
  config = run_rows.config_sum(read_config(folder))
  kept = table.read().get(key, {})
  if kept.get("config") != config:  # of another run
    kept = {"config": config, "cases": {}, "without": []}
  # evenly through the patients
  order = np.argsort((np.arange(len(names)) * 0.6180339887) % 1, kind="stable")
  for name in (names[i] for i in order):
    if len(kept["cases"]) >= CASES:
      break
    if name in kept["cases"] or name in kept["without"]:
      continue
    told = of_case(subject, source.read(name), name)
    if told is None:
      kept["without"].append(name)
    else:
      kept["cases"][name] = told
    table.keep(key, kept)
    print(f"{run.key}: {name}: {'nothing to explain' if told is None else 'measured'}", flush=True)


def text(done: dict[str, dict]) -> str:
  """The table as Markdown, from the rows that are there."""
  lines = []
  for run in mapped():
    cases = done.get(f"{run.key}/maps", {}).get("cases", {})
    if not cases:
      continue
    dice = done.get(run.key, {}).get("dice", float("nan"))
    lines += [f"**{run.key}**: {len(cases)} cases; the run's Dice {dice:.3f}", ""]
    lines += ["| map | deletion ↓ | less than blobs by chance, p | insertion ↑ | points at label |",
              "|---|---|---|---|---|"]  # fmt: skip
    maps = list(next(iter(cases.values())))

    def values(name, figure, cases=cases):
      return np.array([of[name][figure] for of in cases.values()])

    for name in sorted(maps, key=lambda name: values(name, "deletion").mean()):
      gain = values(BLOBS, "deletion") - values(name, "deletion")
      compared = "" if name == BLOBS else f"{shown(gain, sign=True)}, {paired_p(gain):.2g}"
      lines.append(
        f"| {name} | {shown(values(name, 'deletion'))} | {compared} | "
        f"{shown(values(name, 'insertion'))} | {100 * values(name, 'hit').mean():.0f} % |"
      )
    lines.append("")
  return "\n".join(lines)


def of_shapes(done: dict[str, dict]) -> str:
  """The table of the network with a shape stream beside U-Net, from the rows that are there."""
  lines = ["| network | runs | Dice | gain over `unet` | HD95 | CPU-min |",
           "|---|---|---|---|---|---|"]  # fmt: skip
  of = {
    variant: {
      seed: done[key]
      for seed in SEEDS
      if run_rows.is_done(done.get(key := f"{SHAPE}/{variant}/seed{seed}", {}))
    }
    for variant in SHAPE_VARIANTS
  }
  if not any(of.values()):
    return "No row is made yet."
  unet = of["unet"]
  for variant, title in SHAPE_VARIANTS.items():
    runs = of[variant]
    if not runs:
      continue
    gains = [runs[seed]["dice"] - unet[seed]["dice"] for seed in runs if seed in unet]
    gain = shown(gains, sign=True) if variant != "unet" and gains else ""
    distances = [row["hd95"] for row in runs.values() if row["hd95"] is not None]
    cells = [title, len(runs), shown([row["dice"] for row in runs.values()]), gain]
    cells.append(f"{np.mean(distances):.1f}" if distances else "")
    cells.append(f"{np.mean([row['cpu_seconds'] for row in runs.values()]) / 60:.1f}")
    lines.append(f"| {' | '.join(map(str, cells))} |")
  return "\n".join([*lines, ""])


def main():
  wanted = table_command.parsed(table_command.arguments(__doc__.splitlines()[0]))
  if wanted.verbs == ["train", "table"]:
    wanted.verbs = ["train", "measure", "table"]
  table = table_command.places(wanted, "explain")
  chosen = [run for run in mapped() if any(fnmatch.fnmatchcase(run.key, p) for p in wanted.only)]
  if wanted.list:
    left = {run.key for run in run_rows.pending(wanted, table, rows)}
    for run in chosen:
      cases = len(table.read().get(f"{run.key}/maps", {}).get("cases", {}))
      state = "to train" if run.key in left else "trained"
      print(f"{run.key}: {state}, {cases} of {CASES} cases measured")
    for run in beside():
      print(f"{run.key}: {'to train' if run.key in left else 'trained'}")
    return
  run_rows.begin(wanted, table, rows)
  if "measure" in wanted.verbs:
    for run in chosen:
      measure(table, run, wanted.runs / run.key)
  if "table" in wanted.verbs:
    write_between(PAGE, "maps", text(table.read()))
    write_between(PAGE, "shapes", of_shapes(table.read()))


if __name__ == "__main__":
  main()
