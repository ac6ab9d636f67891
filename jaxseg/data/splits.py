"""Which cases train and which validate."""

import pathlib
import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from jaxseg import files
from jaxseg.config.option_values import check_expression

Split = tuple[tuple[str, ...], tuple[str, ...]]


def _check_fold(fold: int, folds: int, groups: int, what: str) -> None:
  if groups < 2:
    name = what.removesuffix("s")
    raise ValueError(
      f"config.data.split: the data set has one {name}; expected two or more {what}, because some "
      "validate and never train."
    )
  if not 2 <= folds <= groups:
    raise ValueError(
      f"config.data.split.folds: {folds} folds of {groups} {what}; expected 2 to {groups}."
    )
  if not 0 <= fold < folds:
    raise ValueError(
      f"config.data.split.fold: {fold} is out of range; expected 0 to {folds - 1} of {folds} folds."
    )


def _checked(
  train: Sequence[str],
  validation: Sequence[str],
  cases: Sequence[str],
  where: str = "",
  group: str | None = None,
) -> Split:
  """The two sides; `where` is the file that named them, `group` as of `kfold`."""
  field = f"config.data.split: {where}{': ' if where else ''}"
  known, train, validation = set(cases), tuple(train), tuple(validation)
  unknown = [case for case in (*train, *validation) if case not in known]
  if unknown:
    raise ValueError(
      f"{field}names case '{unknown[0]}' (and {len(unknown) - 1} more), which the data "
      f"set doesn't have; its {len(known)} cases: {', '.join(list(cases)[:5])}, ..."
    )
  both = sorted(set(train) & set(validation))
  if both:
    raise ValueError(f"{field}case '{both[0]}' is on both sides; a validation case must not train.")
  for side, names in (("training", train), ("validation", validation)):
    if not names:
      raise ValueError(f"{field}no case is left for {side}; give each side one or more.")
  if group is not None:
    shared = sorted(set(_groups(train, group)) & set(_groups(validation, group)))
    if shared:
      raise ValueError(
        f"{field}cases of group '{shared[0]}' are on both sides; a group (config.data.split.group) "
        "must train or validate as a whole."
      )
  return train, validation


def _groups(cases: Sequence[str], group: str | None) -> dict[str, list[str]]:
  found: dict[str, list[str]] = {}
  if group is not None:
    check_expression(group, "config.data.split.group")
  for case in sorted(cases):
    name = case
    if group is not None:
      match = re.search(group, case)
      if match is None or not match.groups():
        raise ValueError(
          f"config.data.split.group: r'{group}' must match every case and have one group in "
          f"brackets; it fails on '{case}'."
        )
      name = match.group(1)
    found.setdefault(name, []).append(case)
  return found


def kfold(
  cases: Sequence[str],
  *,
  fold: int = 0,
  folds: int = 5,
  seed: int = 12345,
  group: str | None = None,
) -> Split:
  """nnU-Net's folds: scikit-learn's KFold(folds, shuffle=True, random_state=seed), sorted cases.

  Args:
    cases: names of all cases.
    fold: which fold validates.
    folds: number of folds.
    seed: of the shuffle.
    group: regular expression whose first group names a case's patient or sequence (cases with the
      same name stay together); None takes every case for itself.

  Returns:
    (names to train on, names to validate on), each sorted.
  """
  grouped = _groups(cases, group)
  names = sorted(grouped)
  _check_fold(fold, folds, len(names), "cases" if group is None else "groups")
  order = np.arange(len(names))
  np.random.RandomState(seed).shuffle(order)
  held = {names[i] for i in np.array_split(order, folds)[fold]}
  train = [case for name in names if name not in held for case in grouped[name]]
  validation = [case for name in names if name in held for case in grouped[name]]
  return _checked(sorted(train), sorted(validation), cases)


def blocks(
  cases: Sequence[str], *, fold: int = 0, folds: int = 5, holdout: int | None = None
) -> Split:
  """Contiguous blocks in the order of the source, for stacks of neighbouring sections.

  Args:
    cases: names of all cases, in their order.
    fold: which of `folds` equal blocks validates.
    folds: number of blocks.
    holdout: where set, the last `holdout` cases validate (the first ones if negative), and fold
      and folds are not used.
  """
  if holdout is not None:
    if not 0 < abs(holdout) < len(cases):
      raise ValueError(
        f"config.data.split.holdout: {holdout} of {len(cases)} cases; expected 1 to "
        f"{len(cases) - 1}."
      )
    held = cases[-holdout:] if holdout > 0 else cases[:-holdout]
  else:
    _check_fold(fold, folds, len(cases), "cases")
    held = [cases[i] for i in np.array_split(np.arange(len(cases)), folds)[fold]]
  return _checked([case for case in cases if case not in set(held)], held, cases)


def _read(path: str) -> list[Split]:
  """The folds of nnU-Net's splits_final.json."""
  file = pathlib.Path(path).expanduser()
  advice = "config.data.split.path must name the splits: correct the file, or plan again"
  if not file.is_file():
    raise FileNotFoundError(
      f"config.data.split.path: {path}: not found; expected nnU-Net's folds of the set "
      "(splits_final.json in nnUNet_preprocessed), or folds of its sorted cases, "
      "config.data.split=dict(name='kfold', folds=5)."
    )
  what = 'the folds, a list of {"train": [...], "val": [...]}'
  folds = files.read_json(file, what=what, advice=advice, kind=list)
  for number, fold in enumerate(folds):
    where = f"{file}: fold {number}"
    files.check_fields(fold, where, advice=advice, fields={"train": list, "val": list})
    for side in ("train", "val"):
      if wrong := [name for name in fold[side] if not isinstance(name, str)]:
        raise ValueError(f"{where}: '{side}' holds {wrong[0]!r}, expected names; {advice}.")
  return [(fold["train"], fold["val"]) for fold in folds]


def from_file(cases: Sequence[str], *, path: str, fold: int = 0, group: str | None = None) -> Split:
  """nnU-Net's splits_final.json: a list of {"train": [names], "val": [names]}, one per fold.

  `group` is as of `kfold`: of one group, no case may train and another validate.
  """
  sides = _read(path)
  if not 0 <= fold < len(sides):
    raise ValueError(
      f"config.data.split.fold: {fold} is out of range; {path} holds {len(sides)} folds."
    )
  return _checked(*sides[fold], cases, f"fold {fold} of {path}", group)


def lists(
  cases: Sequence[str], *, train_list: str, validation_list: str, group: str | None = None
) -> Split:
  """Two text files, a case's name on each line, as SSL4MIS has train.list and val.list.

  Both sides are in the order of `cases`; cases that neither list names take no part. `group` is as
  of `from_file`.

  Raises:
    FileNotFoundError: a list is missing.
    ValueError: it is no text, names a case twice or one that there is not, is empty, or a case or
      group is in both.
  """
  sides = []
  for option, path in (("train_list", train_list), ("validation_list", validation_list)):
    field, names = f"config.data.split.{option}: {path}", _lines(path, option)
    strange = [name for name in names if name not in set(cases)]
    if strange:
      raise ValueError(
        f"{field}: names case '{strange[0]}' (and {len(strange) - 1} more), which the data set "
        f"doesn't have; its {len(cases)} cases: {', '.join(list(cases)[:5])}, ..."
      )
    if twice := [name for name, count in Counter(names).items() if count > 1]:
      raise ValueError(f"{field}: names case '{twice[0]}' twice; expected each case once.")
    sides.append([case for case in cases if case in set(names)])
  return _checked(*sides, cases, group=group)


def _lines(path: str, option: str) -> list[str]:
  """The names in a list, one on each line that isn't empty."""
  file, advice = pathlib.Path(path).expanduser(), f"correct config.data.split.{option}"
  text = files.read_text(file, what="the list of cases, a name on each line", advice=advice)
  return [line.strip() for line in text.splitlines() if line.strip()]


def explicit(
  cases: Sequence[str],
  *,
  validation: Sequence[str],
  train: Sequence[str] | None = None,
  group: str | None = None,
) -> Split:
  """Named cases validate; the others train, or those that `train` names.

  `group` is as of `from_file`.
  """
  held = set(validation)
  rest = [case for case in cases if case not in held] if train is None else train
  return _checked(rest, validation, cases, group=group)


def share(
  cases: Sequence[str],
  *,
  labelled: float | int | Sequence[str],
  labelled_seed: int = 0,
  group: str | None = None,
  where: str = "config.data.split",
) -> tuple[tuple[str, ...], tuple[str, ...]]:
  """The training cases whose labels may be used, and the others, each in the order of `cases`.

  Of one seed, the cases of a smaller share are among those of a larger one.

  Args:
    cases: names of the training cases.
    labelled: a share of them (0.1), a number (7; 0 is none), or the names, of cases or of groups.
    labelled_seed: of the draw.
    group: as of `kfold`: share and number are of groups, which stay together.
    where: the field, for messages.
  """
  grouped = _groups(cases, group)
  names, what = sorted(grouped), "cases" if group is None else "groups"
  field = f"{where}.labelled: {labelled!r}"
  if isinstance(labelled, bool):
    raise ValueError(f"{field}; expected a share (0.1), a number (7) or names of cases.")
  if isinstance(labelled, int | float):
    number = labelled if isinstance(labelled, int) else round(labelled * len(names))
    # a share that is rounded down to nothing is a mistake, none may be meant
    if not (1 <= number <= len(names) and labelled > 0) and labelled != 0:
      raise ValueError(
        f"{field} of {len(names)} training {what} is {number}; expected 1 to {len(names)} of them, "
        f"as a number or as a share up to 1, or 0."
      )
    order = np.random.RandomState(labelled_seed).permutation(len(names))
    chosen = {case for i in order[:number] for case in grouped[names[i]]}
  else:
    known = set(cases)
    strange = [name for name in labelled if name not in known and name not in grouped]
    # the name of a case goes before that of a group
    chosen = {c for n in labelled for c in ((n,) if n in known else grouped.get(n, ()))}
    if strange or not chosen:
      problem = f"'{strange[0]}' is" if strange else "names"
      shown = f"({', '.join(list(cases)[:5])}, ...)"
      raise ValueError(f"{field}: {problem} none of the {len(cases)} training cases {shown}.")
    for name, members in grouped.items():
      if 0 < len(chosen.intersection(members)) < len(members):
        raise ValueError(f"{field}: names some cases of group '{name}'; expected all, or none.")
  rest = tuple(case for case in cases if case not in chosen)
  return tuple(case for case in cases if case in chosen), rest


def related(cases: Sequence[str], others: Sequence[str], *, group: str | None) -> tuple[str, ...]:
  """Those of the cases that are among others, or of a group of theirs; `group` is as of `kfold`.

  A case that `group` does not match is of no group.
  """

  def name(case: str) -> tuple[bool, str]:
    match = None if group is None else re.search(group, case)
    return (False, case) if match is None else (True, match.group(1))

  theirs = set(map(name, others))
  return tuple(case for case in cases if name(case) in theirs)


def apart(cases: Sequence[str], validation: Sequence[str], *, group: str | None) -> tuple[str, ...]:
  """Those of the cases that are not `related` to a validation case.

  For cases without labels, which no split divides: a patient that validates is not to be learnt
  from.
  """
  held = set(related(cases, validation, group=group))
  return tuple(case for case in cases if case not in held)


def count(*, name: str, folds: int = 5, path: str | None = None, **options) -> int:
  """The number of folds of a split, given as its fields in config.data.split.

  Raises ValueError for a split that has none.
  """
  if name == "file" and path is not None:
    return len(_read(path))
  if name not in ("kfold", "blocks") or options.get("holdout") is not None:
    raise ValueError(
      f"config.data.split: '{name}' has no folds; choose kfold, blocks or file, or train without "
      "--fold."
    )
  return folds


SPLITS: dict[str, Callable[..., Split]] = {
  "kfold": kfold,
  "blocks": blocks,
  "file": from_file,
  "lists": lists,
  "explicit": explicit,
}
