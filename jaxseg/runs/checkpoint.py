"""Checkpoints: written whole, proved by digests when read, addressed by run folder and learner.

A run folder holds `checkpoints/` (the latest two, so that a damaged one has a predecessor) and
`best/`. A checkpoint is a folder named by its step: the flat table of the state's arrays
(`state/`, by Orbax) and `note.json` with the digests of every file and of itself. Only what a
digest proves, or what is plainly missing, counts as damage; such a step is set aside under another
name and never deleted. Any other failure to read passes on and changes nothing.
"""

import contextlib
import hashlib
import json
import logging
import pathlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np

from jaxseg import files, paths, processes
from jaxseg.method import Learner, State
from jaxseg.runs import folder as run_folder
from jaxseg.runs import orbax_store

LATEST, BEST = "checkpoints", "best"
STATE, NOTE = "state", "note.json"
# where the note lay, and its fields, before it held the digests of the files
_OLD_NOTE = pathlib.Path("note", "metadata")
_OLD_FIELDS = {"arrays": dict, "digest": str, "step": int}
_SAVING, _REMOVING = ".saving-", ".removing-"


class Damaged(Exception):
  """A checkpoint whose bytes are provably not those that were written; one sentence, no stop."""


def flatten(tree) -> dict[str, jax.Array]:
  """A pytree as a flat table from path ("learners/network/params/...") to array."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {paths.of_leaf(keys): leaf for keys, leaf in leaves}


class Checkpoints:
  """The checkpoints of one kind in a run folder.

  Args:
    workdir: the run folder.
    kind: LATEST or BEST, the folder's name in it.
    keep: how many are kept.
  """

  def __init__(self, workdir, kind: str = LATEST, keep: int = 2):
    self.folder = pathlib.Path(workdir).resolve() / kind
    self._keep = keep

  @property
  def steps(self) -> list[int]:
    """Steps with a finished checkpoint, newest first; whether it is sound is not looked at."""
    return sorted((int(n) for n in self._names() if re.fullmatch("0|[1-9][0-9]*", n)), reverse=True)

  @property
  def aside(self) -> list[str]:
    """Names of the damaged checkpoints that were set aside."""
    return sorted(name for name in self._names() if ".damaged-" in name)

  def _names(self) -> list[str]:
    try:
      return [path.name for path in self.folder.iterdir() if path.is_dir()]
    except FileNotFoundError:
      return []

  def save(self, state: State, note: dict) -> None:
    """Writes the state under its step, reads it back, and drops those before the last ones kept.

    In a run of several processes all call it. Does nothing if the step has a checkpoint.

    Args:
      state: the state.
      note: what else is to be remembered; plain data for JSON.

    Raises:
      DiskFull: there is no room.
      OSError: it cannot be written, or does not read back.
    """
    flat = flatten(state)
    step = int(flat["step"])
    temporary = self.folder / f"{_SAVING}{step}"

    def begin() -> bool:
      if step in self.steps:
        self.prune(step)
        return False
      with files.full_disk_told(self.folder):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        orbax_store.check_room(temporary.parent, flat)
      return True

    def finish() -> None:
      arrays = {name: [str(a.dtype), list(a.shape)] for name, a in flat.items()}
      with files.full_disk_told(self.folder):
        whole = {**note, "step": step, "arrays": arrays, "orbax": orbax_store.version()}
        whole[run_folder.RUN] = run_folder.identity(self.folder.parent)
        _write_note(temporary, whole)
        # Orbax leaves the bytes to the system's memory
        files.flush(temporary)
        files.rename(temporary, self.folder / str(step))
      try:
        self.note(step)
      except Damaged as error:
        raise orbax_store.StorageError(temporary, "was not written whole", error) from error
      self.prune(step)

    try:
      if not processes.on_first(begin):
        return
      processes.together(lambda: orbax_store.write(temporary / STATE, flat))
      processes.on_first(finish)
    except BaseException:
      # on a full disk every byte counts
      shutil.rmtree(temporary, ignore_errors=True)
      raise

  def prune(self, newest: int) -> None:
    """Removes all but the step that counts as the newest, and those before it that are kept."""
    before = [step for step in self.steps if step < newest]
    for step in set(self.steps) - {newest, *before[: self._keep - 1]}:
      # under another name first: what is half removed must not look like a checkpoint
      gone = (self.folder / str(step)).rename(self.folder / f"{_REMOVING}{step}")
      shutil.rmtree(gone, ignore_errors=True)

  def tidy(self) -> None:
    """Removes what killed processes left half written or half removed; by the writer alone."""
    for name in self._names():
      if name.startswith((_SAVING, _REMOVING)) or ".orbax-checkpoint-tmp" in name:
        shutil.rmtree(self.folder / name, ignore_errors=True)

  def note(self, step: int) -> dict:
    """The note of a checkpoint.

    Raises:
      Damaged: it is missing, or not what was written.
      ValueError: it is another run's.
      OSError: it cannot be read for another reason.
    """
    folder = self.folder / str(step)
    with _reading(folder):
      old = not (folder / NOTE).exists() and (folder / _OLD_NOTE).exists()
      path = folder / (_OLD_NOTE if old else NOTE)
      words = {"what": "the note of a checkpoint", "advice": "it is damaged"}
      note = files.read_json(path, **words, fields=_OLD_FIELDS if old else {"digest": str})
      if old:
        _table(note)
    if not old and note["digest"] != _digest(note):
      raise Damaged(f"{path}: the note is not what was written.")
    if note["step"] != step:
      raise Damaged(f"{folder}: holds step {note['step']}, not that of its name.")
    owner = run_folder.identity(self.folder.parent)
    if None not in (owner, note.get(run_folder.RUN)) and note[run_folder.RUN] != owner:
      raise ValueError(
        f"{folder}: is a checkpoint of another run than {self.folder.parent / run_folder.DATASET} "
        "tells of; put the right one back, or remove it to go on without it."
      )
    return note

  def verify(self, step: int) -> dict:
    """The note of a checkpoint whose every file is as it was written; raises as `note`."""
    note = self.note(step)
    # earlier versions noted a digest of the arrays alone, see `read`
    for name, (size, digest) in note.get("files", {}).items():
      path = self.folder / str(step) / name
      with _reading(path):
        if path.stat().st_size != size:
          raise Damaged(f"{path}: has {path.stat().st_size} bytes, expected {size}.")
        if _file_digest(path) != digest:
          raise Damaged(f"{path}: its bytes are not those that were written.")
    return note

  def read(
    self, step: int, places: Mapping[str, jax.sharding.Sharding] | None = None
  ) -> tuple[dict[str, jax.Array], dict]:
    """The arrays, each where `places` says, and the note of a checkpoint that was verified.

    Without `places` all are on this process's first device.

    Raises:
      Damaged: one of an earlier version is not what was written.
      OSError: it cannot be read.
    """
    note = self.note(step)
    table, folder = _table(note), self.folder / str(step)
    if places is None:
      one = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
      places = dict.fromkeys(table, one)
    if "files" in note:
      return orbax_store.read(folder / STATE, table, places), note
    hosts = orbax_store.read(folder / STATE, table, dict.fromkeys(table))
    if _arrays_digest(hosts) != note["digest"]:
      raise Damaged(f"{folder}: its bytes are not those that were written.")
    return {name: _placed(array, places[name]) for name, array in hosts.items()}, note

  def arrays(self, step: int) -> dict[str, jax.Array]:
    """The verified flat table of a checkpoint on one device; raises as `verify` and `read`."""
    self.verify(step)
    return self.read(step)[0]

  def set_aside(self, step: int, reason: Damaged) -> None:
    """Renames a damaged checkpoint, to a name that is free, and warns."""
    number = 1
    while (self.folder / f"{step}.damaged-{number}").exists():
      number += 1
    kept = (self.folder / str(step)).rename(self.folder / f"{step}.damaged-{number}")
    logging.warning(
      "Damaged checkpoint, falling back to the one before: %s Kept as %s.", reason, kept.name
    )

  def newest_sound(self) -> int | None:
    """The newest step that is sound, None without checkpoints; sets damaged ones aside.

    Raises ValueError if all were damaged, now or earlier.
    """
    for step in self.steps:
      try:
        self.verify(step)
        return step
      except Damaged as error:
        self.set_aside(step, error)
    if self.aside:
      raise ValueError(
        f"{self.folder}: no checkpoint can be read; damaged ones were set aside as "
        f"{', '.join(self.aside)}. Restore one from a copy under its step's name, start again in "
        "a new --workdir, or delete them to train from the beginning."
      )
    return None


@contextlib.contextmanager
def _reading(path: pathlib.Path) -> Iterator[None]:
  """Tells damage, which is what is missing or malformed, from what keeps a file from being read."""
  try:
    yield
  except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
    raise Damaged(f"{error.filename or path}: is missing.") from error
  except OSError as error:
    where, reason = error.filename or path, error.strerror or error
    raise orbax_store.StorageError(where, "cannot be read now", reason) from error
  except (ValueError, TypeError) as error:
    raise Damaged(f"{orbax_store.one_line(error)}.") from error


def _write_note(folder: pathlib.Path, note: dict) -> None:
  """Adds to a note the digests of the files beside it and of itself, and writes it."""
  inside = sorted(path for path in folder.rglob("*") if path.is_file())
  digests = {
    path.relative_to(folder).as_posix(): [path.stat().st_size, _file_digest(path)]
    for path in inside
  }
  # as it comes back from JSON: a tuple is a list there
  note = json.loads(json.dumps({**note, "files": digests}))
  (folder / NOTE).write_text(json.dumps({**note, "digest": _digest(note)}, indent=2) + "\n")


def _digest(note: dict) -> str:
  """SHA-256 of a note without its own."""
  rest = {name: value for name, value in note.items() if name != "digest"}
  return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _file_digest(path: pathlib.Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _placed(array: np.ndarray, where: jax.sharding.Sharding) -> jax.Array:
  array = np.asarray(array)
  return jax.make_array_from_callback(array.shape, where, lambda index: array[index])


def _arrays_digest(flat: Mapping[str, np.ndarray]) -> str:
  """SHA-256 of names, types, shapes and bytes."""
  total = hashlib.sha256()
  for name in sorted(flat):
    array = np.asarray(flat[name])
    total.update(f"{name} {array.dtype} {array.shape}".encode())
    total.update(np.ascontiguousarray(array).tobytes())
  return total.hexdigest()


def _table(note: dict) -> dict[str, tuple]:
  """Name -> (dtype, shape) of a note's arrays."""
  return {name: (np.dtype(kind), tuple(shape)) for name, (kind, shape) in note["arrays"].items()}


def restore(checkpoints: Checkpoints, abstract: State, places: State) -> tuple[State, dict] | None:
  """The newest sound checkpoint as (state, note), or None if there is none.

  A damaged one is reported, set aside, and the one before it taken; in a run of several processes
  the first one decides for all.

  Args:
    checkpoints: those of a run.
    abstract: the state's structure and shapes.
    places: the sharding of each of its arrays, whatever it was when they were written.

  Raises:
    ValueError: all are damaged; or the checkpoint's arrays are not those of `abstract`: another
      network or optimiser.
    OSError: a sound one cannot be read.
  """
  while (step := processes.on_first(checkpoints.newest_sound)) is not None:
    try:
      shapes = {name: shape for name, (_, shape) in _table(checkpoints.note(step)).items()}
      check_shapes(shapes, abstract, str(checkpoints.folder / str(step)))
      flat, note = checkpoints.read(step, flatten(places))
    except Damaged as error:
      processes.on_first(lambda step=step, error=error: checkpoints.set_aside(step, error))
      continue
    return unflatten(flat, abstract, str(checkpoints.folder / str(step))), note
  return None


def unflatten(flat: dict[str, jax.Array], abstract, where: str):
  """The flat table in the structure of `abstract`; raises ValueError naming what differs."""
  check_shapes({name: array.shape for name, array in flat.items()}, abstract, where)
  return jax.tree_util.tree_unflatten(
    jax.tree_util.tree_structure(abstract), [flat[name] for name in flatten(abstract)]
  )


def check_shapes(shapes: Mapping[str, Sequence[int]], abstract, where: str) -> None:
  """Raises ValueError, naming what differs, unless a table holds the arrays of `abstract`."""
  expected = {name: tuple(array.shape) for name, array in flatten(abstract).items()}
  for name in sorted(set(expected) | set(shapes)):
    if name not in shapes:
      problem = f"lacks '{name}', which this config has"
    elif name not in expected:
      problem = f"holds '{name}', which this config lacks"
    elif tuple(shapes[name]) != expected[name]:
      problem = f"holds '{name}' of shape {tuple(shapes[name])}, this config needs {expected[name]}"
    else:
      continue
    raise ValueError(
      f"{where}: the checkpoint {problem}; the network or the optimiser was changed. "
      "Use the config that the run was started with, or a new --workdir."
    )


def load_learners(workdir, kind: str = LATEST) -> dict[str, Learner]:
  """The learners of a run folder, frozen; see `newest_learners`."""
  return newest_learners(workdir, kind)[1]


def newest_learners(workdir, kind: str = LATEST) -> tuple[int, dict[str, Learner]]:
  """The step of a run folder's newest sound checkpoint of a kind, and its learners, frozen.

  Raises as `newest`.
  """
  step, flat = newest(workdir, kind)
  learners = paths.unflatten(flat)["learners"]
  return step, {
    name: Learner(found["params"], found.get("stats", {}), ()) for name, found in learners.items()
  }


def newest(workdir, kind: str = LATEST) -> tuple[int, dict[str, jax.Array]]:
  """The step and the flat table of a run folder's newest sound checkpoint of a kind.

  Nothing in the folder is changed, damaged or not.

  Raises:
    FileNotFoundError: there is no sound one.
    OSError: a sound one cannot be read.
  """
  folder = pathlib.Path(workdir)
  if not (folder / kind).is_dir():
    raise FileNotFoundError(
      f"{folder / kind}: no checkpoint there; give the folder of a run (train.py's --workdir)."
    )
  checkpoints, problem = Checkpoints(workdir, kind), "none was finished"
  for step in checkpoints.steps:
    try:
      checkpoints.verify(step)
      return step, checkpoints.read(step)[0]
    except Damaged as error:
      problem = str(error).rstrip(".")
      logging.warning("Damaged checkpoint, falling back to the one before: %s", error)
  raise FileNotFoundError(f"{folder / kind}: no readable checkpoint there ({problem}).")
