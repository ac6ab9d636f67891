"""Runs packed into one file for jaxseg itself: what prediction needs, without optimisers.

The file is a zip of run folders as they lie on disk, a cascade's first stage among them. It holds
weights and a config, no program, so that it does not expire: every version of jaxseg that reads the
run folder reads the file.
"""

import contextlib
import json
import pathlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence

import jax.numpy as jnp

from jaxseg import files
from jaxseg.inference import postprocessing
from jaxseg.interop.exports import artefact
from jaxseg.interop.exports.artefact import ADVICE
from jaxseg.method import Learner, State
from jaxseg.runs import checkpoint, first_stage
from jaxseg.runs import folder as run_folder
from jaxseg.runs.checkpoint import Checkpoints

NAME = "saved"
_WHAT = "a file of jaxseg export-model --format saved"
_OF_A_NOTE = {"step", "arrays", "orbax", "files", "digest", run_folder.RUN}


def write(path, folders: Sequence[pathlib.Path]) -> dict:
  """Writes the file and returns what it tells of itself; raises as `runs.load.load`."""
  homes = _homes(folders)
  told = artefact.description(NAME, lasts=True)
  told |= {
    "runs": [place for place, _ in homes],
    "packed": [place for place, _ in _with_first(homes)],
  }
  with tempfile.TemporaryDirectory() as scratch:
    for place, folder in _with_first(homes):
      _pack(folder, pathlib.Path(scratch) / place)
    for place, folder in homes:
      steps = run_folder.home(folder) / postprocessing.FILE
      own = run_folder.home(pathlib.Path(scratch) / place) / postprocessing.FILE
      if steps.is_file() and not own.exists():
        shutil.copyfile(steps, own)
    with files.replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
      archive.writestr(artefact.TOLD, json.dumps(told, indent=2))
      for file in sorted(pathlib.Path(scratch).rglob("*")):
        if file.is_file():
          archive.write(file, file.relative_to(scratch).as_posix())
  return told


def _homes(folders: Sequence[pathlib.Path]) -> list[tuple[str, pathlib.Path]]:
  """(where in the file, folder): folds lie in the folder of all, as they did."""
  places = {}
  for folder in folders:
    folder = pathlib.Path(folder).resolve()
    home = run_folder.home(folder)
    place = home.name if home == folder else f"{home.name}/{folder.name}"
    if place in places:
      raise ValueError(f"{folder}: has the name of {places[place]}; rename one of them.")
    places[place] = folder
  return list(places.items())


def _with_first(homes) -> list[tuple[str, pathlib.Path]]:
  """The same with the first stages of cascades, beside the second ones."""
  places = dict(homes)
  for _, folder in homes:
    prior = run_folder.read_config(folder)["data"].get("prior")
    if prior:
      first = run_folder.run_folders(first_stage.run_beside(prior, folder))
      places |= dict(_with_first(_homes(first)))
  return list(places.items())


def _pack(folder: pathlib.Path, place: pathlib.Path) -> None:
  """A run folder's files and checkpoints, without what only training goes on from."""
  place.mkdir(parents=True)
  for name in (run_folder.CONFIG, run_folder.DATASET, run_folder.VERSIONS):
    if (folder / name).is_file():
      shutil.copyfile(folder / name, place / name)
  for kind in (checkpoint.LATEST, checkpoint.BEST):
    stored = Checkpoints(folder, kind)
    if not stored.steps:
      continue
    step, learners = checkpoint.newest_learners(folder, kind)
    frozen = {name: Learner(of.params, of.stats, ()) for name, of in learners.items()}
    note = {n: v for n, v in stored.note(step).items() if n not in _OF_A_NOTE}
    Checkpoints(place, kind).save(State(jnp.asarray(step, jnp.int32), frozen), note)


@contextlib.contextmanager
def unpacked(paths: Sequence) -> Iterator[list[pathlib.Path]]:
  """Run folders, those in files among the paths unpacked for as long as the block lasts.

  Raises ValueError for a file that is cut off, damaged or another one.
  """
  with contextlib.ExitStack() as stack:
    out = []
    for path in map(pathlib.Path, paths):
      if not path.is_file():
        out.append(path)
        continue
      scratch = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
      with artefact.open_zip(path, _WHAT) as archive:
        told = artefact.parse(artefact.member(archive, artefact.TOLD, path), path)
        if told["format"] != NAME:
          raise ValueError(
            f"{path}: is of the format '{told['format']}', a program of windows; expected {_WHAT}, "
            "or a run folder (docs/interop.md tells how to use such a program)."
          )
        names = set(archive.namelist())
        configs = [f"{place}/{run_folder.CONFIG}" for place in told["runs"]]
        if not configs or not names.issuperset(configs):
          runs = f"{told['runs']!r:.80}"
          raise ValueError(f"{path}: lacks the runs {runs} that it tells of; {ADVICE}.")
        for name in archive.namelist():
          target = scratch / name
          if not target.resolve().is_relative_to(scratch.resolve()):
            raise ValueError(f"{path}: its member '{name}' lies outside of it; it is no export.")
          target.parent.mkdir(parents=True, exist_ok=True)
          target.write_bytes(artefact.member(archive, name, path))
      out += [scratch / place for place in told["runs"]]
    yield out
