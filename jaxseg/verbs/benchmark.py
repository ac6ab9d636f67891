"""benchmark: step time, speed, compile time, FLOPs and memory of a config, or of a sweep."""

import pathlib
import sys
import time
from typing import Any

from jaxseg import files
from jaxseg.benchmark import (
  against,
  children,
  made_data,
  parts,
  schema,
  sweep,
  table,
  topologies,
)
from jaxseg.benchmark import machine as machines
from jaxseg.build import plain
from jaxseg.config.ranges import COUNT, POSITIVE
from jaxseg.verbs.arguments import Parser, add_config, check_folder, number, parse


def parser() -> Parser:
  made = Parser(prog="jaxseg benchmark", description=__doc__)
  add = made.add_argument
  add_config(made)
  add(
    "--sweep",
    nargs="+",
    default=[],
    metavar="FIELD=A,B",
    help="a row for every combination of these values; network.name=all is every network that the "
    "config file knows",
  )
  add("--devices", type=number(int, COUNT), help="default: all; a CPU is divided into as many")
  here = [name for name in parts.PARTS if name not in parts.ELSEWHERE]
  add("--parts", nargs="+", choices=here, metavar="PART", help=f"of {', '.join(here)}")
  add(
    "--processes",
    type=number(int, COUNT),
    default=1,
    help="how often the steps of each row are timed, each time in a process of its own, the rows "
    "taking turns: times differ from process to process, and then --against knows by how much",
  )
  add("--output", metavar="FILE.json", help="keep the results there; rows that it holds are kept")
  add("--again", action="store_true", help="measure the rows anew that --output holds already")
  add("--against", metavar="OTHER.json", help="compare step times with those of another run")
  add(
    "--fail-above",
    type=number(float, POSITIVE),
    metavar="RATIO",
    help="end with status 1 if a row takes more than RATIO of the other's time, beyond doubt, or "
    "has no other to be compared with",
  )
  made_data.add_options(made)
  for name in parts.PARTS:
    if hasattr(part := parts.part(name), "add_options"):
      part.add_options(made)
  return made


# options that say which rows are measured, not how
_NOT_OF_A_ROW = (
  *("config", "sweep", "devices", "parts", "processes"),
  *("output", "again", "against", "fail_above"),
)


def main(arguments: list[str]) -> None:
  made = parser()
  options, config = parse(made, arguments)
  if options.fail_above and not options.against:
    made.error("--fail-above: compares with --against, which is missing")
  for clash in ("parts", "against", *parts.ASKED_BY.values()):
    if options.compile_for and getattr(options, clash):
      made.error(f"--compile-for: no step runs there; leave --{clash.replace('_', '-')} out")
  if options.compile_effort is not None and not (options.compile_for or "").startswith("tpu:"):
    made.error("--compile-effort: is of a TPU's compiler; expected a TPU in --compile-for")
  if abs(options.compile_effort or 0) > 1:
    made.error(f"--compile-effort: {options.compile_effort:g}; expected a number from -1 to 1")
  options.parts = list(parts.ELSEWHERE) if options.compile_for else parts.choice(options)
  if options.processes > 1 and "training" not in options.parts:
    made.error("--processes: times the part 'training' again, which --parts leaves out")
  try:
    parts.check(plain(config), options.parts, vars(options))
    other = schema.read(options.against, "--against") if options.against else None
    results, ours = run(arguments, options)
  except (ValueError, OSError) as error:
    sys.exit(f"benchmark: {error}")
  except KeyboardInterrupt:
    kept = f"; the same command goes on from {options.output}" if options.output else ""
    sys.exit(f"benchmark: interrupted{kept}.")
  shown = {**results, "rows": ours}
  print(table.show(shown))
  if other:
    rows, notes = against.compare(shown, other)
    print(f"\n{against.lines(rows, notes)}")
    slower = against.above(rows, options.fail_above) if options.fail_above else []
    if slower:
      sys.exit(f"benchmark: above --fail-above {options.fail_above}: {', '.join(slower)}.")
    if options.fail_above and len(rows) < len(ours):
      sys.exit(f"benchmark: --fail-above: {len(ours) - len(rows)} row(s) could not be compared.")
  if all(row["failed"] for row in ours):
    sys.exit(1)


def run(arguments: list[str], options) -> tuple[dict[str, Any], list[dict[str, Any]]]:
  """Measures what is asked for and isn't there: (all results of --output, the rows asked for)."""
  output = _output(options.output)
  if options.compile_for:
    _check_target(options)
  asked = sweep.rows(_of_config(arguments), sweep.parse(options.sweep))
  sweep.check_devices(asked, options.devices)
  before = schema.read(output, "--output") if output and output.exists() else None
  here = children.machine(options.devices, options.compile_for)
  results = before or schema.empty(here)
  for what, software in (("another machine", False), ("other software", True)):
    if unlike := machines.differences(here, results["machine"], software=software):
      raise ValueError(
        f"--output {output}: is of {what} ({'; '.join(unlike)}); choose another name."
      )
  if output:
    files.writable_folder(output.parent, "--output")
  how = {name: value for name, value in vars(options).items() if name not in _NOT_OF_A_ROW}
  request = {"parts": options.parts, "options": how, "devices": options.devices}
  code, ours = schema.code(), []
  for count, row in enumerate(asked, 1):
    identity = schema.digest(row.label, row.config, request, here, code)
    # what failed is tried again: memory may have been short because of other work
    old = [of for of in results["rows"] if of["identity"] == identity and not of["failed"]]
    if old and not options.again:
      ours.append(old[-1])
      _say(f"[{count}/{len(asked)}] {row.label}: kept, measured before")
      continue
    begin = f"[{count}/{len(asked)}] {row.label or 'the config'}: "
    begun = time.monotonic()
    values = _measured({**request, "words": row.words}, options.devices, begin)
    new = {
      "label": row.label,
      "overrides": list(row.words),
      "identity": identity,
      "options": {**how, "parts": options.parts},
      "row_seconds": time.monotonic() - begun,
      **values,
    }
    results["rows"] = [of for of in results["rows"] if of["identity"] != identity] + [new]
    ours.append(new)
    if output:
      schema.write(output, results)
  again = {**request, "parts": ["training"]}
  for turn in range(2, options.processes + 1):
    for row, of in zip(asked, ours, strict=True):
      if of["failed"] or len(of.get("repeats", ())) >= turn - 1:
        continue
      begin = f"[process {turn}/{options.processes}] {row.label or 'the config'}: "
      values = _measured({**again, "words": row.words}, options.devices, begin)
      if not values["failed"]:
        of.setdefault("repeats", []).append(values["training"])
      if output:
        schema.write(output, results)
  return results, ours


def _measured(request: dict[str, Any], devices: int | None, begin: str) -> dict[str, Any]:
  """A row from a process of its own, its progress shown behind `begin`."""
  values = children.measure(request, devices, lambda text: _say(begin + text))
  if values["failed"]:
    _say(f"{begin}failed: {values['failed']}")
  return values


def _check_target(options) -> None:
  """Raises ValueError for accelerators that there are not, or that cannot be compiled for here."""
  target = topologies.parse(options.compile_for)
  topologies.check_compiler(target)
  if options.devices and target.platform == topologies.TPU:
    raise ValueError(
      f"--devices {options.devices}: --compile-for {target.name} says how many; leave it out."
    )


def _output(path: str | None) -> pathlib.Path | None:
  if path is None:
    return None
  output = pathlib.Path(path)
  if output.suffix != ".json" or output.is_dir():
    raise ValueError(f"--output {output}: expected a file to write, its name ending in .json.")
  check_folder(output.parent, "--output")
  return output


def _of_config(arguments: list[str]) -> list[str]:
  """The words of a command line that are of the config: all but those that `read_config` leaves."""
  from jaxseg.config.overrides import read_config

  rest, words = list(read_config(arguments)[1]), []
  for word in arguments:
    if rest and word == rest[0]:
      rest.pop(0)
    else:
      words.append(word)
  return words


def _say(text: str) -> None:
  print(text, file=sys.stderr, flush=True)
