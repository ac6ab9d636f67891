"""Cross-validation: the folds of a config, one run folder each, trained one after the other."""

import gc
import logging
import pathlib
from collections.abc import Callable, Sequence

import jax

from jaxseg import sealed
from jaxseg.build import plain
from jaxseg.data.splits import count
from jaxseg.evaluation import held_out
from jaxseg.runs.folder import FOLD, check_same, folds_in


def parse_folds(given: str, folds: int) -> tuple[int, ...]:
  """--fold's value ("all", "3", "0 2" or "0,2") -> numbers of folds, in order, each once.

  Raises ValueError that tells the choices.
  """
  words = given.replace(",", " ").split()
  if words == ["all"]:
    return tuple(range(folds))
  if not words or not all(word.isdigit() and int(word) < folds for word in words):
    raise ValueError(
      f"--fold={given}: expected all, or numbers from 0 to {folds - 1} as in --fold=0,2; "
      f"config.data.split has {folds} folds."
    )
  return tuple(sorted({int(word) for word in words}))


def folder(workdir, fold: int) -> pathlib.Path:
  """The run folder of a fold."""
  return pathlib.Path(workdir) / f"{FOLD}{fold}"


def of_fold(config, fold: int):
  """A copy of a ConfigDict that holds out the given fold."""
  changed = config.copy_and_resolve_references()
  with changed.unlocked():
    changed.data.split.fold = fold
  return changed


def finished(workdir: pathlib.Path, steps: int, *, probabilities: bool = False) -> bool:
  """Whether a run folder holds the report of all `steps`, and if asked all probabilities."""
  fields = {"step": int, **({"cases": dict} if probabilities else {})}
  try:
    what, advice = "the report of a fold", "it is made anew"
    report = sealed.read(workdir / "report.json", what=what, advice=advice, fields=fields)
    problem = held_out.lost(workdir)
  except FileNotFoundError:
    return False
  except ValueError as error:
    problem = str(error)
  if problem:
    logging.warning("%s The end of this fold is gone through again.", problem)
    return False
  if report["step"] != steps:
    return False
  return not (probabilities and held_out.without_probabilities(workdir, report["cases"]))


def train_folds(config, workdir, given: str, train: Callable, say: Callable) -> dict | None:
  """Trains the chosen folds in `workdir/fold_0`, ...; finished ones are left as they are.

  Args:
    config: a ConfigDict.
    workdir: the folder of the cross-validation.
    given: which folds, see `parse_folds`.
    train: (config, workdir) -> report, or None if a signal ended it.
    say: shows a line.

  Returns:
    Fold -> report of those trained now, or None after a signal.

  Raises ValueError before any training if the folder holds another run or another config's folds.
  """
  workdir = pathlib.Path(workdir)
  if (workdir / "config.json").exists():
    raise ValueError(
      f"{workdir}: holds a run of its own; choose another --workdir for a cross-validation."
    )
  folds = parse_folds(given, count(**plain(config)["data"]["split"]))
  for fold in folds:
    check_same(folder(workdir, fold), plain(of_fold(config, fold)))
  reports = {}
  for fold in folds:
    wanted = config.evaluate.probabilities
    if finished(folder(workdir, fold), config.steps, probabilities=wanted):
      say(f"Fold {fold} is finished: {folder(workdir, fold)}")
      continue
    say(f"Fold {fold} ({_place(fold, folds)}): {folder(workdir, fold)}")
    reports[fold] = train(of_fold(config, fold), folder(workdir, fold))
    if reports[fold] is None:
      return None
    # the next fold finds memory as the first did; its programs come from the cache on disk
    jax.clear_caches()
    gc.collect()
  say(f"{len(folds)} fold(s) finished. Tables and page: jaxseg report {workdir}")
  return reports


def check_alone(workdir) -> None:
  """Raises ValueError if a folder holds folds, and so no run of its own."""
  held = folds_in(workdir)
  if held:
    raise ValueError(
      f"{workdir}: holds folds ({held[0].name}, ...); add --fold=all to go on with them, or "
      "choose another --workdir."
    )


def _place(fold: int, folds: Sequence[int]) -> str:
  return f"{folds.index(fold) + 1} of {len(folds)}"
