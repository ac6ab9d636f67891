"""What the runs whose networks teach this one have learnt from, and what they never saw.

Cases are known by their names; dataset.json of a run folder tells those that trained and validated.
"""

import collections
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxseg import methods
from jaxseg.build import plain
from jaxseg.config.streams import MAIN_WORD, UNLABELLED, as_main
from jaxseg.data import splits
from jaxseg.data.prepared.dataset import Dataset
from jaxseg.data.prepared.fields import with_numbers
from jaxseg.data.stream import MAIN, Stream
from jaxseg.methods.needs import Needs
from jaxseg.runs import folder as run_folder

# of a sample: which run never saw its case
FIELD = "fold"
# options of a source that tell not which cases they are
_PLACES = ("path", "data_dir", "labelled", "channels", "check_affine", "cache", "download", "url")


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
    Sentences to be told, of runs on other data whose cases have the same names, and of weights.

  Raises ValueError for runs on the same data that fill a field.
  """
  notes, held, group = [], set(validation), config["data"]["split"].get("group")

  # the sets that validate
  scored = [name for name in config["evaluate"]["streams"] if name != MAIN_WORD]
  own = [config, *(as_main(config, name) for name in scored)]

  def words(folder: pathlib.Path, learnt: Sequence[str]) -> str:
    """What of validation is among the cases that a run has learnt from; "" if nothing is."""
    if both := [case for case in learnt if case in held]:
      return f"{folder}: has learnt from {len(both)} of this run's validation cases, as '{both[0]}'"
    if both := splits.related(learnt, validation, group=group):
      return (
        f"{folder}: has learnt from {len(both)} cases of groups that validate here, as '{both[0]}' "
        f"(config.data.split.group={group!r})"
      )
    return ""

  def seen(folder: pathlib.Path) -> tuple[str, bool]:
    """What of validation a run has learnt from, and whether it is known to be the same set."""
    found = "", False
    for theirs, learnt in _learnt(folder):
      if what := words(folder, learnt):
        if any(_same_source(ours, theirs) for ours in own):
          return what, True
        found = what, False
    return found

  for field, folder in (begins or {}).items():
    # what is no run is told where its weights are looked for
    known = (folder / run_folder.DATASET).is_file() and (folder / run_folder.CONFIG).is_file()
    what, same = seen(folder) if known else ("", False)
    if what and same:
      notes.append(f"Warning: config.{field}: {what}: the scores are too good.")
  for field, folders in runs.items():
    for folder in folders:
      what, same = seen(folder)
      if not what:
        continue
      if not same:
        notes.append(
          f"Warning: config.{field}: {what}, if that is one case in both data sets: the validation "
          "scores would then be too good."
        )
        continue
      raise ValueError(
        f"config.{field}: {what}, whose scores would be too good; expected validation cases that "
        "no such run trained on (config.data.split as its, or cases left out of all folds), or "
        "config.data.split={} to train on all cases and validate on none."
      )
  return notes


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


def _same_source(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
  a, b = (
    {name: of for name, of in plain(config["data"]["source"]).items() if name not in _PLACES}
    for config in (ours, theirs)
  )
  paths = [str(config["data"]["source"].get("path", "")).rstrip("/") for config in (ours, theirs)]
  # the same set may lie elsewhere, under its own name
  return a == b and pathlib.Path(paths[0]).name == pathlib.Path(paths[1]).name


def _learnt(run: pathlib.Path) -> Iterator[tuple[dict[str, Any], list[str]]]:
  """(config as of a run whose main stream it were, cases) of each stream with labels."""
  config = run_folder.read_config(run)
  yield config, sorted(_sides(run)[0])
  needs = methods.NEEDS.get(config["method"]["name"], Needs())
  unseen = {*needs.streams, *needs.other_domains}
  told = run_folder.read_dataset(run, {"training": list, "validation": list})
  for name, of in told.get("streams", {}).items():
    bare = (config["streams"].get(name) or {}).get("cases") == UNLABELLED
    if name in config["streams"] and name not in unseen and not bare:
      yield as_main(config, name), sorted(of["cases"])


def _sides(run: pathlib.Path) -> tuple[set[str], set[str]]:
  """Names of the cases that trained a run, and of those that it validates on."""
  told = run_folder.read_dataset(run, {"training": list, "validation": list})
  return set(told["training"]), set(told["validation"])
