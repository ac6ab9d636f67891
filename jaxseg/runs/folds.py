"""Cross-validation, and other seeds: several runs of a config, one run folder each.

They are trained one after the other, or all at once in one program.
"""

import gc
import logging
import pathlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from jaxseg import sealed
from jaxseg.build import plain
from jaxseg.config import ranges
from jaxseg.data.splits import count
from jaxseg.evaluation import held_out
from jaxseg.runs.folder import FOLD, SEED, check_same, folds_in


class Kind(NamedTuple):
  """What the runs differ in.

  Attributes:
    word: "fold" or "seed"; the flag is fold, or seeds.
    prefix: of the run folders' names, before the number.
    of: (config, number) -> a copy for one of the runs.
    flag: of the verb.
  """

  word: str
  prefix: str
  of: Callable[[Any, int], Any]
  flag: str


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


def parse_seeds(given: str) -> tuple[int, ...]:
  """--seeds' value ("0,1,2" or "0 1 2") -> seeds, in order; raises ValueError in words."""
  words = given.replace(",", " ").split()
  if not words or not all(word.isdigit() and int(word) in ranges.SEED for word in words):
    raise ValueError(f"--seeds={given}: expected numbers {ranges.SEED.words} as in --seeds=0,1,2.")
  seeds = [int(word) for word in words]
  if twice := [seed for seed in seeds if seeds.count(seed) > 1]:
    raise ValueError(
      f"--seeds={given}: {twice[0]} is named twice; two runs of one seed are the same run."
    )
  return tuple(sorted(seeds))


def folder(workdir, number: int, prefix: str = FOLD) -> pathlib.Path:
  """The run folder of a fold, or of a seed."""
  return pathlib.Path(workdir) / f"{prefix}{number}"


def of_fold(config, fold: int):
  """A copy of a ConfigDict that holds out the given fold."""
  changed = config.copy_and_resolve_references()
  with changed.unlocked():
    changed.data.split.fold = fold
  return changed


def of_seed(config, seed: int):
  """A copy of a ConfigDict with another seed."""
  changed = config.copy_and_resolve_references()
  with changed.unlocked():
    changed.seed = seed
  return changed


FOLDS = Kind("fold", FOLD, of_fold, "--fold")
SEEDS = Kind("seed", SEED, of_seed, "--seeds")


def finished(workdir: pathlib.Path, steps: int, *, probabilities: bool = False) -> bool:
  """Whether a run folder holds the report of all `steps`, and if asked all probabilities."""
  fields = {"step": int, **({"cases": dict} if probabilities else {})}
  try:
    what, advice = "the report of a run", "it is made anew"
    report = sealed.read(workdir / "report.json", what=what, advice=advice, fields=fields)
    problem = held_out.lost(workdir)
  except FileNotFoundError:
    return False
  except ValueError as error:
    problem = str(error)
  if problem:
    logging.warning("%s The end of this run is gone through again.", problem)
    return False
  if report["step"] != steps:
    return False
  return not (probabilities and held_out.without_probabilities(workdir, report["cases"]))


def train_folds(
  config, workdir, given: str, train: Callable, say: Callable, *, together: Callable | None = None
) -> dict | None:
  """Trains the chosen folds in `workdir/fold_0`, ...; finished ones are left as they are.

  Args:
    config: a ConfigDict.
    workdir: the folder of the cross-validation.
    given: which folds, see `parse_folds`.
    train: (config, workdir) -> report, or None if a signal ended it.
    say: shows a line.
    together: (configs, workdirs) -> reports, or None if a signal ended it: trains them in one
      program; None trains one after the other.

  Returns:
    Fold -> report of those trained now, or None after a signal.

  Raises ValueError before any training if the folder holds another run or another config's folds.
  """
  _check_no_run(workdir, "a cross-validation")
  folds = parse_folds(given, count(**plain(config)["data"]["split"]))
  reports = _train_several(config, workdir, FOLDS, folds, train, say, together)
  if reports is not None:
    say(f"{len(folds)} fold(s) finished. Tables and page: jaxseg report {workdir}")
  return reports


def train_seeds(
  config, workdir, given: str, train: Callable, say: Callable, *, together: Callable | None = None
) -> dict | None:
  """As `train_folds`, of several seeds in `workdir/seed_0`, ...; `given` as for `parse_seeds`."""
  _check_no_run(workdir, "several seeds")
  seeds = parse_seeds(given)
  reports = _train_several(config, workdir, SEEDS, seeds, train, say, together)
  if reports is not None:
    say(f"{len(seeds)} seed(s) finished{_scatter(workdir, seeds)}.")
  return reports


def _check_no_run(workdir, what: str) -> None:
  if (pathlib.Path(workdir) / "config.json").exists():
    raise ValueError(f"{workdir}: holds a run of its own; choose another --workdir for {what}.")


def _train_several(config, workdir, kind: Kind, numbers, train, say, together) -> dict | None:
  folders = {number: folder(workdir, number, kind.prefix) for number in numbers}
  for other in (FOLDS, SEEDS):
    if other is not kind and (held := folds_in(workdir, other.prefix)):
      raise ValueError(
        f"{workdir}: holds {other.word}s ({held[0].name}, ...); choose another --workdir for "
        f"{kind.word}s."
      )
  if together and len(numbers) < 2:
    raise ValueError(
      f"--together: {kind.flag} names one {kind.word}, {numbers[0]}; name two or more, or leave "
      "out --together."
    )
  for number in numbers:
    check_same(folders[number], plain(kind.of(config, number)))
  name, reports, left = kind.word.capitalize(), {}, []
  for number in numbers:
    wanted = config.evaluate.probabilities
    if finished(folders[number], config.steps, probabilities=wanted):
      say(f"{name} {number} is finished: {folders[number]}")
    else:
      left.append(number)
  if together and len(left) > 1:
    shown = ", ".join(str(folders[number]) for number in left)
    say(f"{name}s {', '.join(map(str, left))} together: {shown}")
    made = together([kind.of(config, n) for n in left], [folders[n] for n in left])
    return None if made is None else dict(zip(left, made, strict=True))
  for number in left:
    say(f"{name} {number} ({_place(number, numbers)}): {folders[number]}")
    reports[number] = train(kind.of(config, number), folders[number])
    if reports[number] is None:
      return None
    # the next one finds memory as the first did; its programs come from the cache on disk
    jax.clear_caches()
    gc.collect()
  return reports


def _scatter(workdir, seeds: Sequence[int]) -> str:
  """The mean and the deviation of the seeds' validation scores, as the end of a sentence."""
  scores = [_score(folder(workdir, seed, SEED)) for seed in seeds]
  if len(seeds) < 2 or None in scores:
    return ""
  (metric, *_), values = zip(*scores, strict=True)
  mean, deviation = statistics.fmean(values), statistics.stdev(values)
  each = ", ".join(f"{value:.4f}" for value in values)
  return f": {metric} {mean:.4f}, standard deviation {deviation:.4f} ({each})"


def _score(run: pathlib.Path) -> tuple[str, float] | None:
  """Metric and mean of a run's report; None where it tells none."""
  try:
    report: Mapping[str, Any] = sealed.read(
      run / "report.json", what="the report of a run", advice="it is made anew"
    )
    metric = report["best_checkpoint"]["metric"]
    return metric, float(report["validation"]["mean"][metric])
  except (OSError, ValueError, KeyError, TypeError):
    return None


def check_alone(workdir) -> None:
  """Raises ValueError if a folder holds folds or seeds, and so no run of its own."""
  for kind, example in ((FOLDS, "--fold=all"), (SEEDS, "--seeds=0,1,2")):
    if held := folds_in(workdir, kind.prefix):
      raise ValueError(
        f"{workdir}: holds {kind.word}s ({held[0].name}, ...); add {example} to go on with them, "
        "or choose another --workdir."
      )


def _place(number: int, numbers: Sequence[int]) -> str:
  return f"{numbers.index(number) + 1} of {len(numbers)}"
