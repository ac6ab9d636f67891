"""What is said of made cases as one HTML page that needs nothing else, with pictures."""

import math
from typing import Any

import numpy as np

from jaxseg.evaluation.synthetic import Judged, Windows
from jaxseg.inference import pictures
from jaxseg.report import plots
from jaxseg.report.page import TEMPLATES, png, svg

_SHOWN, _HEIGHT = 16, 128


def page(judged: Judged, title: str, facts: dict[str, str]) -> str:
  """The whole page; `facts` are lines about the runs."""
  numbers = judged.numbers
  return TEMPLATES.get_template("synthetic.html.j2").render(
    title=title,
    cards=_cards(numbers),
    facts=facts,
    passed=numbers["copies"]["passed"],
    limit=numbers["copies"]["limit"],
    tables=_tables(numbers),
    areas=[svg(plots.histograms(name, *of)) for name, of in judged.areas.items()],
    sheets={
      "made": png(_sheet(judged.made)),
      "real, training cases": png(_sheet(judged.real)),
    },
    copies=[_copy(judged, number) for number in range(len(judged.copies))],
  )


def _cards(numbers: dict[str, Any]) -> list[dict[str, str]]:
  of, dice = numbers["verdict"], numbers["diversity"]
  cards = [
    (_percent(of["new_critic"]["pairs"]), "a new critic is right", "50 %: it cannot tell"),
    (f"{dice.get('pairwise_dice_made', float('nan')):.3f}", "Dice of pairs of made maps",
     f"of real ones {dice.get('pairwise_dice_training', float('nan')):.3f}"),
    (_dice(numbers["copies"]["largest_dice"]), "largest Dice with a training case",
     "no copy" if numbers["copies"]["passed"] else "a copy"),
  ]  # fmt: skip
  if "features" in numbers:
    like = numbers["features"]
    real = f"of unseen real ones {like['held_out_to_training']:.3g}"
    cards.append((f"{like['made_to_training']:.3g}", "Frechet distance to training", real))
  return [dict(zip(("value", "what", "more"), card, strict=True)) for card in cards]


def _dice(value: float) -> str:
  return "-" if math.isnan(value) else f"{value:.3f}"


def _percent(share: float) -> str:
  return f"{100 * share:.0f} %"


def _tables(numbers: dict[str, Any]) -> list[dict[str, Any]]:
  """Title, heads and rows of each table."""
  of, copies = numbers["verdict"], numbers["copies"]
  heads = ["asked", "each score", "each pair"]
  named = {
    "new_critic": "a new critic, pairs that it has not seen",
    "new_critic_on_what_it_learnt": "a new critic, pairs that it has learnt from",
    "own_critic": "the critic that the images were trained against",
  }
  critics = [
    [words, *(_percent(of[key][kind]) for kind in ("scores", "pairs"))]
    for key, words in named.items()
    if key in of
  ]
  areas = [
    [name, *(f"{100 * row[kind]:.2f} %" for kind in ("training", "made", "earth_movers_distance"))]
    for name, row in numbers["areas"].items()
  ]
  leak = [
    ["largest Dice with a training case", _dice(copies["largest_dice"])],
    ["mean of it", _dice(copies["mean_dice"])],
    ["samples without foreground, which have none", str(copies["empty"])],
    ["mean distance of images to the nearest of training", f"{copies['mean_image_distance']:.1f}"],
    [
      "that of images of unseen cases",
      f"{copies['mean_image_distance_of_unseen_cases']:.1f}",
    ],
    ["smallest distance", f"{copies['smallest_image_distance']:.1f}"],
  ]
  return [
    {"title": "The critics' verdict: share of right answers", "heads": heads, "rows": critics},
    {
      "title": "Area of each class, mean share of the voxels",
      "heads": ["class", "training", "made", "earth mover's distance"],
      "rows": areas,
    },
    {
      "title": f"Nearest training cases of {copies['samples']} samples",
      "heads": ["", "value"],
      "rows": leak,
    },
  ]


def _sheet(windows: Windows) -> np.ndarray:
  """The first label maps above their images, in rows of eight."""
  rows, count = [], min(_SHOWN, len(windows.labels))
  for first in range(0, count, 8):
    part = range(first, min(first + 8, count))
    rows.append(_row([_map(windows.labels[i]) for i in part]))
    rows.append(_row([_picture(windows.images[i]) for i in part]))
  return pictures.stack(rows)


def _copy(judged: Judged, number: int) -> dict[str, Any]:
  """A sample and the nearest training windows, side by side."""
  row = judged.copies[number]
  tiles = [_map(judged.made.labels[number]), _map(row["mask"])]
  tiles += [_picture(judged.made.images[number]), _picture(row["image"])]
  words = f"Dice {_dice(row['dice'])} ({row['mask_case']}), distance {row['distance']:.1f}"
  return {"png": png(_row(tiles)), "words": f"{words} ({row['image_case']})"}


def _map(label: np.ndarray) -> np.ndarray:
  return _enlarged(pictures.colour(_flat(label, 0)))


def _picture(image: np.ndarray) -> np.ndarray:
  return _enlarged(pictures.grey(_flat(image, 1).astype(np.float32)))


def _flat(array: np.ndarray, channels: int) -> np.ndarray:
  """The middle slice of a volume."""
  return array[len(array) // 2] if array.ndim - channels == 3 else array


def _enlarged(tile: np.ndarray) -> np.ndarray:
  factor = max(1, round(_HEIGHT / tile.shape[0]))
  return np.repeat(np.repeat(tile, factor, 0), factor, 1)


def _row(tiles: list[np.ndarray]) -> np.ndarray:
  gap = np.full((tiles[0].shape[0], 4, 3), 255, np.uint8)
  return np.concatenate([part for tile in tiles for part in (tile, gap)][:-1], 1)
