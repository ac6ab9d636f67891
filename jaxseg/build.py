"""{"name": ..., **options} -> object, by a package's table of public names.

A component of a config is a dict: `dict(name="unet", widths=(32, 64))` means
`NETWORKS["unet"](widths=(32, 64))`. Names and options are checked against the table and the
signature, and a message lists the choices.
"""

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any


def suggestion(word: str, choices) -> str:
  """(did you mean 'x'?), or nothing."""
  near = difflib.get_close_matches(word, list(choices), n=1)
  return f" (did you mean '{near[0]}'?)" if near else ""


def lookup(table: Mapping[str, Callable], name: str, where: str) -> Callable:
  """The entry called `name`; raises ValueError that lists the choices."""
  if name not in table:
    raise ValueError(
      f"config.{where}.name: '{name}' is unknown{suggestion(str(name), table)}; "
      f"choices: {', '.join(sorted(table))}."
    )
  return table[name]


def options_of(function: Callable) -> dict[str, inspect.Parameter]:
  """The options that a config may set: keyword parameters, or a Linen module's attributes."""
  parameters = inspect.signature(function).parameters
  return {
    name: p
    for name, p in parameters.items()
    if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD) and name not in ("parent", "name")
  }


def check_options(name: str, options, known, where: str) -> None:
  """Raises ValueError that lists the known options if one of `options` is not among them."""
  for option in options:
    if option not in known:
      raise ValueError(
        f"config.{where}.{option}: '{name}' has no such option{suggestion(option, known)}; "
        f"options: {', '.join(sorted(known)) or 'none'}."
      )


def _checked(table, spec, where: str, given: Mapping[str, Any]):
  if not isinstance(spec, Mapping) and not hasattr(spec, "to_dict"):
    raise ValueError(f"config.{where}: expected a dict with a 'name', got {spec!r}.")
  spec = plain(spec)
  if "name" not in spec:
    raise ValueError(f"config.{where}: 'name' is missing; choices: {', '.join(sorted(table))}.")
  name = spec.pop("name")
  function = lookup(table, name, where)
  known = options_of(function)
  check_options(name, spec, known, where)
  return function, {**{k: v for k, v in given.items() if k in known}, **spec}


def build(table: Mapping[str, Callable], spec, where: str, **given) -> Any:
  """Calls the named constructor. `given` are values that the program provides if it takes them."""
  function, options = _checked(table, spec, where, given)
  missing = [
    name
    for name, p in options_of(function).items()
    if p.default is inspect.Parameter.empty and name not in options
  ]
  if missing:
    raise ValueError(f"config.{where}: '{spec['name']}' needs {', '.join(missing)}.")
  return function(**options)


def bind(table: Mapping[str, Callable], spec, where: str, **given) -> Callable:
  """The named function with its options bound: for losses, metrics and augmentations."""
  function, options = _checked(table, spec, where, given)
  return functools.partial(function, **options)


def plain(value: Any) -> Any:
  """ConfigDicts and lists -> dicts and tuples, all the way down."""
  if hasattr(value, "to_dict"):
    value = value.to_dict()
  if isinstance(value, Mapping):
    return {key: plain(item) for key, item in value.items()}
  if isinstance(value, list | tuple):
    return tuple(plain(item) for item in value)
  return value
