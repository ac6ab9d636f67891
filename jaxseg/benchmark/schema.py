"""The file of results: what it holds, how it is read and written."""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from jaxseg import files

FORMAT, VERSION = "jaxseg benchmark", 1
_ADVICE = "choose another name, or measure again"
_ROW = {"label": str, "overrides": list, "failed": (str, type(None)), "identity": str}


def empty(machine: Mapping[str, Any]) -> dict[str, Any]:
  """Results of a machine, without rows.

  A row is {"label", "overrides": the command line, "failed": None or a sentence, "identity",
  "options", "row_seconds", "conditions", and by name what each part measured}; see `parts.PARTS`.
  "repeats" of a row holds what "training" does, of further processes.
  """
  return {"format": FORMAT, "version": VERSION, "machine": dict(machine), "rows": []}


def read(path, option: str) -> dict[str, Any]:
  """Results from a file; raises ValueError or FileNotFoundError in a sentence."""
  fields = {"format": str, "version": int, "machine": dict, "rows": list}
  where = f"{option} {path}"
  what = "results of `jaxseg benchmark`"
  results = files.read_json(path, what=what, advice=_ADVICE)
  if results.get("format") != FORMAT:
    raise ValueError(f"{where}: no results of `jaxseg benchmark`; {_ADVICE}.")
  if results.get("version") != VERSION:
    raise ValueError(
      f"{where}: written by another version of `jaxseg benchmark` (version "
      f"{results.get('version')} of its format, this one reads {VERSION}); {_ADVICE}."
    )
  files.check_fields(results, where, advice=_ADVICE, fields=fields)
  for number, row in enumerate(results["rows"]):
    prefix = f"rows[{number}]."
    files.check_fields(row, where, advice=_ADVICE, fields=_ROW, prefix=prefix)
    if not isinstance(row.get("repeats", []), list):
      raise ValueError(f"{where}: {prefix}repeats is no list; {_ADVICE}.")
    if row["failed"] is None:
      files.check_fields(row, where, advice=_ADVICE, fields={"conditions": dict}, prefix=prefix)
  return results


def write(path, results: Mapping[str, Any]) -> None:
  files.write_json(path, results)


def digest(*values) -> str:
  """A short name of plain values: equal for equal ones."""
  text = json.dumps(values, sort_keys=True, default=str)
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def code() -> str:
  """A short name of the package's source as it is now."""
  root, total = pathlib.Path(__file__).parents[1], hashlib.sha256()
  for path in sorted(root.rglob("*.py")):
    total.update(str(path.relative_to(root)).encode() + path.read_bytes())
  return total.hexdigest()[:16]
