"""JSON files that a run writes for itself: with a digest of every field, so that a change is told.

The digests stand in the file, so that it is whole or not there at all, whenever a process is
killed. Files without them, of earlier versions or written by hand, are read as they are.
"""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from jaxseg import files

DIGESTS = "digests"


def write(path, value: Mapping[str, Any]) -> None:
  """Writes an object with the digests of its fields; what JSON does not know becomes text."""
  value = json.loads(json.dumps(value, default=str))
  files.write_json(path, {**value, DIGESTS: {name: _digest(of) for name, of in value.items()}})


def read(
  path, *, what: str, advice: str, fields: Mapping | None = None, only: bool = False
) -> dict[str, Any]:
  """The object, without its digests.

  Args:
    path, what, advice, fields: as for `files.read_json`.
    only: whether the other fields than `fields` may be damaged: the reader does not use them.

  Raises ValueError where a field is not what was written; else as `files.read_json`.
  """
  path, fields = pathlib.Path(path), fields or {}
  value = files.read_json(path, what=what, advice=advice)
  digests = value.pop(DIGESTS, None)
  if digests is not None:
    if not isinstance(digests, dict):
      raise ValueError(f"{path}: its digests are damaged; {advice}.")
    for name in fields if only else {**value, **digests}:
      if name not in value or digests.get(name) != _digest(value[name]):
        raise ValueError(
          f"{path}: '{name}' is not what training wrote, the file was edited or damaged; {advice} "
          f"(where an edit is meant, remove '{DIGESTS}' from the file)."
        )
  files.check_fields(value, path, advice=advice, fields=fields)
  return value


def _digest(value) -> str:
  return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]
