"""Checkpoints: saved whole by Orbax, verified when read, addressed by run folder and learner.

A run folder holds `checkpoints/` (the latest two, so that a damaged one has a predecessor) and
`best/`. A checkpoint is the flat table of the state's arrays, plus a JSON note with the digest of
their bytes.
"""

import hashlib
import logging
import pathlib

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import traverse_util

from jaxseg.method import Learner, State

LATEST, BEST = "checkpoints", "best"


class Damaged(Exception):
  """A checkpoint that cannot be read or whose bytes are not those that were written."""


def flatten(tree) -> dict[str, jax.Array]:
  """A pytree as a flat table from path ("learners/network/params/...") to array."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def digest(flat: dict[str, jax.Array]) -> str:
  """SHA-256 of names, types, shapes and bytes."""
  total = hashlib.sha256()
  for name in sorted(flat):
    array = np.asarray(flat[name])
    total.update(f"{name} {array.dtype} {array.shape}".encode())
    total.update(np.ascontiguousarray(array).tobytes())
  return total.hexdigest()


class Checkpoints:
  """The checkpoints of one kind in a run folder."""

  def __init__(self, workdir, kind: str = LATEST, keep: int = 2, *, create: bool = True):
    self.folder = pathlib.Path(workdir).resolve() / kind
    options = ocp.CheckpointManagerOptions(
      max_to_keep=keep, create=create, enable_async_checkpointing=False
    )
    self._manager = ocp.CheckpointManager(self.folder, options=options)

  @property
  def steps(self) -> list[int]:
    """Steps with a finished checkpoint, newest first."""
    return sorted(self._manager.all_steps(), reverse=True)

  def save(self, state: State, note: dict) -> None:
    """Writes the state under its step; Orbax writes to a temporary name and renames."""
    flat = flatten(state)
    step = int(flat["step"])
    if step in self.steps:
      return
    note = {**note, "step": step, "digest": digest(flat)}
    note["arrays"] = {name: [str(a.dtype), list(a.shape)] for name, a in flat.items()}
    self._manager.save(
      step,
      args=ocp.args.Composite(state=ocp.args.StandardSave(flat), note=ocp.args.JsonSave(note)),
    )
    self._manager.wait_until_finished()

  def note(self, step: int) -> dict:
    """The JSON note of a checkpoint; raises Damaged."""
    try:
      restored = self._manager.restore(step, args=ocp.args.Composite(note=ocp.args.JsonRestore()))
      return restored["note"]
    except Exception as error:  # Orbax raises many kinds for one cause: unreadable files
      raise Damaged(f"{self.folder / str(step)}: the note cannot be read ({error}).") from error

  def arrays(self, step: int, sharding=None) -> dict[str, jax.Array]:
    """The verified flat table of a checkpoint; raises Damaged."""
    note = self.note(step)
    sharding = sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = {
      name: jax.ShapeDtypeStruct(tuple(shape), np.dtype(dtype), sharding=sharding)
      for name, (dtype, shape) in note["arrays"].items()
    }
    try:
      restored = self._manager.restore(
        step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
      )["state"]
    except Exception as error:  # as above
      raise Damaged(f"{self.folder / str(step)}: cannot be read ({error}).") from error
    if digest(restored) != note["digest"]:
      raise Damaged(f"{self.folder / str(step)}: its bytes are not those that were written.")
    return restored

  def delete(self, step: int) -> None:
    self._manager.delete(step)

  def close(self) -> None:
    self._manager.close()


def restore(checkpoints: Checkpoints, abstract: State, sharding) -> tuple[State, dict] | None:
  """The newest sound checkpoint as (state, note), or None if there is none.

  A damaged one is reported, set aside, and the one before it taken.

  Raises:
    ValueError: the checkpoint's arrays are not those of `abstract`: another network or optimiser.
  """
  steps = checkpoints.steps
  for step in steps:
    try:
      flat = checkpoints.arrays(step, sharding)
      note = checkpoints.note(step)
    except Damaged as error:
      logging.warning("Damaged checkpoint, falling back to the one before: %s", error)
      checkpoints.delete(step)
      continue
    return unflatten(flat, abstract, str(checkpoints.folder / str(step))), note
  if steps:
    raise ValueError(
      f"{checkpoints.folder}: none of the checkpoints {steps} can be read; "
      "start again in a new --workdir, or delete this folder to train from the beginning."
    )
  return None


def unflatten(flat: dict[str, jax.Array], abstract, where: str):
  """The flat table in the structure of `abstract`; raises ValueError naming what differs."""
  wanted = flatten(abstract)
  for name in sorted(set(wanted) | set(flat)):
    if name not in flat:
      problem = f"lacks '{name}', which this config has"
    elif name not in wanted:
      problem = f"holds '{name}', which this config lacks"
    elif tuple(flat[name].shape) != tuple(wanted[name].shape):
      problem = (
        f"holds '{name}' of shape {tuple(flat[name].shape)}, "
        f"this config needs {tuple(wanted[name].shape)}"
      )
    else:
      continue
    raise ValueError(
      f"{where}: the checkpoint {problem}; the network or the optimiser was changed. "
      "Use the config that the run was started with, or a new --workdir."
    )
  return jax.tree_util.tree_unflatten(
    jax.tree_util.tree_structure(abstract), [flat[name] for name in wanted]
  )


def load_learners(workdir, kind: str = LATEST) -> dict[str, Learner]:
  """The learners of a run folder, frozen, from its newest sound checkpoint of a kind.

  Raises FileNotFoundError if there is none.
  """
  folder = pathlib.Path(workdir)
  if not (folder / kind).is_dir():
    raise FileNotFoundError(
      f"{folder / kind}: no checkpoint there; give the folder of a run (train.py's --workdir)."
    )
  checkpoints = Checkpoints(workdir, kind, create=False)
  problem = "none was finished"
  for step in checkpoints.steps:
    try:
      flat = checkpoints.arrays(step)
    except Damaged as error:
      problem = error
      logging.warning("Damaged checkpoint, falling back to the one before: %s", error)
      continue
    learners = traverse_util.unflatten_dict(flat, sep="/")["learners"]
    return {
      name: Learner(found["params"], found.get("stats", {}), ()) for name, found in learners.items()
    }
  raise FileNotFoundError(f"{folder / kind}: no readable checkpoint there ({problem}).")


def load_learner(workdir, name: str = "network", kind: str = LATEST) -> Learner:
  """One learner of a run folder, frozen: a teacher, a cascade stage, a start for fine-tuning.

  Raises FileNotFoundError if the folder holds no checkpoint, ValueError for an unknown name.
  """
  learners = load_learners(workdir, kind)
  if name not in learners:
    raise ValueError(f"{workdir}: no learner '{name}'; it holds {', '.join(sorted(learners))}.")
  return learners[name]
