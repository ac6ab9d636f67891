"""Run folders as training leaves them, made without training: the weights before a first step."""

import dataclasses

import numpy as np
import tiny
from drawn_states import state_of

from jaxseg.runs import checkpoint
from jaxseg.runs import folder as run_folder


def write(folder, *, seed=0, rank=2, prior=0, seen=None, normalisation=None, **changes):
  """A run folder with a checkpoint of random weights.

  `changes` are as for `tiny.experiment`; `prior` is the number of a first stage's classes,
  `seen` are the orientations of the training scans, `normalisation` is the only channel's scheme.
  """
  changes = {"seed": seed, "data.source": {"name": "phantom"}, **changes}
  run = tiny.experiment(rank=rank, **changes)
  how = {"seen": seen} | ({"normalisation": (normalisation,)} if normalisation else {})
  preparation = dataclasses.replace(run.main.dataset.preparation, **how)
  run = tiny.with_dataset(run, preparation=preparation)
  folder.mkdir(parents=True, exist_ok=True)
  run_folder.record(folder, run)
  batch = {"image": np.zeros((1, *run.patch, 1), np.float32)}
  if prior:
    batch["prior"] = np.zeros((1, *run.patch, prior), np.float32)
  state = state_of(run.method, batch, seed=seed)
  keeper = checkpoint.Checkpoints(folder, checkpoint.LATEST)
  keeper.save(state, {})
  return folder
