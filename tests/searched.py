"""A small config to be searched: phantoms, a tiny network, few steps; trials that take no time."""

import pathlib
from typing import Any

import numpy as np

from jaxseg import defaults, files
from jaxseg.search import search
from jaxseg.search.plan import plan
from jaxseg.search.trials import Runner

RATE = dict(low=1e-4, high=1e-1, log=True)
# what `fake` ones were asked for, as "0@6"
MADE: list[str] = []


def config(folder, **search: Any):
  """The config, its data prepared in `folder`; `search` is config.search beside the space."""
  made = defaults.config()
  made.steps = 6
  made.network = dict(name="unet", widths=(4, 8), depth=1, decoder_depth=1)
  made.data.source = dict(name="phantom", cases=10, size=(32, 32))
  made.data.split = dict(name="kfold", fold=0, folds=5)
  made.data.patch = (16, 16)
  made.data.batch = 2
  made.data.folder = str(folder / "prepared")
  made.data.workers = 1
  made.log_every = 2
  made.checkpoint_every = 3
  made.search = dict(space=dict(optimiser=dict(learning_rate=RATE)), **search)
  return made


def scored_by(config) -> float:
  """A made score: best at a rate of 1e-2, and the better the longer it is trained."""
  return -abs(np.log10(config["optimiser"]["learning_rate"]) + 2)


def fake(
  monkeypatch,
  *,
  code=lambda number: 0,
  seconds=30.0,
  score=scored_by,
  says=lambda number: "ValueError: the loss is NaN\n",
):
  """Trials that take no time: what they would be asked is noted in MADE."""
  MADE.clear()

  def process(self, request, log, cores, gpu):
    told = files.read_json(request, what="a request", advice="none")
    number = int(pathlib.Path(told["folder"]).name)
    MADE.append(f"{number}@{told['until']}")
    with open(log, "a") as out:
      out.write(says(number))
    ended = code(number)
    if ended == 0:
      value = score(told["config"]) + 0.01 * told["until"]
      files.write_json(told["output"], {"score": value})
    return ended, seconds

  monkeypatch.setattr(Runner, "_process", process)


def run(folder, config, **options):
  lines: list[str] = []
  best = search.search(plan(config), folder, say=lines.append, **options)
  return best, lines


def rows(folder):
  return files.read_json(folder / "trials.json", what="rows", advice="none")
