"""config.streams: what each further stream has otherwise than the main one.

A stream's fields are those of config.data, besides `augment` (config.augment), `cases`, and `joins`
of one that the method learns from as from the main stream; what it leaves out is config.data's and
config.augment's.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from jaxseg import batch
from jaxseg.build import suggestion
from jaxseg.config.annotation import FULL
from jaxseg.config.fields import FIELDS
from jaxseg.config.option_values import check_value
from jaxseg.methods import by_domain

# a stream's samples lie beside the main stream's, or in their place, see `methods.joined`
BESIDE, INSTEAD = "beside", "instead"
TRAINING, UNLABELLED, HELD_BACK = "training", "unlabelled", "held_back"
# what config.evaluate.streams calls the main stream, which has no name
MAIN_WORD = by_domain.MAIN
# how cases become what lies on the disk
PREPARATION = (
  "normalise",
  "orientation",
  "transpose",
  "crop_nonzero",
  "spacing",
  "resampling",
)
# what is config.data's where a stream says nothing else
LIKE_MAIN = (*PREPARATION, "classes", "patch", "batch", "foreground", "slices")
_OF_DATA = ("source", "split", "fields", "annotation", *LIKE_MAIN)
_FIELDS = (*_OF_DATA, "augment", "cases", "joins")


def check(streams: Mapping[str, Any]) -> None:
  """Raises ValueError for a name, a field or a value that cannot be; reads and builds nothing."""
  for name, spec in streams.items():
    where = f"config.streams.{name}"
    taken = (*batch.FIELDS, MAIN_WORD)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", str(name)) or name in taken:
      raise ValueError(
        f"config.streams: '{name}' is no name of a stream; expected a word of small letters that "
        f"is no field of a batch ({', '.join(batch.FIELDS)}), nor '{MAIN_WORD}'."
      )
    if not isinstance(spec, Mapping):
      raise ValueError(f"{where}: {spec!r}; expected dict(...) of {', '.join(_FIELDS)}.")
    for field, value in spec.items():
      if field not in _FIELDS:
        raise ValueError(
          f"{where}.{field}: a stream has no such field{suggestion(str(field), _FIELDS)}; fields: "
          f"{', '.join(_FIELDS)}."
        )
      if field in _OF_DATA:
        of = FIELDS[f"data.{field}"]
        check_value(value, f"{where}.{field}", of.kind, of.span)
    cases = spec.get("cases", TRAINING)
    if cases not in (TRAINING, UNLABELLED, HELD_BACK):
      raise ValueError(
        f"{where}.cases: {cases!r}; expected '{TRAINING}', the training side of its split, "
        f"'{UNLABELLED}', the cases without labels, or '{HELD_BACK}', with their labels those that "
        "config.data.split.labelled leaves out of the main stream."
      )
    if cases == HELD_BACK and "source" in spec:
      raise ValueError(
        f"{where}.cases: '{HELD_BACK}' are cases of the main stream's source, and the stream has "
        "one of its own; leave one of the two out."
      )
    if "joins" in spec:
      _check_joins(spec, where)
    if not isinstance(spec.get("augment", {}), Mapping):
      raise ValueError(f"{where}.augment: {spec['augment']!r}; expected dict(...).")
    if "split" in spec and "source" not in spec:
      raise ValueError(
        f"{where}.split: is for a source of its own; without one, the stream shares the main "
        "stream's cases and config.data.split."
      )


def _check_joins(spec: Mapping[str, Any], where: str) -> None:
  if spec["joins"] not in (BESIDE, INSTEAD):
    raise ValueError(
      f"{where}.joins: {spec['joins']!r}; expected '{BESIDE}' (its samples are learnt from beside "
      f"the main stream's) or '{INSTEAD}' (in their place, the main stream validates alone)."
    )
  if spec.get("cases", TRAINING) != TRAINING:
    raise ValueError(
      f"{where}.joins: '{spec['joins']}' with cases='{spec['cases']}'; what is learnt from as the "
      "main stream is has labels: leave one of the two out."
    )


def joins(config: Mapping[str, Any]) -> dict[str, str]:
  """Name -> how it joins, of the streams that do."""
  each = {name: (spec or {}).get("joins") for name, spec in config["streams"].items()}
  return {name: how for name, how in each.items() if how}


def as_main(config: Mapping[str, Any], name: str) -> dict[str, Any]:
  """The config of a run whose main stream a further one were.

  A source of its own that is not split is fed whole: `split` is then {}.
  """
  spec = config["streams"][name] or {}
  # fields are annotations of cases by name: another stream's say nothing of these
  main = config["data"]
  # unless they are what its cases learn from
  shared = {main["annotation"]: main["fields"][main["annotation"]]} if _shares(spec, main) else {}
  own = {"fields": shared} | {field: value for field, value in spec.items() if field in _OF_DATA}
  if "source" in own:
    own = {"split": {}} | own
  if not shared:
    own = {"annotation": FULL} | own
  given = spec.get("augment", config["augment"])
  augment = {key: of for key, of in given.items() if of is not None}
  return {**config, "data": {**config["data"], **own}, "augment": augment}


def _shares(spec: Mapping[str, Any], main: Mapping[str, Any]) -> bool:
  """Whether a stream's cases are the main one's, which learn from what was drawn."""
  bare = spec.get("cases", TRAINING) == UNLABELLED
  return "source" not in spec and not bare and main["annotation"] in main["fields"]


@contextlib.contextmanager
def named(name: str) -> Iterator[None]:
  """Names a stream's field in what is said of the field of the main stream that it stands for."""
  try:
    yield
  except (ValueError, FileNotFoundError) as error:
    text = re.sub(r"config\.data\b", f"config.streams.{name}", str(error))
    text = re.sub(r"config\.augment\b", f"config.streams.{name}.augment", text)
    if not name or text == str(error):
      raise
    raise type(error)(text) from error
