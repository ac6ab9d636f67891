"""Parts of a tree of parameters by path, as "encoder1/conv/kernel", and by patterns of paths.

A pattern is what a shell knows: `*` stands for any text, slashes included, `?` for a character. It
names what lies at a path and all that lies below: "encoder1", "encoder*", "*/norm/scale".
"""

import fnmatch
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import jax
from flax import traverse_util

from jaxseg.build import suggestion

PyTree = Any
_SHOWN = 12


def of_leaf(keys: Sequence[Any]) -> str:
  """What JAX tells of where a leaf lies in a tree of any kind -> its path."""
  return jax.tree_util.keystr(tuple(keys), simple=True, separator="/")


def flatten(params: PyTree) -> dict[str, Any]:
  """A nested dict -> path: leaf."""
  return traverse_util.flatten_dict(params, sep="/")


def unflatten(leaves: Mapping[str, Any]) -> PyTree:
  """What `flatten` gave -> the nested dict."""
  return traverse_util.unflatten_dict(leaves, sep="/")


def match(path: str, patterns: Iterable[str]) -> str | None:
  """The pattern that counts for a path, or None: of those that name it, that which says the most.

  That is the one with the most characters besides `*` and `?`: "encoder*norm*" is an exception to
  "encoder*". A config doesn't keep the order of its fields, so that order cannot decide.
  """
  return next(iter(_naming(path, patterns)), None)


def _naming(path: str, patterns: Iterable[str]) -> list[str]:
  """The patterns that name a path, that which says the most first."""
  above = _above(path)
  named = (p for p in patterns if any(fnmatch.fnmatchcase(name, p) for name in above))
  return sorted(named, key=_literal, reverse=True)


def _above(path: str) -> list[str]:
  parts = path.split("/")
  return ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def _literal(pattern: str) -> int:
  return len(re.sub("[*?]", "", pattern))


def rename(path: str, pattern: str, target: str) -> str:
  """A path with what `pattern` names of it replaced by `target`, whose `*` are those of `pattern`.

  ("encoder1/conv/kernel", "encoder*", "backbone/stage*") -> "backbone/stage1/conv/kernel". Raises
  ValueError for a target with more `*` than the pattern has.
  """
  if target.count("*") > pattern.count("*"):
    raise ValueError(
      f"'{target}' has more * than '{pattern}'; expected at most as many, each for one of them."
    )
  # of several readings the one that leaves most to the first star
  expression = "".join({"*": "(.*)", "?": "."}.get(c, re.escape(c)) for c in pattern)
  for above in _above(path):
    if found := re.fullmatch(expression, above):
      pieces = target.split("*")
      texts = found.groups()[: len(pieces) - 1]
      filled = "".join(a + b for a, b in zip(pieces, (*texts, ""), strict=True))
      return filled + path[len(above) :]
  raise ValueError(f"'{pattern}' does not name '{path}'.")


def check_apart(patterns: Collection[str], paths: Iterable[str], where: str) -> None:
  """Raises ValueError, which `where` begins, if two patterns say as much of one path."""
  for path in paths:
    first, second, *_ = [*_naming(path, patterns), "", ""]
    if second and _literal(first) == _literal(second):
      raise ValueError(
        f"{where}: the patterns '{first}' and '{second}' both name '{path}' and say as much of it; "
        "expected one of them with more of the path."
      )


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
