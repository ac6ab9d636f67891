"""docs/networks.md and its pictures from the rows of benchmarks/networks.py."""

import datetime

import imageio.v3 as imageio
import jax
import numpy as np
from PIL import Image, ImageDraw

from jaxseg import files

HEAD = """# Networks

Made by `python benchmarks/networks.py` on {date} with jax {jax}, two CPU cores that other work may
have shared: seconds are rough. Every name is a `network.name`, or a variant of `unet`, of
configs/networks_2d.py and configs/networks_3d.py.

## A short run of each

200 steps or two minutes, whichever ended first, at the modest sizes of those configs, the same
recipe for all (AdamW, cross entropy + Dice), so that the figures show that each network learns, not
which is best. "One class" is the Dice of the best prediction that gives every voxel the same class.
"""

DATA = {
  2: "CHASE_DB1, one held-out image (patient 09 or 10); batch 4 of 128x128",
  3: "Decathlon hippocampus, eight held-out cases of fold 0; batch 2 of 32x32x32",
}

COST = """
## What each costs at its published size

One image of 256x256 or one volume of 64x64x64 (or the size that is named: the largest of those
tried that the network takes and that fits into memory), 1 channel, 3 classes, float32. FLOPs: one
forward pass, convolutions and matrix products, multiplication and addition apart. Seconds and peak
memory: one training step (forward, backward, SGD); memory as XLA's compiler plans it.
"""

SOURCE = """
Picture: CHASE_DB1 (Kingston University and St George's, University of London; Fraz et al. 2012),
CC-BY 4.0; Medical Segmentation Decathlon, Task04 Hippocampus (Vanderbilt University Medical Center;
Simpson et al. 2019, Antonelli et al. 2022), CC-BY-SA 4.0.
"""


def write(rows, root, pictures) -> None:
  """Writes docs/networks.md and docs/networks_{2,3}d.png."""
  text = HEAD.format(date=datetime.date.today(), jax=jax.__version__)
  for rank in (2, 3):
    text += _training(rows, rank)
    if sheet(rows, rank, root / "docs" / f"networks_{rank}d.png", pictures):
      text += f"\n![predictions](networks_{rank}d.png)\n"
  text += SOURCE
  if any(where.startswith("cost/") for where in rows):
    text += COST + _costs(rows, 2) + _costs(rows, 3)
  files.write_text(root / "docs" / "networks.md", text)


def _of(rows, verb, rank):
  start = f"{verb}/{rank}d/"
  return {where.removeprefix(start): row for where, row in rows.items() if where.startswith(start)}


def _training(rows, rank):
  lines = [
    f"\n### {rank}D: {DATA[rank]}\n",
    "| network | parameters | steps | s/step | loss, first 5 | loss, last 10 | Dice | one class |",
    "|---|---|---|---|---|---|---|---|",
  ]
  for name, row in _of(rows, "train", rank).items():
    if "failed" in row:
      lines.append(f"| `{name}` | {row['failed']} | | | | | | |")
      continue
    lines.append(
      f"| `{name}` | {row['parameters']:,} | {row['steps']} | {row['seconds_per_step']:.2f} "
      f"| {row['first_loss']:.3f} | {row['last_loss']:.3f} | {row['dice']:.3f} "
      f"| {row['one_class']:.3f} |"
    )
  return "\n".join(lines) + "\n"


def _costs(rows, rank):
  lines = [
    f"\n### {rank}D\n",
    "| network | parameters | size | GFLOPs | s/step | peak memory, GiB |",
    "|---|---|---|---|---|---|",
  ]
  for name, row in _of(rows, "cost", rank).items():
    if "failed" in row:
      lines.append(f"| `{name}` | {row['failed']} | | | | |")
      continue
    size = "x".join([str(row["size"])] * rank)
    lines.append(
      f"| `{name}` | {row['parameters']:,} | {size} | {row['gflops']:.1f} "
      f"| {row['seconds_per_step']:.2f} | {row['peak_gib']:.2f} |"
    )
  return "\n".join(lines) + "\n"


def sheet(rows, rank, path, pictures) -> bool:
  """One picture: image, label, each network's prediction with its name; False if none is there."""
  parts = []
  for name in _of(rows, "train", rank):
    file = pictures / f"{name}_{rank}d.npz"
    if file.exists():
      panel = Image.fromarray(np.load(file)["panel"])
      width = panel.width // 3
      if not parts:
        parts += [("image", panel.crop((0, 0, width, panel.height)))]
        parts += [("label", panel.crop((width, 0, 2 * width, panel.height)))]
      parts.append((name, panel.crop((2 * width, 0, panel.width, panel.height))))
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
