"""The first stage of a cascade as the second one's prior: one-hot segmentations on its grid.

Training takes what the first stage's folds wrote of their validation cases, so that no prior is of
a network that has seen the case; prediction runs the first stage, all its folds together.
"""

import pathlib
from collections.abc import Callable

from jaxseg.data.prepared.dataset import Dataset
from jaxseg.data.prepared.fields import Maker
from jaxseg.data.prepared.label_files import from_files
from jaxseg.data.sources.source import RawCase
from jaxseg.evaluation import held_out
from jaxseg.evaluation.choice import validation_files
from jaxseg.runs import folder as run_folder
from jaxseg.runs.folder import FOLD, read_config, run_folders


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
  home = run_folder.home(folder)
  places = [told, *(above / told for above in folder.parents), home.with_name(told.name)]
  for place in places:
    if (place / "config.json").is_file() or any(place.glob(f"{FOLD}*/config.json")):
      return place
  raise FileNotFoundError(
    f"{told}: not found; it is the first stage of the cascade in {folder}, and runs before it: put "
    f"it back, or copy it to {places[-1]}."
  )


def folds_of(prior: dict) -> tuple[pathlib.Path, ...]:
  """The run folders of a first stage; raises FileNotFoundError, or ValueError for other runs."""
  folds = run_folders(run_of(prior))
  for fold in folds:
    if read_config(fold)["task"]["name"] != "segmentation":
      raise ValueError(
        f"config.data.prior.run: {fold}: makes images; expected the run of a first stage that "
        "segments."
      )
  return folds


def prior(dataset: Dataset, folds, read: Callable[[str], RawCase]) -> Maker:
  """A first stage's segmentations as the field `prior` of a set's samples, for `with_fields`.

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
  written = {name: written[name] for name in dataset.names}
  return from_files(dataset, written, read, what="first stage's segmentation")


def _lost(fold: pathlib.Path) -> str:
  """What is wrong with a fold's validation segmentations; nothing where it has no scores."""
  try:
    return held_out.lost(fold)
  except FileNotFoundError:
    return ""
