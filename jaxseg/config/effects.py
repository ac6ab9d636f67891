"""Whether options of a method that a config sets can have an effect beside its other ones."""

from collections.abc import Iterator, Mapping
from typing import Any

from jaxseg.build import options_of
from jaxseg.config.roles import constructor_of
from jaxseg.methods import FOLLOWERS
from jaxseg.methods.effects import EFFECTS, Acts


def check(config: Mapping[str, Any]) -> None:
  """Raises ValueError for what has no effect, where the config didn't switch it off itself.

  What a config sets to 0 by hand, as one term of a sum to see what it is for, is told (`notes`).
  """
  for name, first in FOLLOWERS.get(config["method"]["name"], {}).items():
    if name in config["initialise"]:
      raise ValueError(
        f"config.initialise.{name}: the method's '{name}' starts as its '{first}' and follows it, "
        f"so that these weights would have no effect; expected config.initialise.{first}, with "
        "which both start."
      )
  for acts in _idle(config):
    if not _by_hand(config, acts):
      raise ValueError(f"{_words(config, acts)}; {_expected(acts)}, or to leave it out.")


def notes(config: Mapping[str, Any]) -> tuple[str, ...]:
  """A sentence for each option without effect that `check` lets pass."""
  told = [f"{_words(config, acts)}." for acts in _idle(config) if _by_hand(config, acts)]
  return tuple(f"Warning: {words}" for words in told)


def _idle(config: Mapping[str, Any]) -> Iterator[Acts]:
  for acts in EFFECTS.get(config["method"]["name"], ()):
    if not _is_set(config, acts.option):
      continue
    value = _value(config, acts.other)
    if value not in acts.values if acts.values else value == 0:
      yield acts


def _is_set(config: Mapping[str, Any], option: str) -> bool:
  group, _, key = option.rpartition(".")
  return config[group or "method"].get(key) is not None


def _value(config: Mapping[str, Any], option: str) -> Any:
  known = options_of(constructor_of(config))
  return config["method"].get(option, known[option].default)


def _by_hand(config: Mapping[str, Any], acts: Acts) -> bool:
  return not acts.values and acts.other in config["method"]


def _words(config: Mapping[str, Any], acts: Acts) -> str:
  field = acts.option if "." in acts.option else f"method.{acts.option}"
  value = _value(config, acts.other)
  return f"config.{field}: has no effect with config.method.{acts.other}={value!r}"


def _expected(acts: Acts) -> str:
  if acts.values:
    return f"expected {acts.other}={' or '.join(map(repr, acts.values))}"
  return f"expected a {acts.other} above 0"
