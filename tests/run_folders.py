"""Run folders as training leaves them, made without training: the weights before a first step."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import tiny
from drawn_states import state_of

from jaxseg.data.stream import Feeder
from jaxseg.runs import checkpoint
from jaxseg.runs import folder as run_folder
from jaxseg.step import batch_of


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
  batch = {"image": np.zeros((1, *run.patch, 1), np.float32)}
  if prior:
    batch["prior"] = np.zeros((1, *run.patch, prior), np.float32)
  return leave(folder, run, batch, seed=seed)


def leave(folder, run, batch=None, *, step=0, seed=0):
  """The folder of an experiment with a checkpoint of random weights, as of that step."""
  folder.mkdir(parents=True, exist_ok=True)
  run_folder.record(folder, run)
  state = state_of(run.method, batch or _shapes(run), seed=seed)
  state = state.replace(step=jnp.int32(step))
  checkpoint.Checkpoints(folder, checkpoint.LATEST).save(state, {})
  return folder


def back_at(step, whole, folder):
  """A copy of a run folder whose newest checkpoint is of that step, as if killed after it."""
  shutil.copytree(whole, folder)
  kept = checkpoint.Checkpoints(folder)
  assert step in kept.steps
  for later in kept.steps[: kept.steps.index(step)]:
    shutil.rmtree(kept.folder / str(later))
  return folder


def _shapes(run):
  """Of what its method is given."""
  feeder = Feeder(run.streams, cache="disk")
  keys = dict.fromkeys(run.streams, jax.random.key(0))
  make = batch_of(run, run.layout.mesh)
  return jax.eval_shape(make, feeder.store(), feeder.element(0), keys)
