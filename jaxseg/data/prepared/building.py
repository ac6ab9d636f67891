"""Making a prepared set: case by case, in several processes, going on where it stopped.

A set grows in a folder of its own name, one folder per case, each renamed when it is whole and on
the disk; the set is renamed when all its cases are there.
"""

import contextlib
import fcntl
import functools
import json
import os
import pathlib
import shutil
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tqdm

from jaxseg import files, sealed
from jaxseg.batch import LabelSpec
from jaxseg.data.prepared import blocks, integrity
from jaxseg.data.prepared.cropping import nonzero_mask
from jaxseg.data.prepared.dataset import INDEX, LOCATIONS, again, case_folder
from jaxseg.data.prepared.grids import Grid
from jaxseg.data.prepared.locations import locate, pack
from jaxseg.data.prepared.normalise import rounds
from jaxseg.data.prepared.preparation import Preparation
from jaxseg.data.prepared.workers import refuse_in_starting_worker, spread
from jaxseg.data.sources.source import RawCase, Source, content

NOTE = "case.json"
_LOCK = ".lock"


class Recipe(NamedTuple):
  """What is done to every case of a set.

  Attributes:
    read: case name -> RawCase.
    labels: the label specification.
    preparation: of the images.
    weighted: whether the cases have ignored voxels or weights.
    folder: where the cases are written.
    unlabelled: the cases that may be without a label.
    incomplete: whether some lack channels, so that each tells which it has.
  """

  read: Callable[[str], RawCase]
  labels: LabelSpec
  preparation: Preparation
  weighted: bool
  folder: pathlib.Path
  unlabelled: frozenset[str] = frozenset()
  incomplete: bool = False


@contextlib.contextmanager
def alone(building: pathlib.Path, finished: pathlib.Path) -> Iterator[bool]:
  """Holds the folder of a growing set; waits while another process does.

  Gives whether there is work to do: not if the set was finished meanwhile. A process that is
  killed lets go of the folder.

  Raises RuntimeError in a worker that runs its parent's script again.
  """
  refuse_in_starting_worker(f"preparing {building.parent.name}")
  lock = _lock(building)
  while lock is not None and not _is_current(lock, building):
    # while this process waited, another one finished the set, or gave it up
    lock.close()
    lock = None if finished.is_dir() else _lock(building)
  with contextlib.closing(lock) if lock else contextlib.nullcontext():
    if finished.is_dir():
      shutil.rmtree(building, ignore_errors=True)
    yield not finished.is_dir()


def _lock(building: pathlib.Path):
  while True:
    building.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
      lock = open(building / _LOCK, "w")  # noqa: SIM115  (the caller closes it)
      fcntl.flock(lock, fcntl.LOCK_EX)
      return lock


def _is_current(lock, building: pathlib.Path) -> bool:
  with contextlib.suppress(FileNotFoundError):
    return os.path.samestat(os.fstat(lock.fileno()), os.stat(building / _LOCK))
  return False


def build(source: Source, recipe: Recipe, *, workers: int | None) -> None:
  """Writes all cases of a set and its index; cases that are there already stay.

  Raises:
    ValueError: a case is invalid.
    OSError: the disk is full; what is done is kept.
  """
  make = functools.partial(_make, recipe=recipe)
  for part in recipe.folder.glob(".part-*"):
    shutil.rmtree(part)
  total, done = len(source.cases), 0
  with tqdm.tqdm(total=total, desc=f"preparing {source.name}", unit="case", mininterval=0.5) as bar:
    try:
      what = f"preparing {source.name}"
      for _ in spread(make, enumerate(source.cases), workers=workers, what=what):
        bar.update()
        done += 1
      _finish(source, recipe)
    except Exception as error:
      if files.disk_is_full(error):
        raise files.DiskFull(
          recipe.folder,
          f"{done} of {total} cases of '{source.name}' are done; free room there, or set "
          "config.data.folder to another disk, and give the command again: it goes on",
        ) from error
      raise


def _make(item: tuple[int, str], *, recipe: Recipe) -> None:
  number, case = item
  folder = case_folder(recipe.folder, number)
  if folder.is_dir():
    if _is_whole(folder):
      return
    # the source has all that it held
    shutil.rmtree(folder)
  raw = recipe.read(case)
  where = f"case '{case}'"
  if raw.label is None and case not in recipe.unlabelled:
    raise ValueError(f"{where} has no label; a training set needs one for every case.")
  arrays, grid = example(raw, recipe, where)
  rank, found = recipe.preparation.rank, locate_in(arrays, recipe.labels)
  rows = pack(found, rank)
  note = {
    "name": case,
    "shape": grid.shape,
    "spacing": [float(s) for s in grid.spacing],
    "axcodes": raw.geometry.axcodes,
    "content": content(raw),
    "rounded": rounds(raw.image, recipe.preparation.normalisation),
    **({"modalities": raw.modalities.tolist()} if recipe.incomplete else {}),
    "arrays": {},
    "locations": {str(k): len(voxels) for k, voxels in sorted(found.items())},
  }
  part = recipe.folder / f".part-{number:06d}"
  part.mkdir()
  try:
    for field, array in arrays.items():
      voxel = array.itemsize * int(np.prod(array.shape[rank:]))
      block = blocks.block_shape(grid.shape, grid.spacing, bytes_per_voxel=voxel)
      note["arrays"][field] = blocks.write(part / field, array, block)._asdict()
    np.save(part / LOCATIONS, rows)
    note["locations_sum"] = integrity.file_sum(part / LOCATIONS)
    (part / NOTE).write_text(json.dumps(sealed.seal(note)), encoding="utf-8")
    files.flush(part)
    files.rename(part, folder)
  except BaseException:
    shutil.rmtree(part, ignore_errors=True)
    raise


def _is_whole(folder: pathlib.Path) -> bool:
  """Whether a case that an earlier process wrote is there, with all its files."""
  try:
    note = _note(folder)
    for field, stored in note["arrays"].items():
      blocks.check(folder / field, blocks.Stored.from_json(stored))
    integrity.check_file(folder / LOCATIONS, note["locations_sum"])
  except (ValueError, FileNotFoundError):
    return False
  return True


def _note(folder: pathlib.Path) -> dict:
  return sealed.read(
    folder / NOTE,
    what="the note of a prepared case",
    advice=again(folder.parent),
    required=True,
  )


def example(raw: RawCase, recipe: Recipe, where: str) -> tuple[dict[str, np.ndarray], Grid]:
  """The arrays of one case on the network's grid, and that grid."""
  preparation, labels = recipe.preparation, recipe.labels
  image, grid = preparation.place(raw, where)
  if raw.label is None:
    return {"image": image, **_body(raw, grid, preparation)}, grid
  values = np.unique(raw.label)
  # all values are checked, those too that cropping or resampling may lose
  labels.encode(values, where)
  label, weight = labels.encode(grid.label(grid.cut(raw.label), values), where)
  if raw.weight is not None:
    given = grid.weight(grid.cut(raw.weight))
    weight = given if weight is None else weight * given
  label = label.astype(np.uint8 if labels.channels <= 256 else np.int32)
  arrays = {"image": image, "label": label}
  if weight is not None and not recipe.weighted:
    raise ValueError(
      f"{where} has a weight but the first case has none; give all cases one, or none."
    )
  if recipe.weighted:
    weight = np.ones(grid.shape) if weight is None else weight
    arrays["weight"] = weight.astype(np.float32)
  return {**arrays, **_body(raw, grid, preparation)}, grid


def _body(raw: RawCase, grid: Grid, preparation: Preparation) -> dict[str, np.ndarray]:
  if not preparation.masked:
    return {}
  body = nonzero_mask(grid.cut(raw.image)).astype(np.uint8)
  return {"body": grid.label(body, np.unique(body))}


def locate_in(arrays: dict[str, np.ndarray], labels: LabelSpec) -> dict[int, np.ndarray]:
  if "label" not in arrays:
    return {}
  return locate(
    arrays["label"],
    arrays.get("weight"),
    regions=bool(labels.regions),
    annotated=labels.ignore is not None,
  )


def _finish(source: Source, recipe: Recipe) -> None:
  notes = [_note(case_folder(recipe.folder, i)) for i in range(len(source.cases))]
  if rounded := [note["name"] for note in notes if note["rounded"]]:
    warnings.warn(
      f"'{source.name}': {len(rounded)} case(s) hold integers beyond 2^24 ('{rounded[0]}'), which "
      "float32 rounds; a scheme of config.data.normalise other than 'none' scales them before.",
      stacklevel=2,
    )
  index = {
    "source": source.name,
    "fingerprint": source.fingerprint,
    "labels": recipe.labels.to_json(),
    "preparation": recipe.preparation.to_json(),
    "cases": notes,
  }
  sealed.write(recipe.folder / INDEX, index)
