"""Run folders -> what a report tells: the folds, their scores, their curves."""

import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxseg.config.synthesis import makes_images
from jaxseg.evaluation.held_out import FOLDER, SCORES, VIEWS, read_scores
from jaxseg.report import views
from jaxseg.runs import same_run
from jaxseg.runs.folder import (
  FOLD,
  SEED,
  folds_in,
  number_of_folds,
  read_config,
  read_dataset,
  read_versions,
  run_folders,
)
from jaxseg.runs.writer import read_rows


class Fold(NamedTuple):
  """A finished run.

  Attributes:
    name: "fold_0", or the folder's name of a run alone.
    folder: its run folder.
    config, dataset, versions: what the run folder tells.
    labels: the scored classes or regions.
    cases: case -> metric -> label -> value, on the cases' own grids.
    curves: name of a scalar -> [(step, value)].
  """

  name: str
  folder: pathlib.Path
  config: dict[str, Any]
  dataset: dict[str, Any]
  versions: dict[str, Any]
  labels: tuple[str, ...]
  cases: dict[str, dict[str, dict[str, float]]]
  curves: dict[str, list[tuple[int, float]]]

  def views(self, case: str) -> views.Views | None:
    """The slices of a case that training kept; None if they are gone, as from a lean copy.

    Raises ValueError in words where the file is damaged.
    """
    folder = self.folder / FOLDER / VIEWS
    return views.load(folder, case) if views.exists(folder, case) else None


class CrossValidation(NamedTuple):
  """The folds of a cross-validation, or a run alone.

  Attributes:
    name: of the folder.
    folds: in order.
    missing: names of the folds that are not finished.
  """

  name: str
  folds: tuple[Fold, ...]
  missing: tuple[str, ...]

  @property
  def labels(self) -> tuple[str, ...]:
    return self.folds[0].labels

  @property
  def metrics(self) -> tuple[str, ...]:
    return tuple(next(iter(self.folds[0].cases.values())))

  @property
  def judge(self) -> str:
    """The metric that says which cases are best: what judged the best checkpoint, if it is here."""
    evaluate = self.folds[0].config["evaluate"]
    # unnamed it is the first, as `task.choose_metrics` has it
    asked = evaluate["best"] or next(iter(evaluate["metrics"]), "")
    return next((name for name in (asked, "dice") if name in self.metrics), self.metrics[0])

  @property
  def kind(self) -> str:
    """What is scored, in the singular."""
    return "channel" if makes_images(self.folds[0].config) else "class"

  @property
  def cases(self) -> dict[str, dict[str, dict[str, float]]]:
    """All folds' cases; each was held out once."""
    return {name: case for fold in self.folds for name, case in fold.cases.items()}


def gather(path, say: Callable[[str], None] = print) -> CrossValidation:
  """Reads a run folder, or one of folds; `say` shows a sentence about what is left out.

  Raises:
    FileNotFoundError: no run, or none that has validation scores.
    ValueError: the folds are not of one cross-validation.
  """
  path = pathlib.Path(path)
  if (path / "config.json").is_file():
    return CrossValidation(_name(path), (_fold(path, say),), ())
  folders = folds_in(path)
  if not folders and folds_in(path, SEED):
    # of several runs there is no one report: that is told
    run_folders(path)
  if not folders:
    raise FileNotFoundError(
      f"{path}: holds no run (config.json) and no folds ({FOLD}0, ...); give train's --workdir."
    )
  done = [folder for folder in folders if _complete(folder)]
  # where no fold is finished, the first one's error tells what to do
  folds = tuple(_fold(folder, say) for folder in done or folders[:1])
  for fold in folds[1:]:
    _check_alike(folds[0], fold)
  _check_held_out_once(folds)
  count = number_of_folds(folds[0].config["data"]["split"]) or len(folders)
  names = dict.fromkeys([f"{FOLD}{i}" for i in range(count)] + [f.name for f in folders])
  missing = tuple(name for name in names if name not in {fold.name for fold in folds})
  return CrossValidation(_name(path), folds, missing)


def _name(folder: pathlib.Path) -> str:
  """Of a folder as it is called, also where that is a link."""
  return pathlib.Path(os.path.abspath(folder)).name


def _complete(folder: pathlib.Path) -> bool:
  return (folder / FOLDER / SCORES).is_file() and _whole(read_scores(folder), read_config(folder))


def _whole(scores: dict[str, Any], config: dict[str, Any]) -> bool:
  """Whether all cases are scored; scores of a shorter training stand until the longer one ends."""
  return bool(scores["complete"]) and scores["step"] >= config["steps"]


def _fold(folder: pathlib.Path, say: Callable[[str], None]) -> Fold:
  kinds = {"channels": list, "rank": int, "training": list, "validation": list}
  scored, config = (folder / FOLDER / SCORES).is_file(), read_config(folder)
  kinds |= {"scored": dict} if config["evaluate"]["streams"] else {}
  if not (scored or _held(read_dataset(folder, kinds))):
    raise ValueError(
      f"{folder}: trains on all cases and validates on none (config.data.split), so that there is "
      "nothing to report; predict other cases, and score those with `jaxseg evaluate`."
    )
  scores = read_scores(folder)
  if not _whole(scores, config):
    raise ValueError(
      f"{folder / FOLDER}: holds {len(scores['cases'])} cases of step {scores['step']}, training "
      f"to step {config['steps']} was interrupted; give the train command again, it goes on."
    )
  dataset = read_dataset(folder, kinds)
  if foreign := sorted(scores["cases"].keys() - _held(dataset)):
    raise ValueError(
      f"{folder / FOLDER}: holds case '{foreign[0]}', which this run did not hold out: the scores "
      "are another run's; put the right ones back, or remove them and give the train command again."
    )
  return Fold(
    name=_name(folder),
    folder=folder,
    config=config,
    dataset=dataset,
    versions=read_versions(folder),
    labels=scores["labels"],
    cases={name: case["own"] for name, case in scores["cases"].items()},
    curves=_curves(folder / "metrics.jsonl", scores["step"], say),
  )


def _held(dataset: Mapping[str, Any]) -> set[str]:
  """The cases that a run scores at its end."""
  if of := dataset.get("scored"):
    return {case for told in of.values() for case in told["cases"]}
  return set(dataset["validation"])


def _curves(path: pathlib.Path, step: int, say) -> dict[str, list[tuple[int, float]]]:
  rows, problems = read_rows(path)
  if problems:
    say(f"{path}: {'; '.join(problems)}; left out of the curves.")
  if not rows:
    say(f"{path}: holds no rows, or is missing; the page shows no curves of this run.")
  elif (last := max(row["step"] for row in rows)) < step:
    say(f"{path}: ends at step {last} of {step}; the curves lack the rest.")
  curves: dict[str, list[tuple[int, float]]] = {}
  for row in rows:
    for name, value in row.items():
      if name != "step":
        curves.setdefault(name, []).append((row["step"], float(value)))
  return curves


def _check_alike(first: Fold, other: Fold) -> None:
  found = same_run.differences(first.config, other.config, same_run.FOLDS)
  if found:
    told = same_run.sentence(found, f"was {{}} in {first.name}, is {{}}")
    raise ValueError(
      f"{other.folder}: {told}; folds of different configs cannot be reported together: train "
      "them with one config."
    )
  if first.labels != other.labels:
    raise ValueError(
      f"{other.folder}: its classes are {', '.join(other.labels)}, those of {first.name} "
      f"{', '.join(first.labels)}; folds need the same data set."
    )


def _check_held_out_once(folds: tuple[Fold, ...]) -> None:
  seen: dict[str, str] = {}
  for fold in folds:
    for case in fold.cases:
      if case in seen:
        raise ValueError(
          f"{fold.folder}: case '{case}' was held out in {seen[case]} too; each case validates in "
          "one fold: the folds come from different splits."
        )
      seen[case] = fold.name
