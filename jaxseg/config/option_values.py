"""Whether an option's value is what its annotation and its range allow; what they say in words.

Annotations are the constructors' own; ranges go by the option's name (see `config.ranges`), because
a name means the same everywhere.
"""

import collections.abc
import inspect
import math
import numbers
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from jaxseg.config.ranges import RANGES, Range

_NUMBERS = (int, float)
_SEVERAL = (collections.abc.Sequence, tuple, list)


def parts_of(kind: Any) -> tuple:
  """The kinds of a union; of another kind itself. Arrays beside a number stand for that number."""
  if not isinstance(kind, types.UnionType) and typing.get_origin(kind) is not typing.Union:
    return (kind,)
  found = typing.get_args(kind)
  if np.ndarray in found:
    # Optax's scalars
    kept = [part for part in found if part in (*_NUMBERS, type(None), collections.abc.Callable)]
    return (float, *kept) if float in kept or int in kept else (Any,)
  return found


def fits(value: Any, kind: Any) -> bool:
  """Whether a value is of the kind that an annotation names."""
  return any(_fits(value, part) for part in parts_of(kind))


def _fits(value: Any, kind: Any) -> bool:
  if kind is Any or kind is inspect.Parameter.empty or isinstance(kind, str):
    return True
  if kind is None or kind is type(None):
    return value is None
  origin = typing.get_origin(kind) or kind
  if origin in _SEVERAL:
    return isinstance(value, list | tuple) and _all_fit(value, origin, typing.get_args(kind))
  if origin is collections.abc.Mapping or origin is dict:
    return isinstance(value, Mapping)
  if origin is collections.abc.Callable:
    return callable(value)
  if kind is bool:
    return isinstance(value, bool | np.bool_)
  if kind is int:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)
  if kind is float:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
  return not isinstance(kind, type) or isinstance(value, kind)


def _all_fit(values, origin, of: tuple) -> bool:
  if not of:
    return True
  if origin is tuple and of[-1] is not Ellipsis:
    return len(values) == len(of) and all(map(fits, values, of))
  return all(fits(value, of[0]) for value in values)


def allows(kind: Any, wanted: type) -> bool:
  """Whether values of a type may be of a kind; `tuple` stands for several values of any kind."""
  for part in parts_of(kind):
    origin = typing.get_origin(part) or part
    if part is Any or part is inspect.Parameter.empty or part is wanted:
      return True
    if (wanted is tuple and origin in _SEVERAL) or (wanted is int and part is float):
      return True
  return False


def is_word(kind: Any) -> bool:
  """Whether a kind has words among its values, and no numbers."""
  of = parts_of(kind)
  return str in of and not set(of) & {int, float, Any}


def is_text(kind: Any) -> bool:
  """Whether the values of a kind are words alone (or None)."""
  return set(parts_of(kind)) in ({str}, {str, type(None)})


def in_words(kind: Any, span: Range | None = None) -> str:
  """What is expected of a value: "a whole number from 1", "True or False"."""
  return " or ".join(dict.fromkeys(_words(part, span) for part in parts_of(kind)))


def _words(kind: Any, span: Range | None) -> str:
  origin, of = typing.get_origin(kind) or kind, typing.get_args(kind)
  if origin in _SEVERAL:
    if origin is tuple and of and of[-1] is not Ellipsis:
      return f"({', '.join(in_words(part, span) for part in of)})"
    inner = of[0] if of else Any
    each = "" if inner is Any else f", each {in_words(inner, span)}"
    example = {int: ", as (1, 2)", float: ", as (0.1, 0.2)", str: ', as ("a", "b")'}
    return f"several in parentheses{each}{example.get(inner, '')}"
  if origin is collections.abc.Mapping or origin is dict:
    return "dict(name=..., OPTION=...)"
  if origin is collections.abc.Callable:
    return "a schedule"
  words = {
    int: f"a whole number{_span(span)}",
    float: f"a number{_span(span)}",
    str: "a word",
    bool: "True or False",
    type(None): "None",
  }
  return words.get(kind, "None" if kind is None else "another value")


def _span(span: Range | None) -> str:
  return f" {span.words}" if span else ""


def numbers_in(value: Any) -> Iterator[float]:
  """All numbers of a value, whatever it is nested in; not those of a part's own dict."""
  if isinstance(value, list | tuple):
    for item in value:
      yield from numbers_in(item)
  elif isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_):
    yield value


def check_value(
  value: Any, where: str, kind: Any, span: Range | None = None, *, finite: bool = True
) -> None:
  """Raises ValueError unless a value is of the kind and all its numbers lie in the range.

  `where` names it in the message: "config.steps". NaN lies in no range, and infinite numbers only
  where `finite` is False.
  """
  found = list(numbers_in(value))
  good = fits(value, kind) and (not span or all(number in span for number in found))
  if not good or (finite and not all(map(math.isfinite, found))):
    raise ValueError(f"{where}: {value!r}; expected {in_words(kind, span)}.")


def check_values(
  name: str, options: Mapping[str, Any], known: Mapping[str, inspect.Parameter], where: str
) -> None:
  """Raises ValueError for the first option of a component that is not what it may be.

  Args:
    name: of the component.
    options: what a config sets, all of them among `known`.
    known: the constructor's parameters.
    where: the config field of the component.
  """
  for option, value in options.items():
    check_value(value, f"config.{where}.{option}", kind_of(known[option]), span(name, option))


def span(name: str, option: str) -> Range | None:
  """The range of a component's option, None for any value."""
  return RANGES.get((name, option), RANGES.get(option))


def check_expression(expression: str, where: str) -> None:
  """Raises ValueError unless it is a regular expression."""
  try:
    re.compile(expression)
  except re.error as error:
    raise ValueError(
      f"{where}: r'{expression}' is no regular expression ({error}); expected one, as "
      "r'(.+)_[0-9]+'."
    ) from error


def kind_of(parameter: inspect.Parameter) -> Any:
  """A parameter's annotation; of a constructor without them, the type of its default."""
  if parameter.annotation is not parameter.empty:
    return parameter.annotation
  return bool if isinstance(parameter.default, bool) else Any


def constructor(function: Callable) -> Callable:
  """What `functools.partial` bound options to."""
  return constructor(function.func) if hasattr(function, "func") else function
