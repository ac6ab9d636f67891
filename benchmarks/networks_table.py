"""docs/networks.md and its pictures from the rows of benchmarks/networks.py."""

import datetime
import runpy
import sys

import imageio.v3 as imageio
import jax
import numpy as np
from PIL import Image, ImageDraw

from jaxseg import files

HEAD = """# Networks

Made by `python benchmarks/networks.py` on {date} with jax {jax} on two CPU cores. Every name is a
`network.name`, or a variant of `unet`, of configs/networks_2d.py and configs/networks_3d.py.

## A short run of each

200 steps or two minutes of two cores, whichever ended first, at the modest sizes of those configs,
the same recipe for all (AdamW, cross entropy + Dice), so that the figures show how far each network
learns in that time, not which is best. One learning rate, but for those few that it leaves at the
start, and in 2D one normalisation: with the batch norm of most publications, four patches of
differing brightness held every network back (`unet_batch_norm`); `dense_unet161` keeps it, and
`mednext`, `segresnet` and `unetr` their own. Processor time is that of all threads together, on
idle cores a step takes little more than half. "One class" is the Dice of the best prediction that
gives every voxel the same class. The 3D runs were made on several machines (Intel Xeon and AMD EPYC
of some 2.5 GHz), those in 2D and the costs below on AMD: times in 3D are rough. So is Dice where a
run is this short: other rounding, on another machine, moves it by a few hundredths. Vessels of
CHASE_DB1 rather than of DRIVE, the same task, so that figures and pictures come from one image.
"""

DATA = {
  2: "CHASE_DB1, one held-out image (patient 09 or 10); batch 4 of 96x96",
  3: "Decathlon hippocampus, eight held-out cases of fold 0; batch 2 of 32x32x32",
}

LONGER = """
Those that ended 0.1 or more below `unet`, with three times the steps and the time{}:
"""

BEHIND = {
  2: """; what is still behind then is
Ki-Net alone (1,750 parameters, and it sees few voxels around each) and UNETR, whose transformer
starts from nothing (in 200 steps 0.54 at the rate 5e-4, 0.59 at 2e-3, 0.61 at 6e-3)""",
  3: "",
}

COST = """
## What each costs at its published size

One image of 256x256 or one volume of 64x64x64 (or the size that is named: the largest of those
tried that the network takes and that fits into memory), 1 channel, 3 classes, float32. FLOPs: one
forward pass, convolutions and matrix products, multiplication and addition apart. CPU-s and peak
memory: one training step (forward, backward, SGD); processor time of all threads together (on idle
cores a step takes little more than half of it), memory as XLA's compiler plans it.
"""

PARTS = """
`unet` with each of its parts that takes {kind}, at every stage (`block`, `conv`, `attention`), at
every skip, or after the coarsest stage (`bottleneck`):
"""

COUNTS = """
## Published parameter counts

Equal to the digit to the publication or the public implementation that the network's docstring
names (`unet`, and with it `posterior_cascade` and `pseudo3d`: the survey's baseline);
tests/test_contracts.py counts them. Options are those that differ from the defaults; counts
of blocks and of further variants are in tests/networks.

| network | options | input channels, classes | parameters |
|---|---|---|---|
"""

SOURCE = """
Picture: CHASE_DB1 (Kingston University and St George's, University of London; Fraz et al. 2012),
CC-BY 4.0; Medical Segmentation Decathlon, Task04 Hippocampus (Vanderbilt University Medical Center;
Simpson et al. 2019, Antonelli et al. 2022), CC-BY-SA 4.0.
"""


def write(rows, names, root, pictures) -> None:
  """Writes docs/networks.md and docs/networks_{2,3}d.png.

  Args:
    rows: what was measured, by "verb/rank/name".
    names: rank -> the names that should be there, in order, of runs (those that are not are told)
      and of costs.
    root: of the repository.
    pictures: folder of the predictions.
  """
  text = HEAD.format(date=datetime.date.today(), jax=jax.__version__)
  for rank in (2, 3):
    wheres = [f"train/{rank}d/{name}" for name in names[rank][0]]
    missing = [
      name for name, where in zip(names[rank][0], wheres, strict=True) if where not in rows
    ]
    first = {where: rows[where] for where in wheres if where in rows}
    rows = {**first, **{where: row for where, row in rows.items() if where not in first}}
    text += f"\n### {rank}D: {DATA[rank]}\n" + _training(rows, rank, "train")
    if _of(rows, "longer", rank):
      text += LONGER.format(BEHIND[rank]) + _training(rows, rank, "longer")
    if missing:
      text += f"\nNot run yet: {', '.join(f'`{name}`' for name in missing)}.\n"
    if sheet(rows, rank, root / "docs" / f"networks_{rank}d.png", pictures):
      text += f"\n![predictions](networks_{rank}d.png)\n"
  text += SOURCE
  if any(where.startswith("cost/") for where in rows):
    text += COST + "".join(_costs(rows, rank, names[rank][1]) for rank in (2, 3))
  text += COUNTS + _counts(root)
  files.write_text(root / "docs" / "networks.md", text)


def _of(rows, verb, rank):
  start = f"{verb}/{rank}d/"
  return {where.removeprefix(start): row for where, row in rows.items() if where.startswith(start)}


def _training(rows, rank, verb):
  lines = [
    "",
    "| network | parameters | rate | steps | CPU-s/step | first 5 losses | last 10 | Dice "
    "| one class |",
    "|---|---|---|---|---|---|---|---|---|",
  ]
  for name, row in _of(rows, verb, rank).items():
    if "failed" in row:
      lines.append(f"| `{name}` | {row['failed']} | | | | | | | |")
      continue
    lines.append(
      f"| `{name}` | {row['parameters']:,} | {row['learning_rate']:g} | {row['steps']} "
      f"| {row['cpu_seconds_per_step']:.2f} | {row['first_loss']:.3f} | {row['last_loss']:.3f} "
      f"| {row['dice']:.3f} | {row['one_class']:.3f} |"
    )
  return "\n".join(lines) + "\n"


def _costs(rows, rank, names):
  measured = _of(rows, "cost", rank)
  networks, parts = [], []
  for name in (name for name in names if name in measured):
    network, _, chosen = name.partition("+")
    label = "{}: `{}`".format(*chosen.split("=")) if chosen else f"`{network}`"
    (parts if chosen else networks).append(_cost(label, measured[name], rank))
  header = (
    "\n| network | parameters | size | GFLOPs | CPU-s/step | peak memory, GiB |\n"
    "|---|---|---|---|---|---|\n"
  )
  text = f"\n### {rank}D\n{header}" + "".join(networks)
  if parts:
    text += PARTS.format(kind={2: "images", 3: "volumes alone"}[rank]) + header + "".join(parts)
  return text


def _cost(label, row, rank):
  if "failed" in row:
    return f"| {label} | {row['failed']} | | | | |\n"
  size = "x".join([str(row["size"])] * rank)
  size += "".join(f", {option} {row[option]}" for option in ("padding", "pools") if option in row)
  return (
    f"| {label} | {row['parameters']:,} | {size} | {row['gflops']:.1f} "
    f"| {row['cpu_seconds_per_step']:.2f} | {row['peak_gib']:.2f} |\n"
  )


def _counts(root):
  """The counts of the contract table, tests/network_rows.py."""
  lines = []
  # the table imports its neighbour
  sys.path.insert(0, str(root / "tests"))
  for name, row in runpy.run_path(str(root / "tests" / "network_rows.py"))["ROWS"].items():
    for count in row.counts:
      options = ", ".join(f"{key}={value!r}" for key, value in count.options.items())
      options = f"{count.rank}D" + (f", `{options}`" if options else "")
      ends = f"{count.channels}, {count.classes}"
      lines.append(f"| `{name}` | {options} | {ends} | {count.parameters:,} |")
  return "\n".join(lines) + "\n"


def _middle(tile, rank) -> Image.Image:
  """The middle of a 2D tile, so that a thumbnail still shows vessels; a slice as a whole."""
  picture = Image.fromarray(tile)
  if rank == 3:
    return picture
  wide, high = picture.size
  return picture.crop((wide // 4, high // 4, 3 * wide // 4, 3 * high // 4))


def sheet(rows, rank, path, pictures) -> bool:
  """One picture: image, label, each network's prediction with its name; False if none is there.

  A picture that is there stays where predictions are missing: they are not kept with the rows.
  """
  parts, names = [], _of(rows, "train", rank)
  files_of = {name: pictures / f"{name}_{rank}d.npz" for name in names}
  missing = [name for name, file in files_of.items() if not file.exists()]
  if path.exists() and missing:
    print(f"{path} stays as it is: {pictures} lacks {len(missing)} of {len(names)} predictions.")
    return True
  for name, file in files_of.items():
    if name not in missing:
      tiles = [_middle(tile, rank) for tile in np.array_split(np.load(file)["panel"], 3, axis=1)]
      if not parts:
        parts += zip(("image", "label"), tiles, strict=False)
      parts.append((name, tiles[2]))
  if not parts:
    return False
  side, columns = 160, 8
  canvas = Image.new("RGB", (columns * side, -(-len(parts) // columns) * (side + 14)), "white")
  for place, (name, part) in enumerate(parts):
    at = (place % columns * side, place // columns * (side + 14))
    part.thumbnail((side - 4, side - 4))
    canvas.paste(part, (at[0], at[1] + 14))
    ImageDraw.Draw(canvas).text((at[0] + 2, at[1]), name, fill="black")
  with files.replacing(path) as temporary:
    imageio.imwrite(temporary, np.asarray(canvas), extension=".png")
  return True
