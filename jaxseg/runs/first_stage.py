"""The first stage of a cascade as the second one's prior: one-hot segmentations on its grid.

Training takes what the first stage's folds wrote of their validation cases, so that no prior is of
a network that has seen the case; prediction runs the first stage, all its folds together.
"""

import functools
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from jaxseg import files
from jaxseg.batch import LabelSpec
from jaxseg.data.formats.images import read_label
from jaxseg.data.prepared.dataset import Dataset
from jaxseg.data.prepared.fields import Field, with_fields
from jaxseg.data.prepared.grids import Grid
from jaxseg.data.prepared.integrity import file_sum
from jaxseg.data.sources.source import RawCase, fingerprint, on_image_grid
from jaxseg.evaluation import held_out
from jaxseg.evaluation.choice import validation_files
from jaxseg.runs.folder import FOLD

# of the stored priors: raise it when they are stored otherwise
_FORMAT = 2
_TYPE = np.uint8  # as prepared sets store them: up to 256 classes


def run_of(prior: dict) -> str:
  """The first stage's folder in config.data.prior; raises ValueError for other fields."""
  if set(prior) != {"run"}:
    raise ValueError(
      f"config.data.prior: {prior}; expected dict(run=FOLDER), the first stage's run folder or the "
      "folder of its folds."
    )
  return prior["run"]


def run_beside(prior: dict, folder: pathlib.Path) -> pathlib.Path:
  """The first stage's folder for a second stage's run folder, wherever the two were moved together.

  It is looked for where config.data.prior says, seen from here or from a folder above the run, and
  then under its name beside the run (or beside the folder of its folds). Raises FileNotFoundError.
  """
  told, folder = pathlib.Path(run_of(prior)), folder.resolve()
  home = folder.parent if folder.name.startswith(FOLD) else folder
  places = [told, *(above / told for above in folder.parents), home.with_name(told.name)]
  for place in places:
    if (place / "config.json").is_file() or any(place.glob(f"{FOLD}*/config.json")):
      return place
  raise FileNotFoundError(
    f"{told}: not found; it is the first stage of the cascade in {folder}, and runs before it: put "
    f"it back, or copy it to {places[-1]}."
  )


def on_grid(stored: np.ndarray, grid: Grid, labels: LabelSpec, where: str) -> np.ndarray:
  """(*own grid) stored values -> classes or regions, on the network's grid."""
  classes, _ = labels.encode(stored, where)
  classes = grid.cut(classes)
  if not labels.regions:
    return grid.label(classes, range(labels.channels)).astype(_TYPE)
  regions = np.moveaxis(classes.astype(_TYPE), -1, 0)
  return np.stack([grid.label(region, (0, 1)) for region in regions], -1).astype(_TYPE)


def with_prior(dataset: Dataset, folds, read: Callable[[str], RawCase]) -> Dataset:
  """The data set with a first stage's segmentations as the field `prior` of its samples.

  They are kept in `dataset.folder`/priors, anew whenever one of the first stage's files changes.

  Args:
    dataset: a prepared set.
    folds: the first stage's run folders.
    read: case name -> the case as the user's files have it.

  Raises:
    FileNotFoundError: a fold holds no segmentations.
    ValueError: a case has none, or one on another grid.
  """
  written = validation_files(folds)
  missing = [name for name in dataset.names if name not in written]
  if missing:
    raise ValueError(
      f"{pathlib.Path(folds[0]).parent}: case '{missing[0]}' (and {len(missing) - 1} more) has no "
      "segmentation of the first stage; train all its folds on the same cases."
    )
  for fold in folds:
    if problem := _lost(pathlib.Path(fold)):
      raise ValueError(f"the first stage: {problem}")
  used = [written[name].resolve() for name in dataset.names]
  folder = dataset.folder / "priors" / fingerprint(used, {"format": _FORMAT})
  files.remove_leftovers(folder.parent)
  prior = Field(folder, dataset.labels.one_hot)
  for i, name in enumerate(dataset.names):
    if prior.has(i):
      continue
    stored, found = read_label(written[name])
    raw = read(name)
    what = "first stage's segmentation"
    where = str(written[name])
    stored = on_image_grid(stored, found, raw.geometry, where, what=what, unless="")
    grid = dataset.preparation.grid(raw.geometry, raw.image)
    classes = on_grid(stored, grid, dataset.labels, where)
    prior.write(i, classes, grid.spacing)
  sums = tuple(file_sum(file)[1] for file in used)
  content = functools.partial(_content, of=dataset.content, sums=sums)
  return with_fields(dataset, {"prior": prior}, range(len(dataset.names)))._replace(content=content)


def _content(i: int, *, of: Callable[[int], str | None], sums: Sequence[int]) -> str | None:
  """Of a case and of its prior: with another first stage it is another run."""
  own = of(i)
  return None if own is None else f"{own}-{sums[int(i)]:08x}"


def _lost(fold: pathlib.Path) -> str:
  """What is wrong with a fold's validation segmentations; nothing where it has no scores."""
  try:
    return held_out.lost(fold)
  except FileNotFoundError:
    return ""
