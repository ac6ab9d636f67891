"""The parts of a benchmark: a new part is a new module and a new row."""

import importlib
from collections.abc import Collection, Mapping
from types import ModuleType
from typing import Any

# part, which is its name in a row -> its module, in the order in which they are measured. Each has
#   measure(program, *, options) -> dict    every number with its unit in its name
#   lines(values) -> [(name, text)]         the same for people
# and, where it has options of its own, add_options(parser); where these can be wrong for a config,
# check(config, options), which says so in words before anything is prepared.
PARTS = {
  "compile": "jaxseg.benchmark.compile",
  "training": "jaxseg.benchmark.training",
  "memory": "jaxseg.benchmark.memory",
  "flops": "jaxseg.benchmark.flops",
  "shares": "jaxseg.benchmark.shares",
  "inference": "jaxseg.benchmark.inference",
  "time_to": "jaxseg.benchmark.time_to",
  "trace": "jaxseg.benchmark.trace",
  "compiled_for": "jaxseg.benchmark.compiled_for",
}
# what --compile-for measures, and nothing else does: no step runs
ELSEWHERE = ("compiled_for",)
# part -> the option that asks for it, and says of what
ASKED_BY = {"time_to": "time_to", "trace": "trace"}
# measured where --parts is not said
DEFAULT = ("compile", "training", "memory", "flops", "shares")


def part(name: str) -> ModuleType:
  return importlib.import_module(PARTS[name])


def choice(options) -> list[str]:
  """Names of the parts that a command line asks for."""
  more = [name for name, option in ASKED_BY.items() if getattr(options, option) is not None]
  names = options.parts or (() if more else DEFAULT)
  return [name for name in PARTS if name in (*names, *more)]


def check(config: Mapping[str, Any], names: Collection[str], options: Mapping[str, Any]) -> None:
  """Raises ValueError for options of the named parts that a config doesn't suit."""
  for name in names:
    if hasattr(part(name), "check"):
      part(name).check(config, options)


def measure(program, names: Collection[str], options) -> dict[str, dict]:
  """The asked parts of a row, by name."""
  for name in PARTS:
    if name in names:
      program.measured[name] = part(name).measure(program, options=options)
  return program.measured
