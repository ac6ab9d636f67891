"""{"name": ..., **options} -> object, by a package's table of public names.

A component of a config is a dict: `dict(name="unet", widths=(32, 64))` means
`NETWORKS["unet"](widths=(32, 64))`. Names and options are checked against the table and the
signature, and a message lists the choices.
"""

import contextlib
import difflib
import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from jaxseg.config.option_values import check_values, constructor

_POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD
_KEYWORD = inspect.Parameter.KEYWORD_ONLY


def suggestion(word: str, choices) -> str:
  """(did you mean 'x'?), or nothing."""
  near = difflib.get_close_matches(word, list(choices), n=1)
  return f" (did you mean '{near[0]}'?)" if near else ""


def lookup(table: Mapping[str, Callable], name: str, where: str) -> Callable:
  """The entry called `name`; raises ValueError that lists the choices."""
  if not isinstance(name, str) or name not in table:
    raise ValueError(
      f"config.{where}.name: '{name}' is unknown{suggestion(str(name), table)}; "
      f"choices: {', '.join(sorted(table))}."
    )
  return table[name]


def options_of(
  function: Callable, *, given: Collection[str] | None = None
) -> dict[str, inspect.Parameter]:
  """The options that a config may set.

  A class's are its attributes, Linen's `parent` and `name` aside. A function's are those after the
  `*`: before it stands what the function is called with, such as logits, a sample, a network.

  Args:
    function: a constructor, a loss, a transform, ...
    given: None for a function that is called later with its positional arguments. One that is
      called at once gets these from the program; its further positional parameters are options.
  """
  parameters = inspect.signature(function).parameters
  inner = function
  while isinstance(inner, functools.partial):
    inner = inner.func
  if inspect.isclass(inner):
    kinds, reserved = (_POSITIONAL, _KEYWORD), ("parent", "name")
  elif given is None:
    kinds, reserved = (_KEYWORD,), ()
  else:
    positional = [name for name, p in parameters.items() if p.kind is _POSITIONAL]
    kinds, reserved = (_POSITIONAL, _KEYWORD), set(given).intersection(positional)
  return {name: p for name, p in parameters.items() if p.kind in kinds and name not in reserved}


def check_options(
  name: str, options, known, where: str, moved: Mapping[str, str] = MappingProxyType({})
) -> None:
  """Raises ValueError that lists the known options if one of `options` is not among them.

  `moved` tells what options of earlier versions are called now.
  """
  for option in options:
    if option in known:
      continue
    if option in moved:
      raise ValueError(
        f"config.{where}.{option}: '{name}' has no such option any more; give {moved[option]}."
      )
    raise ValueError(
      f"config.{where}.{option}: '{name}' has no such option{suggestion(option, known)}; "
      f"options: {', '.join(sorted(set(known))) or 'none'}."
    )


def named(table: Mapping[str, Callable], spec, where: str) -> Callable:
  """The entry that a component's dict names; raises ValueError that lists the choices."""
  if not isinstance(spec, Mapping) and not hasattr(spec, "to_dict"):
    raise ValueError(f"config.{where}: expected a dict with a 'name', got {spec!r}.")
  if "name" not in spec:
    raise ValueError(f"config.{where}: 'name' is missing; choices: {', '.join(sorted(table))}.")
  return lookup(table, spec["name"], where)


def _checked(table, spec, where: str, given: Mapping[str, Any], *, at_once: bool):
  """The named function, and its arguments so far: what is `given`, then the config's options."""
  function, spec = named(table, spec, where), plain(spec)
  name = spec.pop("name")
  known = options_of(function, given=given if at_once else None)
  check_options(name, spec, known, where, getattr(constructor(function), "moved", {}))
  check_values(name, spec, known, where)
  takes = inspect.signature(function).parameters if at_once else known
  return function, {**{k: v for k, v in given.items() if k in takes}, **spec}


def build(table: Mapping[str, Callable], spec, where: str, **given) -> Any:
  """Calls the named constructor. `given` are values that the program provides if it takes them.

  A config's option goes before a given value, unless it is one of a function's positional
  arguments, which are no options.
  """
  function, arguments = _checked(table, spec, where, given, at_once=True)
  _check_missing(function, arguments, (_POSITIONAL, _KEYWORD), spec, where)
  return function(**arguments)


def check(
  table: Mapping[str, Callable], spec, where: str, *, later: bool = False, given=()
) -> None:
  """Raises what building a component would raise of its names, values and missing options.

  `given` names what the program provides, `later` is for a function whose positional arguments
  come later (`bind`).
  """
  provided = dict.fromkeys(given)
  function, arguments = _checked(table, spec, where, provided, at_once=not later)
  _check_missing(
    function, arguments, (_KEYWORD,) if later else (_POSITIONAL, _KEYWORD), spec, where
  )


def _check_missing(function, arguments, kinds, spec, where: str) -> None:
  missing = [
    name
    for name, p in inspect.signature(function).parameters.items()
    if p.default is p.empty and p.kind in kinds and name not in arguments
  ]
  if missing:
    raise ValueError(f"config.{where}: '{spec['name']}' needs {', '.join(missing)}.")


def bind(table: Mapping[str, Callable], spec, where: str, **given) -> Callable:
  """The named function with its options bound: for losses, metrics and augmentations."""
  function, options = _checked(table, spec, where, given, at_once=False)
  return functools.partial(function, **options)


@contextlib.contextmanager
def in_field(field: str) -> Iterator[None]:
  """Names the field in what a component says of its options, where it doesn't name one itself."""
  try:
    yield
  except ValueError as error:
    if str(error).startswith("config."):
      raise
    raise ValueError(f"config.{field}: {error}") from error


def plain(value: Any) -> Any:
  """ConfigDicts and lists -> dicts and tuples, all the way down."""
  if hasattr(value, "to_dict"):
    value = value.to_dict()
  if isinstance(value, Mapping):
    return {key: plain(item) for key, item in value.items()}
  if isinstance(value, list | tuple):
    return tuple(plain(item) for item in value)
  return value
