"""Which cases a search is scored on: some of those that train, never those that validate.

The cases that the config's own split holds back are for the comparison after the search: a
candidate that is chosen by them is better on them by that choice alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxseg import data
from jaxseg.feeding import divided, source_of


class Nested(NamedTuple):
  """The cases of a search.

  Attributes:
    split: config.data.split of its trials.
    test: the cases that the config's own split holds back, of which no trial knows.
  """

  split: dict[str, Any]
  test: tuple[str, ...]


def nested(
  config: Mapping[str, Any], *, fold: int = 0, folds: int = 4, seed: int = 0, share: float = 1.0
) -> Nested:
  """Divides the training cases of a config's split again; raises ValueError in words.

  Args:
    config: complete.
    fold: of the inner folds, that which scores the trials.
    folds: how many inner folds.
    seed: of their shuffle.
    share: of the other training cases that trials learn from, for a cheaper search.
  """
  source = source_of(config)
  sides, own = divided(config, source), config["data"]["split"]
  group = own.get("group")
  try:
    if own.get("name") == "blocks":
      order = [case for case in source.cases if case in set(sides.train)]
      train, validation = data.splits.blocks(order, fold=fold, folds=folds)
    else:
      train, validation = data.splits.kfold(
        sides.train, fold=fold, folds=folds, seed=seed, group=group
      )
  except ValueError as error:
    words = str(error).replace("config.data.split", "config.search.split", 1)
    raise ValueError(f"{words.rstrip('.')}, of the training cases.") from error
  if share < 1:
    try:
      train, _ = data.splits.share(train, labelled=share, labelled_seed=seed, group=group)
    except ValueError as error:
      raise ValueError(
        f"config.search.evaluation.share: {share} of {len(train)} training cases leaves none; "
        "expected a larger share."
      ) from error
  split = {"name": "explicit", "validation": tuple(validation), "train": tuple(train)}
  if own.get("labelled") is not None:
    # those without labels stay what they are
    bare = _others(source.cases, sides, train, validation)
    split |= {"train": (*train, *bare), "labelled": tuple(train)}
  if group is not None:
    split["group"] = group
  return Nested(split, tuple(sides.validation))


def _others(cases: Sequence[str], sides, train, validation) -> tuple[str, ...]:
  """Training cases whose labels config.data.split.labelled leaves unused."""
  out = {*sides.validation, *sides.train, *train, *validation}
  return tuple(case for case in sides.unlabelled if case in set(cases) - out)
