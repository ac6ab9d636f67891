"""The runs that a source makes its cases by: config.streams.synthetic.source=dict(masks=FOLDER)."""

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

# source -> its options that are run folders, and what else they may be
OPTIONS: dict[str, tuple[str, ...]] = {
  "synthetic": ("masks", "images"),
  "translated": ("run",),
}
_WORDS = ("training",)


def folders(config: Mapping[str, Any]) -> dict[str, tuple[pathlib.Path, ...]]:
  """Field -> the run folder that it names, of all sources of a config."""
  return {
    f"{where}.{option}": (pathlib.Path(spec[option]),)
    for where, spec in _sources(config)
    for option in OPTIONS.get(spec.get("name"), ())
    if isinstance(spec.get(option), str) and spec[option] not in _WORDS
  }


def _sources(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
  yield "data.source", config["data"]["source"]
  for name, spec in config["streams"].items():
    if spec and "source" in spec:
      yield f"streams.{name}.source", spec["source"]
