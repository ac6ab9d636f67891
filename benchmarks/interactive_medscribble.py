"""MedScribble: scribbles of three annotators on images of six tasks, one of which is left out."""

import pathlib
import runpy
from collections.abc import Sequence

import numpy as np
from run_rows import ROOT

from jaxseg.data.sources.source import natural
from jaxseg.evaluation.interactive import quality
from jaxseg.feeding import source_of
from jaxseg.interaction import session
from jaxseg.runs.folder import read_config, read_dataset
from jaxseg.runs.interactive import Run, open_run

CONFIG = "configs/interactive_medscribble.py"
STORED = ROOT / ".." / "shared" / "data" / "medscribble"
# clicks in place of a scribble
POINTS = 8
TASKS = ("acdc", "btcv", "chaos", "oasis", "octa500", "stare")


def methods() -> Sequence[str]:
  """The methods of the config; () where it is not there."""
  path = ROOT / CONFIG
  return tuple(runpy.run_path(str(path))["METHODS"]) if path.is_file() else ()


def config(method: str, fold: int, protocol: str) -> str:
  """What train.py is given to leave out the task of that number."""
  return f"{CONFIG}:{method},without={TASKS[fold]},protocol={protocol}"


def is_of(config) -> bool:
  """Whether a run's config is of these."""
  return "medscribble" in str(config["data"]["source"].get("images", ""))


def scribbles(case: str) -> np.ndarray:
  """(annotators, 2, *space) bool: what each drew of the object, and of what it is not.

  Pixels with both are of neither: they contradict one another.
  """
  with np.load(STORED / f"{case}.npz") as of:
    drawn = of["scribbles"]
  return drawn & ~drawn.all(1, keepdims=True)


def prompts(drawn: np.ndarray, kinds: Sequence[str]) -> list[dict]:
  """(2, *space) of one annotator -> prompts: painted voxels of foreground and background.

  A run that takes no strokes is given clicks on them, `POINTS` of each class, evenly chosen.
  """
  made = []
  for of, mask in ((1, drawn[0]), (0, drawn[1])):
    voxels = np.argwhere(mask)
    if "stroke" in kinds and len(voxels):
      made.append({"class": of, "voxels": voxels.tolist()})
    elif len(voxels):
      chosen = np.unique(np.linspace(0, len(voxels) - 1, POINTS).round().astype(int))
      made += [{"class": of, "point": voxel} for voxel in voxels[chosen].tolist()]
  return made


def scored(folder: pathlib.Path) -> dict:
  """Dice of each unseen case without a prompt and with each annotator's scribbles.

  case -> {"none": Dice, "annotators": [Dice of each]}; the object is class 1.
  """
  run = open_run(folder)
  names = read_dataset(folder, {"validation": list})["validation"]
  source = source_of(read_config(folder))
  return {name: _case(run, source.read(name), name) for name in sorted(names, key=natural)}


def _case(run: Run, raw, name: str) -> dict:
  truth, _ = run.labels.encode(raw.label, name)
  scan = run.scan(raw._replace(label=None, weight=None), f"case '{name}'")

  def dice(state) -> float:
    (value,) = quality(session.classes(scan, state), truth, None, scan.names)["dice"].values()
    return value

  state = session.start(scan)
  said = [prompts(drawn, scan.kinds) for drawn in scribbles(name)]
  each = [session.add(scan, state, of) if of else state for of in said]
  return {"none": dice(state), "annotators": [dice(of) for of in each]}
