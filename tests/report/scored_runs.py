"""Hand-written run folders: what a report reads, without any training."""

import json
import pathlib

import numpy as np

from jaxseg.report.views import Views, save

CONFIG = {
  "seed": 0,
  "steps": 7,
  "network": {"name": "unet", "widths": [4, 8]},
  "loss": {"dice": {"name": "dice", "weight": 1.0}},
  "optimiser": {"name": "adamw", "learning_rate": 0.001},
  "augment": {"mirror": {}},
  "predictor": {"name": "sliding_window"},
  "data": {
    "source": {"name": "phantom"},
    "split": {"name": "kfold", "fold": 0, "folds": 2},
    "patch": [16, 16],
    "batch": 2,
  },
}
LABELS = ("dim", "bright <b>")


def write(folder: pathlib.Path, cases: dict, *, fold: int = 0, complete: bool = True, **changes):
  """A run folder; `cases` is name -> (Dice of dim, Dice of bright), None where undefined."""
  folder.mkdir(parents=True)
  config = json.loads(json.dumps(CONFIG | changes))
  config["data"]["split"]["fold"] = fold
  dataset = {"channels": ["brightness"], "rank": 2, "training": ["a"], "validation": list(cases)}
  versions = {"packages": {"jax": "1"}, "python": "3", "git": None, "devices": ["cpu"]}
  for name, told in (("config", config), ("dataset", dataset), ("versions", versions)):
    (folder / f"{name}.json").write_text(json.dumps(told))
  rows = [{"step": 1, "loss": 2.0}, {"step": 7, "loss": 1.0, "validation/dice": 0.5}]
  (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  scored = {
    name: {
      "own": {"dice": dict(zip(LABELS, values, strict=True)), "hd95": dict.fromkeys(LABELS, 1)}
    }
    for name, values in cases.items()
  }
  told = {"step": 7, "complete": complete, "labels": LABELS, "cases": scored}
  (folder / "validation").mkdir()
  (folder / "validation" / "scores.json").write_text(json.dumps(told))
  shown = Views(
    image=np.zeros((1, 8, 8, 1), np.uint8),
    label=np.eye(8, dtype=np.uint8)[None],
    prediction=np.zeros((1, 8, 8), np.uint8),
    slice_of=np.zeros(2, int),
    names=np.array(["slice 1 of 1"]),
    spacing=np.ones(2, np.float32),
  )
  for name in cases:
    save(folder / "validation" / "views", name, shown)
  return folder
