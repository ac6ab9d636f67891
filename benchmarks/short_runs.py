"""Short trainings for comparisons: a budget, figures and a picture; rows that survive a stop."""

import json
import os
import pathlib
import subprocess
import sys
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# the seeds of a run share its program
os.environ.setdefault(
  "JAX_COMPILATION_CACHE_DIR", str(pathlib.Path(__file__).parents[1] / "runs" / ".jax_cache")
)

from jaxseg import files

ROOT = pathlib.Path(__file__).parents[1]
SECONDS = 2 * 120  # of processor time: two minutes of two cores
PATIENCE = 1800  # wall seconds that a measurement may take


def short_run(
  config, picture: pathlib.Path, metrics: dict | None = None, seconds: float = SECONDS
) -> dict:
  """Trains for the config's steps or `seconds`, whichever ends first, and scores the watched cases.

  Args:
    config: of an experiment.
    picture: .npz file for a picture image | label | prediction ("panel").
    metrics: name -> metric, besides Dice.
    seconds: of processor time.

  Returns:
    A row: parameters, steps, cpu_seconds_per_step, first_loss, last_loss, dice, one_class (the
    best prediction that gives every voxel the same class), cases, and `metrics`' means.
  """
  import jax
  import numpy as np

  from jaxseg import sharding
  from jaxseg.data.stream import Feeder
  from jaxseg.evaluation.while_training import validate
  from jaxseg.experiment import experiment
  from jaxseg.step import compile_step

  run = experiment(config)
  feeder = Feeder(run.streams, cache="device")
  store = feeder.store()
  step = compile_step(run, feeder.element(0), store)
  seed = np.uint32(config.seed)
  state = step.init(seed)
  store = sharding.place(store, run.layout.replicated)
  losses, begun = [], None
  for number in range(config.steps):
    element = sharding.place(feeder.element(number), run.layout.split)
    state, told = step.train(state, store, element, seed)
    losses.append(float(told["loss"]))
    if begun is None:
      begun = time.process_time()  # without compilation
    elif time.process_time() - begun > seconds:
      break
  spent = time.process_time() - begun
  task = run.task._replace(metrics={**run.task.metrics, **(metrics or {})})
  scores = validate(run._replace(task=task), step.apply, state, run.watched)
  picture.parent.mkdir(parents=True, exist_ok=True)
  with files.replacing(picture) as temporary, open(temporary, "wb") as file:
    np.savez_compressed(file, panel=scores.panels[0])
  ends = [float(np.mean(part)) for part in (losses[:5], losses[-10:])]
  return {
    "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.learners["network"].params)),
    "steps": len(losses),
    "cpu_seconds_per_step": spent / max(1, len(losses) - 1),
    "first_loss": ends[0],
    "last_loss": ends[1],
    "dice": scores.mean,
    "one_class": _one_class(run),
    "cases": len(run.watched),
    **{name: float(np.mean(list(scores.of(name).values()))) for name in metrics or {}},
  }


def _one_class(run) -> float:
  """Mean Dice of the best prediction that gives every voxel the same class."""
  import numpy as np

  classes = range(1, run.main.dataset.labels.channels)
  best = 0.0
  for everywhere in classes:
    dice = []
    for index in run.watched:
      truth = run.main.dataset.load(index)["label"]
      share = np.mean(truth == everywhere)
      dice.append(2 * share / (1 + share) / len(classes))
    best = max(best, float(np.mean(dice)))
  return best


def in_own_process(script: str, *arguments: str) -> dict:
  """The row that a script prints in its last line; {"failed": why} where it doesn't."""
  command = [sys.executable, script, *arguments]
  try:
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT)
  except subprocess.TimeoutExpired:
    return {"failed": f"not done after {PATIENCE} s"}
  if ended.returncode:
    words = ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"]
    return {"failed": words[-1][:300]}
  return json.loads(ended.stdout.strip().splitlines()[-1])


def rows(path: pathlib.Path) -> dict[str, dict]:
  """The rows measured so far."""
  return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def keep(path: pathlib.Path, where: str, row: dict) -> None:
  """Adds a row; the file is read again, because another process may have added some meanwhile."""
  print(where, row, flush=True)
  files.write_json(path, {**rows(path), where: row})
