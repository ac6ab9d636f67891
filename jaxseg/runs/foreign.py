"""Run folders of models that were trained elsewhere: what training would have left of them."""

import json
import math
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxseg import files, paths
from jaxseg.compose import method, networks_by_role
from jaxseg.method import Learner, State
from jaxseg.packages import OnDemand
from jaxseg.runs import checkpoint
from jaxseg.runs import folder as run_folder
from jaxseg.runs.load import abstract_state, task_of

ml_collections = OnDemand("ml_collections")
NETWORK = "network"
# with it `train` goes on, or starts anew with what the command line changes
_CONFIG = '''"""The config of the run that lies beside, whose config.json holds its fields."""

import pathlib

from jaxseg.runs.foreign import config_of


def get_config():
  return config_of(pathlib.Path(__file__).parent)
'''


def config_of(folder) -> "ml_collections.ConfigDict":
  """The config of a run folder, to train with; raises FileNotFoundError or ValueError."""
  return ml_collections.ConfigDict(run_folder.read_config(folder), type_safe=False)


def shapes(told: run_folder.Described) -> State:
  """The state of a run that is described so, without its values: structure, shapes and types.

  Raises ValueError in words where its network or method cannot be built.
  """
  nets = networks_by_role(told.config, task_of(told).channels)
  scheme = method(told.config, nets, regions=told.labels.regions is not None)
  return abstract_state(scheme, told)


def weight_shapes(abstract: State) -> dict[str, tuple[int, ...]]:
  """Path -> shape, of all that `state` needs."""
  learner = abstract.learners[NETWORK]
  leaves = paths.flatten(paths.merge(learner.params, *learner.stats.values()))
  return {path: tuple(leaf.shape) for path, leaf in leaves.items()}


def state(
  abstract: State,
  weights: Mapping[str, np.ndarray],
  *,
  step: int,
  momentum: Mapping[str, np.ndarray] | None = None,
) -> State:
  """A state with these weights after so many steps; schedules go on from there.

  Args:
    abstract: as `shapes` gives it.
    weights: path -> array, of all parameters and statistics of the learner "network".
    step: trained steps.
    momentum: path -> array of the optimiser's trace; zeros where it is left out.
  """
  learner, momentum = abstract.learners[NETWORK], momentum or {}

  def filled(keys, leaf):
    path = paths.of_leaf(keys)
    return np.asarray(weights[path], leaf.dtype).reshape(leaf.shape)

  def resting(keys, leaf):
    path = paths.of_leaf(keys)
    if path.rpartition("/")[2] == "count":
      return np.full(leaf.shape, step, leaf.dtype)
    trace = momentum.get(path.rpartition("trace/")[2], 0) if "trace/" in path else 0
    return np.broadcast_to(np.asarray(trace, leaf.dtype), leaf.shape)

  own = Learner(
    jax.tree_util.tree_map_with_path(filled, learner.params),
    {kind: jax.tree_util.tree_map_with_path(filled, tree) for kind, tree in learner.stats.items()},
    jax.tree_util.tree_map_with_path(resting, learner.opt_state),
  )
  learners = {**abstract.learners, NETWORK: own}
  return abstract.replace(step=np.asarray(step, abstract.step.dtype), learners=learners)


def write(
  folder,
  told: run_folder.Described,
  latest: State,
  *,
  best: State | None = None,
  training: tuple[str, ...] = (),
  validation: tuple[str, ...] = (),
  beside: Mapping[str, Any] | None = None,
) -> None:
  """Writes a run folder that predicts, goes on, and gives its weights to others.

  `config.py` in it is a config file for `train`.

  Args:
    folder: a new one.
    told: its config, complete, and what its data are.
    latest, best: the states of its checkpoints.
    training, validation: names of the cases, () where they are not known: such a run is begun
      anew from its weights, it doesn't go on.
    beside: name of a further file -> its JSON.

  Raises ValueError where something lies in the folder, DiskFull where there is no room.
  """
  folder = pathlib.Path(folder).absolute()
  if folder.is_dir() and any(folder.iterdir()):
    raise ValueError(f"{folder}: is not empty; choose another folder, or remove what is in it.")
  files.writable_folder(folder.parent, "--output")
  labels = json.loads(told.labels.to_json())
  dataset = {"labels": labels, "preparation": json.loads(told.preparation.to_json())}
  # nobody looked how the training scans lie; what a run says later is no contradiction
  dataset["preparation"].pop("seen")
  dataset |= {"channels": told.channels, "rank": told.rank}
  dataset |= {"training": training, "validation": validation, "content": {}}
  # whole or not at all
  part = folder.with_name(f".{folder.name}.part")
  shutil.rmtree(part, ignore_errors=True)
  try:
    part.mkdir()
    # the checkpoints name the run that they are of
    run_folder.write_new(part, told.config, dataset)
    files.write_text(part / "config.py", _CONFIG)
    for name, value in (beside or {}).items():
      files.write_json(part / name, value)
    for kind, of in {checkpoint.LATEST: latest, checkpoint.BEST: best}.items():
      if of is not None:
        # judged elsewhere by another measure: the search for the best starts anew
        note = {"best": math.nan, "metric": "dice", "pending": []}
        checkpoint.Checkpoints(part, kind).save(jax.device_put(of), note)
    files.rename(part, folder)
  finally:
    shutil.rmtree(part, ignore_errors=True)
