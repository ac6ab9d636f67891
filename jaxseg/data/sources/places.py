"""Where the files of a configured source lie, however a config writes it."""

import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from jaxseg import files
from jaxseg.build import plain

# options of sources that are folders
FOLDERS = ("path", "images", "masks", "weights", "data_dir")
TRANSLATED = "translated"
# options that tell not which files are read
_HOW_READ = ("labelled", "channels", "check_affine")
# options that tell not which cases they are
_ELSEWHERE = ("path", "data_dir", *_HOW_READ, "cache", "download", "url")


def folders(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
  """(option, folder) of a source, and of one that lies within it."""
  for name, value in spec.items():
    if isinstance(value, Mapping):
      yield from ((f"{name}.{option}", place) for option, place in folders(value))
    elif name in FOLDERS and isinstance(value, str) and value:
      yield name, value


def untranslated(spec: Mapping[str, Any]) -> Mapping[str, Any]:
  """The source whose cases these are: of translated images the one that they are made of."""
  while spec.get("name") == TRANSLATED and isinstance(spec.get("source"), Mapping):
    spec = spec["source"]
  return spec


def same_files(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
  """Whether two sources read the same files, one of them perhaps to translate its images."""
  a, b = (_without(_resolved(untranslated(of)), _HOW_READ) for of in (ours, theirs))
  return a == b


def same_set(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
  """Whether two sources are of one data set, which may lie elsewhere under its own name."""
  a, b = map(untranslated, (ours, theirs))
  rest = [_without(_resolved(of), _ELSEWHERE) for of in (a, b)]
  return rest[0] == rest[1] and bool(_names(a) & _names(b))


def _without(spec: Mapping[str, Any], names) -> dict[str, Any]:
  return {name: of for name, of in spec.items() if name not in names}


def _resolved(spec: Mapping[str, Any]) -> dict[str, Any]:
  """A source's options, its folders as the places that they are."""
  spec = plain(spec)
  return spec | {
    name: files.real_path(of)
    for name, of in spec.items()
    if name in FOLDERS and isinstance(of, str) and of
  }


def _names(spec: Mapping[str, Any]) -> set[str]:
  """What the folder of a set is called: as it is written, and as the place that it is."""
  if not (path := spec.get("path", "")):
    return {""}
  return {pathlib.Path(of(path)).name for of in (os.path.abspath, files.real_path)}
