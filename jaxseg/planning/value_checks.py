"""Of which kind the values in a file of plans must be: what people edit is told in a sentence."""

import math
from collections.abc import Callable, Iterable, Mapping


def whole(value) -> bool:
  """A positive whole number."""
  return isinstance(value, int) and not isinstance(value, bool) and value > 0


def positive(value) -> bool:
  """A positive number."""
  number = isinstance(value, int | float) and not isinstance(value, bool)
  return number and 0 < value < math.inf


def among(choices: Iterable) -> Callable:
  """One of the choices, of its type: true is no 1."""
  return lambda value: any(type(value) is type(one) and value == one for one in choices)


def several(kind: Callable, number: int) -> Callable:
  """Lists of so many values of a kind."""
  return lambda value: isinstance(value, list) and len(value) == number and all(map(kind, value))


def order(number: int) -> Callable:
  """Lists that hold each of 0 to number - 1 once."""

  def holds(value) -> bool:
    listed = isinstance(value, list) and all(type(item) is int for item in value)
    return listed and sorted(value) == list(range(number))

  return holds


def expect(entry: Mapping, field: str, fits: Callable, expected: str, where: str) -> None:
  """Raises ValueError that names the field and what it must be."""
  if not fits(entry[field]):
    raise ValueError(f"{where}: {field} is {entry[field]!r}; expected {expected}.")
