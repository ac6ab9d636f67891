"""What a search chooses: fields of a config with their choices or ranges, and what one draw is.

config.search.space has the fields as the config has them; at its leaves stand dict(choices=(...)),
or dict(low=, high=) with log=True for numbers that are drawn by their logarithm, whole=True for
whole ones, and count=12 for that many of them, which the field then has in parentheses; or
dict(space=dict(name="nas_unet")), of whose architectures the field gets genotypes. A draw, a
`Candidate`, has one number for each parameter: of choices the place in their list.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxseg.build import check_options, plain
from jaxseg.config.option_values import check_value
from jaxseg.config.ranges import COUNT
from jaxseg.search import genotypes, spaces

Candidate = dict[str, float]
CHOICES, LOW, SPACE = "choices", "low", "space"
_SPAN = ("low", "high", "log", "whole", "count")
_WHERE = "search.space"
# around a number, before another way to leave it is taken
_DRAWS = 1000
_LEAF = "dict(choices=(...)), dict(low=..., high=...) or dict(space=dict(name=...))"


class Choices(NamedTuple):
  """One of several values, of any kind."""

  values: tuple[Any, ...]


class Span(NamedTuple):
  """A number between two; of `log` its logarithm is drawn, of `whole` it is a whole one."""

  low: float
  high: float
  log: bool = False
  whole: bool = False

  def at(self, share: float) -> float:
    """The number at a share of the way from the low end to the high one."""
    share = min(max(share, 0.0), 1.0)
    if self.log:
      low, high = math.log(self.low), math.log(self.high)
      number = math.exp(low + share * (high - low))
    else:
      number = self.low + share * (self.high - self.low)
    number = min(max(number, self.low), self.high)
    return round(number) if self.whole else number

  def share(self, number: float) -> float:
    """Where a number lies, from 0 to 1."""
    low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
    number = math.log(number) if self.log else number
    return (number - low) / (high - low) if high > low else 0.0


class Space(NamedTuple):
  """What is chosen.

  Attributes:
    parameters: by name, as "optimiser.learning_rate", "loss.surrogate.theta[3]" of several numbers
      and "network.genotype:down.0" of an architecture's choice.
    architectures: field -> the space that its genotypes are of; their choices are among the
      parameters.
  """

  parameters: dict[str, Choices | Span]
  architectures: dict[str, spaces.Space]

  @property
  def fields(self) -> set[str]:
    """The fields of the config that are chosen."""
    return {name.partition("[")[0].partition(":")[0] for name in self.parameters}

  @property
  def size(self) -> float:
    """How many candidates there are; infinite with a number that is not whole."""
    alone = [of for name, of in self.parameters.items() if ":" not in name]
    return math.prod([*map(_count, alone), *(of.size for of in self.architectures.values())])


def _count(of: Choices | Span) -> float:
  if isinstance(of, Choices):
    return len(of.values)
  return of.high - of.low + 1 if of.whole else math.inf


def space(spec: Mapping[str, Any]) -> Space:
  """config.search.space -> the parameters; raises ValueError for what is none, or no choice."""
  parameters: dict[str, Choices | Span] = {}
  architectures: dict[str, spaces.Space] = {}
  for path, leaf in _leaves(plain(spec), ()):
    name = ".".join(path)
    if SPACE in leaf:
      check_options(SPACE, leaf, (SPACE,), f"{_WHERE}.{name}")
      own = architectures[name] = spaces.build(leaf[SPACE], f"{_WHERE}.{name}.{SPACE}")
      parameters |= {f"{name}:{choice}": Choices(tuple(of)) for choice, of in own.choices.items()}
    else:
      parameters |= _parameters(name, leaf)
  of = Space(parameters, architectures)
  if not parameters:
    raise ValueError(
      f"config.{_WHERE}: is empty; expected fields of the config with what is tried, as "
      "dict(optimiser=dict(learning_rate=dict(low=1e-4, high=1e-2, log=True)))."
    )
  if of.size < 2:
    raise ValueError(
      f"config.{_WHERE}: has a single candidate, so that there is nothing to search; give "
      f"{next(iter(parameters))} several choices."
    )
  return of


def _leaves(
  spec: Mapping[str, Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
  for name, of in spec.items():
    here = (*path, name)
    where = f"config.{_WHERE}.{'.'.join(here)}"
    if not isinstance(of, Mapping):
      raise ValueError(f"{where}: {of!r}; expected {_LEAF}.")
    if {CHOICES, LOW, SPACE} & set(of):
      yield here, of
    elif of and not set(of) & set(_SPAN):
      yield from _leaves(of, here)
    else:
      raise ValueError(
        f"{where}: tells no values; expected dict(choices=(...)) or dict(low=, high=)."
      )


def _parameters(path: str, leaf: Mapping[str, Any]) -> dict[str, Choices | Span]:
  where = f"{_WHERE}.{path}"
  if CHOICES in leaf:
    check_options(CHOICES, leaf, (CHOICES,), where)
    values = leaf[CHOICES]
    if not isinstance(values, tuple) or not values:
      raise ValueError(f"config.{where}.choices: {values!r}; expected several values, as (16, 32).")
    if len({repr(value) for value in values}) < len(values):
      raise ValueError(f"config.{where}.choices: {values!r} has a value twice; expected each once.")
    return {path: Choices(values)}
  check_options("a range", leaf, _SPAN, where)
  for name in ("low", "high"):
    check_value(leaf.get(name), f"config.{where}.{name}", float)
  for name in ("log", "whole"):
    check_value(leaf.get(name, False), f"config.{where}.{name}", bool)
  low, high, log, whole = (
    leaf["low"],
    leaf["high"],
    leaf.get("log", False),
    leaf.get("whole", False),
  )
  if low >= high or (log and low <= 0) or (whole and (low != round(low) or high != round(high))):
    above = " above 0" if log else ""
    kind = "whole numbers" if whole else "numbers"
    raise ValueError(
      f"config.{where}: from {low} to {high}; expected {kind}{above}, low below high."
    )
  span = Span(low, high, log, whole)
  if "count" not in leaf:
    return {path: span}
  check_value(leaf["count"], f"config.{where}.count", int, COUNT)
  return {f"{path}[{number}]": span for number in range(leaf["count"])}


def draw(of: Space, random: np.random.Generator) -> Candidate:
  """A candidate, every parameter's value as likely as any other."""
  out = {
    name: _drawn(parameter, random) for name, parameter in of.parameters.items() if ":" not in name
  }
  for field, own in of.architectures.items():
    out |= _places(own, field, spaces.draw(own, random))
  return {name: out[name] for name in of.parameters}


def _places(own: spaces.Space, field: str, chosen: Mapping[str, Any]) -> Candidate:
  """An architecture's choices as places in their lists."""
  return {
    f"{field}:{choice}": own.choices[choice].index(option) for choice, option in chosen.items()
  }


def _chosen(own: spaces.Space, field: str, candidate: Candidate) -> dict[str, Any]:
  return {
    choice: options[int(candidate[f"{field}:{choice}"])] for choice, options in own.choices.items()
  }


def settled(of: Space, candidate: Candidate) -> Candidate:
  """The candidate, of each architecture only what goes with what is chosen before it.

  For candidates whose parameters were drawn one by one: of what does not go, a place in the list
  becomes the like place among what does.
  """
  out = dict(candidate)
  for field, own in of.architectures.items():
    before: dict[str, Any] = {}
    for choice, options in own.choices.items():
      place_of = int(out[f"{field}:{choice}"])
      fitting = spaces.options(own, choice, before)
      option = options[place_of]
      if option not in fitting:
        option = fitting[place_of * len(fitting) // len(options)]
      before[choice] = option
      out[f"{field}:{choice}"] = options.index(option)
  return out


def _drawn(of: Choices | Span, random: np.random.Generator) -> float:
  if isinstance(of, Choices):
    return int(random.integers(len(of.values)))
  if of.whole and not of.log:
    return int(random.integers(of.low, of.high + 1))
  return of.at(random.random())


def mutated(
  of: Space, candidate: Candidate, random: np.random.Generator, *, width: float = 0.2
) -> Candidate:
  """The candidate with one parameter changed: another choice, or a number drawn around its own.

  `width` is the deviation of that draw as a share of the range; what leaves the range is drawn
  again, and so is the number itself: of whole numbers the next one is taken in the end.
  """
  names = [name for name, parameter in of.parameters.items() if _count(parameter) > 1]
  name = names[int(random.integers(len(names)))]
  field, architecture, _ = name.partition(":")
  if architecture:
    own = of.architectures[field]
    new = spaces.changed(own, _chosen(own, field, candidate), random)
    return {**candidate, **_places(own, field, new)}
  parameter, value = of.parameters[name], candidate[name]
  if isinstance(parameter, Choices):
    other = int(random.integers(len(parameter.values) - 1))
    return {**candidate, name: other + (other >= value)}
  return {**candidate, name: _near(parameter, value, random, width)}


def _near(of: Span, value: float, random: np.random.Generator, width: float) -> float:
  """A number drawn around another one, and not that one."""
  for _ in range(_DRAWS):
    share = of.share(value) + width * random.standard_normal()
    if 0 <= share <= 1 and (new := of.at(share)) != value:
      return new
  if not of.whole:
    return of.at(random.random())
  # the step to the next whole number is wider than any such draw
  beside = [number for number in (value - 1, value + 1) if of.low <= number <= of.high]
  return beside[int(random.integers(len(beside)))]


def key(candidate: Candidate) -> tuple:
  """What tells two candidates apart."""
  return tuple(sorted(candidate.items()))


def values(of: Space, candidate: Candidate) -> dict[str, Any]:
  """Field of the config -> what a candidate sets it to; several numbers of a field are a tuple."""
  out: dict[str, Any] = {
    field: plain(spaces.genotype(own, _chosen(own, field, candidate)))
    for field, own in of.architectures.items()
  }
  for name, number in candidate.items():
    if ":" in name:
      continue
    parameter = of.parameters[name]
    value = parameter.values[int(number)] if isinstance(parameter, Choices) else number
    path, bracket, _ = name.partition("[")
    out[path] = (*out.get(path, ()), value) if bracket else value
  return out


def place(of: Space, fields: Mapping[str, Any], where: str) -> Candidate:
  """The candidate that sets fields to these values; raises ValueError where the space has none."""
  candidate: Candidate = {}
  known = of.fields
  for name in fields:
    if name not in known:
      raise ValueError(
        f"{where}.{name}: is no field of config.{_WHERE}; its fields: {', '.join(sorted(known))}."
      )
  for path in sorted(known - set(fields)):
    raise ValueError(f"{where}: lacks {path}; expected a value of every field of the space.")
  seen = dict.fromkeys(known, 0)
  for field, own in of.architectures.items():
    genotype = genotypes.resolve(fields[field], f"{where}.{field}")
    candidate |= _places(own, field, spaces.within(own, genotype, f"{where}.{field}"))
  for name, parameter in of.parameters.items():
    if ":" in name:
      continue
    path, bracket, _ = name.partition("[")
    value = plain(fields[path])
    if bracket:
      if not isinstance(value, tuple) or seen[path] >= len(value):
        raise ValueError(f"{where}.{path}: {value!r}; expected as many numbers as the space has.")
      value, seen[path] = value[seen[path]], seen[path] + 1
    candidate[name] = _number(parameter, value, f"{where}.{path}")
  for path, number in seen.items():
    if number and number != len(plain(fields[path])):
      raise ValueError(
        f"{where}.{path}: {plain(fields[path])!r}; expected {number} numbers, as the space has."
      )
  return {name: candidate[name] for name in of.parameters}


def _number(of: Choices | Span, value: Any, where: str) -> float:
  if isinstance(of, Choices):
    if value not in of.values:
      raise ValueError(f"{where}: {value!r} is none of the choices {of.values}.")
    return of.values.index(value)
  check_value(value, where, int if of.whole else float)
  if not of.low <= value <= of.high:
    raise ValueError(f"{where}: {value!r}; expected a number from {of.low} to {of.high}.")
  return value


def with_fields(config: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
  """A plain config with fields set by their paths; groups on the way are made where they lack."""
  out = dict(config)
  for path, value in fields.items():
    *groups, last = path.split(".")
    inner = out
    for group in groups:
      of = inner.get(group)
      inner[group] = dict(of) if isinstance(of, Mapping) else {}
      inner = inner[group]
    inner[last] = value
  return out
