"""--sweep FIELD=A,B ...: the rows of a benchmark, and the config of each."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxseg.build import plain
from jaxseg.compose import complete
from jaxseg.config.file import choices
from jaxseg.config.overrides import read_config
from jaxseg.planning.planned_config import resolve
from jaxseg.sharding import AXES, BATCH

NETWORK, ALL = "network.name", "all"
# options that every network has
_KEPT = ("dtype",)


class Row(NamedTuple):
  """What one row of a benchmark is of.

  Attributes:
    label: what the sweep sets, "" without a sweep.
    words: of the command line: --config and its overrides, the sweep's among them.
    config: plain, checked as far as it goes without data.
  """

  label: str
  words: tuple[str, ...]
  config: dict[str, Any]


def values_of(text: str) -> list[str]:
  """Splits at the commas that stand in no bracket and no quotes."""
  parts, depth, quote = [""], 0, ""
  for letter in text:
    if quote:
      quote = "" if letter == quote else quote
    elif letter in "\"'":
      quote = letter
    elif letter in "([{":
      depth += 1
    elif letter in ")]}":
      depth -= 1
    if letter == "," and not depth and not quote:
      parts.append("")
    else:
      parts[-1] += letter
  return parts


def parse(items: Sequence[str]) -> dict[str, list[str]]:
  """Field -> its values as text; raises ValueError in words."""
  fields: dict[str, list[str]] = {}
  for item in items:
    field, equals, text = item.partition("=")
    field = field.removeprefix("--").removeprefix("config.")
    values = values_of(text)
    if not equals or not field or not all(values):
      raise ValueError(f"--sweep {item}: expected FIELD=VALUE,VALUE, as data.batch=1,2,4.")
    if field in fields:
      raise ValueError(f"--sweep: {field} is given twice; give all its values at once.")
    if len(set(values)) < len(values):
      raise ValueError(f"--sweep {item}: a value occurs twice.")
    fields[field] = values
  return fields


def rows(arguments: Sequence[str], fields: Mapping[str, Sequence[str]]) -> list[Row]:
  """Every combination of the fields' values, the last field's fastest; one row without fields.

  Nothing is measured: raises ValueError or FileNotFoundError in words for what a config cannot be.

  Args:
    arguments: --config=FILE and its overrides.
    fields: of `parse`.
  """
  fields = {field: list(values) for field, values in fields.items()}
  if ALL in fields.get(NETWORK, ()):
    fields[NETWORK] = list(_all_networks(arguments))
  made = []
  for chosen in itertools.product(*fields.values()):
    setting = dict(zip(fields, chosen, strict=True))
    label = " ".join(f"{field}={value}" for field, value in setting.items())
    words = list(arguments)
    if NETWORK in setting:
      words = _with_network(words, setting.pop(NETWORK))
    words += [f"--config.{field}={value}" for field, value in setting.items()]
    try:
      config = complete(resolve(read_config(words)[0], make=False))
    except (ValueError, FileNotFoundError) as error:
      raise type(error)(f"{label}: {error}" if label else str(error)) from error
    made.append(Row(label, tuple(words), plain(config)))
  return made


def check_devices(rows: Sequence[Row], devices: int | None) -> None:
  """Raises ValueError where devices that are asked for would stay idle, or cannot be laid out."""
  for row in rows if devices else ():
    start = f"{row.label}: " if row.label else ""
    mesh, batch = row.config["mesh"], row.config["data"]["batch"]
    sizes = [mesh[axis] for axis in AXES]
    others = math.prod(size for size in sizes if size != -1)
    if devices % others or (-1 not in sizes and others != devices):
      shown = " x ".join(f"{axis}={mesh[axis]}" for axis in AXES)
      raise ValueError(
        f"{start}--devices {devices}: config.mesh ({shown}) does not fill them; expected sizes "
        f"whose product is {devices}, or -1 for one of them."
      )
    split = mesh[BATCH] if mesh[BATCH] != -1 else devices // others
    if batch % split:
      raise ValueError(
        f"{start}--devices {devices}: config.data.batch={batch} cannot be split over {split} "
        f"devices; make it a multiple of {split}, or give devices to config.mesh.space."
      )


def _with_network(words: list[str], name: str) -> list[str]:
  """The words with another network.

  One that the config file knows by that name, where its get_config takes an argument `network` (as
  configs/networks_2d.py); else the network of that name with its default options and, of the
  config's own, the dtype: another network's options would not fit. Further words change that one.
  """
  file, others = _file(words)
  if _variants(file):
    return [f"--config={file.partition(':')[0]}:{name}", *others]
  network = plain(read_config([f"--config={file}", *others])[0])["network"]
  if network.get("name") == name:
    return words
  kept = {option: network[option] for option in _KEPT if option in network}
  return [f"--config={file}", f"--config.network={ {'name': name, **kept} }", *others]


def _all_networks(words: Sequence[str]) -> tuple[str, ...]:
  file, _ = _file(words)
  variants = _variants(file)
  if not variants:
    raise ValueError(
      f"--sweep {NETWORK}={ALL}: {file} does not tell sizes for every network; expected a config "
      "file with OPTIONS and get_config(network), as configs/networks_2d.py."
    )
  return variants


def _file(words: Sequence[str]) -> tuple[str, list[str]]:
  """FILE or FILE:ARG of --config, and the other words."""
  words = list(words)
  for i, word in enumerate(words):
    match = re.fullmatch(r"--?config(?:=(.*))?", word, re.DOTALL)
    if match:
      name = match[1] if match[1] is not None else words[i + 1]
      rest = words[:i] + words[i + 1 + (match[1] is None) :]
      return name, rest
  raise ValueError("--config=FILE is missing.")


def _variants(file: str) -> tuple[str, ...]:
  return choices(file, "network")
