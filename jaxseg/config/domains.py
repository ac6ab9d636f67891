"""The domains of a run: the main stream's, and each further stream's, by names and numbers."""

from collections.abc import Mapping
from typing import Any

from jaxseg.build import suggestion
from jaxseg.config import needs
from jaxseg.config.streams import MAIN_WORD, joins
from jaxseg.config.synthesis import TRANSLATION
from jaxseg.data.prepared.dataset import Dataset
from jaxseg.data.prepared.fields import with_numbers
from jaxseg.data.stream import MAIN

# of a sample, or of a case: the number of its domain
FIELD = "domain"


def names(config: Mapping[str, Any]) -> tuple[str, ...]:
  """Those that images may be of: "main", and the further streams."""
  return (MAIN_WORD, *sorted(config["streams"]))


def numbered_names(config: Mapping[str, Any]) -> tuple[str, ...]:
  """Those that a network may treat otherwise, by their numbers: a stream that joins is of main."""
  return tuple(name for name in names(config) if name not in joins(config))


def differ(config: Mapping[str, Any]) -> bool:
  """Whether the network does otherwise in each of them."""
  return needs.of(config).domains


def number(config: Mapping[str, Any], name: str) -> int | None:
  """What the network is told of a domain; None where it makes no difference."""
  if not differ(config):
    return None
  return 0 if name in joins(config) else numbered_names(config).index(name)


def numbered(config: Mapping[str, Any], stream: str, dataset: Dataset) -> Dataset:
  """A stream's data set, the number of its domain among the fields of its cases if that counts."""
  of = number(config, MAIN_WORD if stream == MAIN else stream)
  return dataset if of is None else with_numbers(dataset, FIELD, {}, otherwise=of)


def check(config: Mapping[str, Any], name: str | None, where: str) -> None:
  """Raises ValueError, which `where` (a run folder) begins, for an unknown domain.

  And for None where a run has several that differ: an image doesn't tell which it is of.
  """
  known = names(config)
  if name is None and differ(config):
    raise ValueError(
      f"{where}: was trained on the domains {', '.join(known)}, and treats each otherwise; say "
      f"which the images are of, as --domain {known[-1]}."
    )
  if name is not None and name not in known:
    only = "; it has no other, leave --domain out" if len(known) == 1 else ""
    raise ValueError(
      f"{where}: knows no domain '{name}'{suggestion(name, known)}; expected one of "
      f"{', '.join(known)}{only}."
    )


def note(config: Mapping[str, Any], name: str | None) -> str:
  """What is to be told where nobody says which domain images are of, "" where it makes no odds."""
  others = [stream for stream, spec in config["streams"].items() if "source" in (spec or {})]
  if name is not None or not others or config["task"]["name"] == TRANSLATION:
    return ""
  return (
    f"the images are prepared as those of the main stream; if they are of {' or '.join(others)}, "
    f"which the run has learned from, too, give --domain {others[0]}"
  )
