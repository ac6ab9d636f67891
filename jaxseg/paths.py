"""Parts of a tree of parameters by path, as "encoder1/conv/kernel", and by patterns of paths.

A pattern is what a shell knows: `*` stands for any text, slashes included, `?` for a character. It
names what lies at a path and all that lies below: "encoder1", "encoder*", "*/norm/scale".
"""

import fnmatch
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from flax import traverse_util

from jaxseg.build import suggestion

PyTree = Any
_SHOWN = 12


def flatten(params: PyTree) -> dict[str, Any]:
  """A nested dict -> path: leaf."""
  return traverse_util.flatten_dict(params, sep="/")


def unflatten(leaves: Mapping[str, Any]) -> PyTree:
  """What `flatten` gave -> the nested dict."""
  return traverse_util.unflatten_dict(leaves, sep="/")


def match(path: str, patterns: Iterable[str]) -> str | None:
  """The last of the patterns that names a path, so that an exception follows its rule; or None."""
  parts = path.split("/")
  above = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
  named = (p for p in patterns if any(fnmatch.fnmatchcase(name, p) for name in above))
  return next(iter(list(named)[::-1]), None)


def check(patterns: Iterable[str], paths: Collection[str], where: str) -> None:
  """Raises ValueError, which `where` begins, for the first pattern that names none of the paths."""
  for pattern in patterns:
    if not any(match(path, (pattern,)) for path in paths):
      tops = dict.fromkeys(path.split("/")[0] for path in paths)
      shown = ", ".join([*list(tops)[:_SHOWN], *(["..."] if len(tops) > _SHOWN else [])])
      near = suggestion(pattern, [*tops, *paths])
      raise ValueError(
        f"{where}: the pattern '{pattern}' names no parameter{near}; expected patterns of paths as "
        f"'{next(iter(paths), 'encoder1/conv/kernel')}', of {shown or 'nothing'}."
      )


def split(params: PyTree, patterns: Collection[str]) -> tuple[PyTree, PyTree]:
  """(the parameters that the patterns name, the rest): for norms of a modality, frozen parts.

  Both are nested dicts, which `merge` puts together again. Raises ValueError for a pattern that
  names nothing.
  """
  leaves = flatten(params)
  check(patterns, leaves, "split")
  chosen = {path: leaf for path, leaf in leaves.items() if match(path, patterns)}
  rest = {path: leaf for path, leaf in leaves.items() if path not in chosen}
  return unflatten(chosen), unflatten(rest)


def merge(*parts: PyTree) -> PyTree:
  """Trees of which no two hold one path -> the tree of them all; raises ValueError for two."""
  leaves: dict[str, Any] = {}
  for part in parts:
    own = flatten(part)
    for path in own:
      if path in leaves:
        raise ValueError(f"merge: '{path}' is in two of the parts; expected parts of one split.")
    leaves |= own
  return unflatten(leaves)
