"""What the runs whose networks teach this one have learnt from, and what they never saw.

Cases are known by their names; dataset.json of a run folder tells those that trained and validated.
"""

import collections
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jaxseg import methods
from jaxseg.config.streams import MAIN_WORD, UNLABELLED, as_main
from jaxseg.config.synthesis import TRANSLATION
from jaxseg.data import splits
from jaxseg.data.prepared.dataset import Dataset
from jaxseg.data.prepared.fields import with_numbers
from jaxseg.data.sources import places
from jaxseg.data.stream import MAIN, Stream
from jaxseg.methods.needs import Needs
from jaxseg.runs import folder as run_folder
from jaxseg.runs.same_data import HANDED_DOWN

# of a sample: which run never saw its case
FIELD = "fold"


def folds(runs: Sequence[pathlib.Path], *, group: str | None = None) -> dict[str, int]:
  """Case -> the number of the only run that held it out, of cases that some held out, but not all.

  Raises ValueError for a case that several runs held out while others trained on it: they are no
  folds of one cross-validation; and, of cases in groups (`data.splits.kfold`), for a run that
  learnt from a group that it held out.
  """
  sides = [_sides(run) for run in runs]
  check_groups(runs, group)
  number = collections.Counter(case for _, held in sides for case in held)
  for case, times in number.items():
    if 1 < times < len(runs):
      names = [run.name for run, (_, held) in zip(runs, sides, strict=True) if case in held]
      raise ValueError(
        f"{runs[0].parent}: case '{case}' validates in {', '.join(names)}; expected the folds of "
        "one cross-validation, of which each case validates in one."
      )
  return {
    case: at for at, (_, held) in enumerate(sides) for case in held if number[case] == 1 < len(runs)
  }


def check_groups(runs: Sequence[pathlib.Path], group: str | None) -> None:
  """Raises ValueError for a run that trained and validates on cases of one group."""
  for run in runs if group is not None else ():
    learnt, held = _sides(run)
    if both := sorted(splits.related(sorted(held), learnt, group=group)):
      seen = splits.related(sorted(learnt), both[:1], group=group)
      raise ValueError(
        f"{run}: validates on case '{both[0]}' and has learnt from '{seen[0]}' of the same group "
        f"(config.data.split.group={group!r}): what it says of the former is no opinion of a "
        "network that never saw it; expected runs whose folds keep groups together: train them "
        "with that config.data.split.group."
      )


class Leak(NamedTuple):
  """What a run was trained on that validates in another one.

  Attributes:
    words: how many cases, and one of them.
    same: whether both runs' data sets are known to be one.
    labelled: whether it has learnt from their labels, too.
  """

  words: str
  same: bool
  labelled: bool


def leaks(
  config: Mapping[str, Any],
  runs: Mapping[str, Sequence[pathlib.Path]],
  validation: Sequence[str],
  begins: Mapping[str, pathlib.Path] | None = None,
) -> list[str]:
  """Refuses networks that have learnt from what this run validates on.

  Args:
    config: of this run, checked.
    runs: field -> run folders of the networks that fill it.
    validation: names of this run's validation cases.
    begins: field -> run folder of the weights that a network begins with.

  Returns:
    Sentences to be told, of runs on other data whose cases have the same names, of weights, and of
    runs that have seen the images of cases that validate, but not their labels.

  Raises ValueError for runs on the same data that fill a field.
  """
  notes, group = [], config["data"]["split"].get("group")
  # the sets that validate
  scored = [name for name in config["evaluate"]["streams"] if name != MAIN_WORD]
  own = [config, *(as_main(config, name) for name in scored)]

  for field, folder in (begins or {}).items():
    for seen in _seen(folder, own, validation, group) if _told(folder) else ():
      if seen.same:
        notes.append(f"Warning: config.{field}: {seen.words}: {_effect(seen)}.")
  for field, folders in runs.items():
    for folder in folders:
      for seen in _seen(folder, own, validation, group):
        if not seen.same:
          notes.append(
            f"Warning: config.{field}: {seen.words}, if that is one case in both data sets: "
            f"{_effect(seen, 'validation ')}."
          )
        elif seen.labelled:
          raise ValueError(
            f"config.{field}: {seen.words}, whose scores would be too good; expected validation "
            "cases that no such run trained on (config.data.split as its, or cases left out of all "
            "folds), or config.data.split={} to train on all cases and validate on none."
          )
        else:
          notes.append(f"Warning: config.{field}: {seen.words}: {_effect(seen)}.")
  return notes


def handed_down(folders: Iterable[pathlib.Path]) -> list[dict[str, Any]]:
  """What networks had learnt from before they had a part in this run, as dataset.json keeps it.

  Of each run and of those that it began with or learnt from itself: {"source", "cases",
  "labelled"}, so that it is known when these are gone.
  """
  found: dict[str, dict[str, Any]] = {}
  for folder in folders:
    for source, cases, labelled in _learnt(folder) if _told(folder) else ():
      key = json.dumps([source, labelled], sort_keys=True)
      before = found.get(key, {}).get("cases", ())
      found[key] = {
        "source": source,
        "cases": sorted({*before, *cases}),
        "labelled": labelled,
      }
  return list(found.values())


def _told(folder: pathlib.Path) -> bool:
  """Whether a folder is a run's that tells its cases; what is none is told elsewhere."""
  return all((folder / name).is_file() for name in (run_folder.DATASET, run_folder.CONFIG))


def _effect(seen: Leak, which: str = "") -> str:
  """What the scores of such cases are worth."""
  would = "would then be" if which else "are"
  good = "too good" if seen.labelled else "of images that were trained on"
  return f"the {which}scores {would} {good}"


def _seen(
  folder: pathlib.Path, own: Sequence[Mapping[str, Any]], validation: Sequence[str], group
) -> list[Leak]:
  """What of validation a run was trained on, with labels and without: of each what is surest."""
  found: dict[bool, Leak] = {}
  for theirs, cases, labelled in _learnt(folder):
    if words := _of_validation(folder, cases, validation, group, labelled=labelled):
      same = any(places.same_set(of["data"]["source"], theirs) for of in own)
      if labelled not in found or same > found[labelled].same:
        found[labelled] = Leak(words, same, labelled)
  return [found[labelled] for labelled in (True, False) if labelled in found]


def _of_validation(
  folder: pathlib.Path,
  cases: Sequence[str],
  validation: Sequence[str],
  group: str | None,
  *,
  labelled: bool,
) -> str:
  """Which of a run's cases, or of whose groups, validate, in words; "" if none does."""
  what = "learnt from" if labelled else "seen, without their labels,"
  held = set(validation)
  if both := [case for case in cases if case in held]:
    return f"{folder}: has {what} {len(both)} of this run's validation cases, as '{both[0]}'"
  if both := splits.related(cases, validation, group=group):
    return (
      f"{folder}: has {what} {len(both)} cases of groups that validate here, as '{both[0]}' "
      f"(config.data.split.group={group!r})"
    )
  return ""


def shared(
  streams: dict[str, Stream], held_out_by: Mapping[str, int], *, own: Dataset, number: int
) -> str:
  """Gives the samples of all streams, in place, the number of the run that held their case out.

  Args:
    streams: by name.
    held_out_by: case -> number, see `folds`.
    own: the set of the main stream's cases; those of another set are held out by none.
    number: of runs.

  Returns:
    How the cases that train are shared, in words.
  """
  for name, stream in streams.items():
    names = stream.dataset.names if stream.dataset.folder == own.folder else ()
    numbers = {i: held_out_by[case] for i, case in enumerate(names) if case in held_out_by}
    dataset = with_numbers(stream.dataset, FIELD, numbers, otherwise=-1)
    streams[name] = stream._replace(dataset=dataset)
  main = streams[MAIN]
  return _sentence([main.dataset.names[i] for i in main.cases], held_out_by, number=number)


def _sentence(cases: Sequence[str], of: Mapping[str, int], *, number: int) -> str:
  own = sum(case in of for case in cases)
  words = f"{own} of {len(cases)} training cases have a teacher that never saw them"
  rest = (
    "" if own == len(cases) else f"; the others no single one: as a rule all {number} teach them"
  )
  return f"Teachers: {words}{rest}."


def _learnt(run: pathlib.Path) -> Iterator[tuple[dict[str, Any], list[str], bool]]:
  """(source, names of its cases, whether their labels were used) of all that a run has seen.

  Of each stream, and of the runs that it began with or learnt from. What makes images of another
  domain looks at no labels.
  """
  config = run_folder.read_config(run)
  translates = config["task"]["name"] == TRANSLATION
  told = run_folder.read_dataset(run, {"training": list, "validation": list})
  yield config["data"]["source"], sorted(told["training"]), not translates
  needs = methods.NEEDS.get(config["method"]["name"], Needs())
  bare = {*needs.streams, *needs.other_domains}
  for name, of in told.get("streams", {}).items():
    if name in config["streams"]:
      unlabelled = (config["streams"][name] or {}).get("cases") == UNLABELLED
      labelled = not (translates or name in bare or unlabelled)
      yield as_main(config, name)["data"]["source"], sorted(of["cases"]), labelled
  for of in told.get(HANDED_DOWN, ()):
    yield of["source"], of["cases"], of["labelled"]


def _sides(run: pathlib.Path) -> tuple[set[str], set[str]]:
  """Names of the cases that trained a run, and of those that it validates on."""
  told = run_folder.read_dataset(run, {"training": list, "validation": list})
  return set(told["training"]), set(told["validation"])
