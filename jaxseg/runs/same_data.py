"""What a run folder says of the data that were learned from, and whether others are the same."""

import json
import math
import operator
from typing import Any

from jaxseg.batch import LabelSpec
from jaxseg.config.streams import MAIN_WORD
from jaxseg.runs.same_run import flat

_WEIGHTS = "class_weights"
# what the networks that a run began with or learnt from had seen; of no account for a resumed run
HANDED_DOWN = "handed_down"


def of_run(run) -> dict[str, Any]:
  """What dataset.json holds."""
  dataset, cases = run.main.dataset, (*run.main.cases, *run.validation)
  further = {name: _of_stream(of) for name, of in run.streams.items() if of is not run.main}
  return {
    "labels": json.loads(dataset.labels.to_json()),
    "channels": dataset.channels,
    "rank": dataset.rank,
    "preparation": json.loads(dataset.preparation.to_json()),
    "training": [dataset.names[i] for i in run.main.cases],
    "validation": [dataset.names[i] for i in run.validation],
    "content": _contents(dataset, cases),
    # of a run that has none nothing is said, as before there were any
    **({"streams": further} if further else {}),
    **({"scored": {of.stream: _scored(of) for of in run.held_out}} if run.held_out else {}),
    **({"targets": run.targets} if run.targets else {}),
    **({_WEIGHTS: run.class_weights} if run.class_weights else {}),
    **({HANDED_DOWN: run.handed_down} if run.handed_down else {}),
  }


def _of_stream(stream) -> dict[str, Any]:
  """What dataset.json holds of a further stream."""
  dataset, cases = stream.dataset, stream.cases
  return {
    "cases": [dataset.names[i] for i in cases],
    "content": _contents(dataset, cases),
    "preparation": json.loads(dataset.preparation.to_json()),
    "labels": json.loads(dataset.labels.to_json()),
  }


def _scored(held) -> dict[str, Any]:
  """What dataset.json holds of the cases of a stream that are scored at the end, not `validation`.

  A main stream's are among these, too.
  """
  return {"cases": held.names, "content": _contents(held.dataset, held.cases)}


def _contents(dataset, cases) -> dict[str, str | None]:
  return {dataset.names[i]: dataset.content(i) for i in cases}


def difference(before: dict[str, Any], now: dict[str, Any]) -> str:
  """How the data of two runs differ, to be read after "it began"; "" where they are the same.

  Both are as `of_run` makes them; content that one of the two does not know counts as the same.
  """
  learned, labels = (LabelSpec.from_json(json.dumps(of["labels"])) for of in (before, now))
  meaning = operator.attrgetter("names", "stored_values", "regions", "ignore")
  content = before.get("content") or {}
  cases = (*now["training"], *now["validation"])
  others = [name for name in cases if _differ(content, now["content"], name)]
  if meaning(learned) != meaning(labels):
    return f"with the labels {meaning(learned)}, now they are {meaning(labels)}"
  for side in ("training", "validation"):
    if before[side] != now[side]:
      return f"with other {side} cases (config.data.split, or the data themselves)"
  if others:
    what = f"when case '{others[0]}'" + (f" and {len(others) - 1} more" if others[1:] else "")
    return what + (
      " had other voxels, labels or spacing (config.data.source, or the files themselves)"
    )
  if field := _differing(_numbers(before), _numbers(now)):
    return f"with other numbers of the preparation ('{field}')"
  if what := _weights_differ(before.get(_WEIGHTS), now.get(_WEIGHTS, {})):
    return what
  if what := _scored_differ(before.get("scored", {}), now.get("scored", {})):
    return what
  return _streams_differ(before.get("streams", {}), now.get("streams", {}))


def _numbers(told: dict) -> dict:
  """Of the preparation, and of the normalisation of what is made."""
  return {**told["preparation"], "targets": told.get("targets", {})}


def _weights_differ(before: dict | None, now: dict) -> str:
  """Of runs that tell none, earlier versions counted those of the main stream, for all domains."""
  if before is None:
    if not now.keys() - {MAIN_WORD}:
      return ""
    return (
      "when class weights were counted in the main stream's labels alone; now they are counted in "
      f"those of {', '.join(now)} (class_weights of config.loss)"
    )
  field = _differing(before, now)
  return f"with other class weights ('{field}')" if field else ""


def _scored_differ(before: dict, now: dict) -> str:
  cases = [{name: list(of["cases"]) for name, of in told.items()} for told in (before, now)]
  if cases[0] != cases[1]:
    return "with other cases that are scored (config.evaluate.streams, or the splits of these)"
  for name, told in now.items():
    if others := [c for c in told["cases"] if _differ(before[name]["content"], told["content"], c)]:
      return f"when case '{others[0]}', which is scored, had other voxels, labels or spacing"
  return ""


def _streams_differ(before: dict, now: dict) -> str:
  if set(before) != set(now):
    ours, theirs = (", ".join(sorted(of)) or "none" for of in (now, before))
    return f"with the streams {theirs}, now they are {ours} (config.streams)"
  for name, told in now.items():
    was, field = before[name], f"config.streams.{name}, or the data themselves"
    if was["cases"] != told["cases"]:
      return f"with other cases of the stream '{name}' ({field})"
    others = [case for case in told["cases"] if _differ(was["content"], told["content"], case)]
    if others:
      what = f"when case '{others[0]}' of the stream '{name}' had other voxels, labels, fields"
      return f"{what} or spacing ({field})"
    if number := _differing(was["preparation"], told["preparation"]):
      return f"with other numbers of the preparation of the stream '{name}' ('{number}')"
  return ""


def _differ(before: dict, now: dict, name: str) -> bool:
  """Whether both know a case's content, and it is not one."""
  return None not in (before.get(name), now[name]) and before[name] != now[name]


def _differing(before: dict, now: dict) -> str | None:
  """The first field of two preparations that differs by more than another machine's rounding."""
  a, b = flat(_by_position(before)), flat(_by_position(now))
  for name in dict.fromkeys([*a, *b]):
    x, y = a.get(name), b.get(name)
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (x, y))
    if not (math.isclose(x, y, rel_tol=1e-5) if numbers else x == y):
      # a field that is younger than the run
      if name not in a and name.split(".")[0] not in before:
        continue
      return name
  return None


def _by_position(value):
  """Sequences as objects, so that `flat` reaches their elements."""
  if isinstance(value, dict):
    return {name: _by_position(item) for name, item in value.items()}
  if isinstance(value, list | tuple):
    return {str(i): _by_position(item) for i, item in enumerate(value)}
  return value
