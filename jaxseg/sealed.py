"""JSON files that jaxseg writes for itself: with a digest of every field, so that a change is told.

The digests stand in the file, so that it is whole or not there at all, whenever a process is
killed.
"""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from jaxseg import files

DIGESTS = "digests"


class Damaged(ValueError):
  """What is stored is not what was written; the text is one sentence, or the reason for one."""


def seal(value: Mapping[str, Any]) -> dict[str, Any]:
  """An object with the digests of its fields; what JSON does not know becomes text."""
  value = json.loads(json.dumps(value, default=str))
  return {**value, DIGESTS: {name: _digest(field) for name, field in value.items()}}


def write(path, value: Mapping[str, Any]) -> None:
  """Writes an object as `seal` makes it."""
  files.write_json(path, seal(value))


def read(
  path,
  *,
  what: str,
  advice: str,
  fields: Mapping | None = None,
  only: bool = False,
  required: bool = False,
) -> dict[str, Any]:
  """The object, without its digests.

  Args:
    path, what, advice, fields: as for `files.read_json`.
    only: whether the other fields than `fields` may be damaged: the reader does not use them.
    required: whether a file without digests is damaged; else it is one of an earlier version, or
      written by hand, and read as it is.

  Raises Damaged where a field is not what was written; else as `files.read_json`.
  """
  path, fields = pathlib.Path(path), fields or {}
  value = files.read_json(path, what=what, advice=advice)
  digests = value.pop(DIGESTS, {} if required else None)
  if digests is not None:
    if not isinstance(digests, dict) or (required and not digests):
      raise Damaged(f"{path}: its digests are damaged; {advice}.")
    for name in fields if only else {**value, **digests}:
      if name not in value or digests.get(name) != _digest(value[name]):
        edit = "" if required else f" (where an edit is meant, remove '{DIGESTS}' from the file)"
        raise Damaged(
          f"{path}: '{name}' is not what was written, the file was edited or damaged; "
          f"{advice}{edit}."
        )
  files.check_fields(value, path, advice=advice, fields=fields)
  return value


def _digest(value) -> str:
  return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
