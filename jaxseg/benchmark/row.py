"""One row of a benchmark, in a process of its own: `python -m jaxseg.benchmark.row FILE`.

FILE holds the request; the row is written beside it. Lines of progress go to standard output.
"""

import os
import pathlib
import sys
import tempfile
from collections.abc import Collection
from typing import Any

from jaxseg import files, xla_flags

OUTPUT = "row.json"
# of an error's text
_LONGEST = 400


def failure(error: BaseException) -> str:
  """What went wrong, in one sentence."""
  text = " ".join(str(error).split())
  if "RESOURCE_EXHAUSTED" in text or isinstance(error, MemoryError):
    return f"out of memory ({text[:_LONGEST]})" if text else "out of memory"
  known = isinstance(error, ValueError | OSError)
  text = text[:_LONGEST] or "no words are given"
  return text if known else f"{type(error).__name__}: {text}"


def measure(request: dict[str, Any], say) -> dict[str, Any]:
  """The parts of a row, and what they were measured under.

  Args:
    request: {"words": --config and its overrides, "parts": names, "options", "devices": or None}.
    say: shows progress.
  """
  from jaxseg.config.overrides import read_config

  config, _ = read_config(request["words"])
  if config.get("deterministic"):
    xla_flags.add(xla_flags.DETERMINISTIC)
  from jaxseg.benchmark import compiled_for, made_data, program
  from jaxseg.compose import complete
  from jaxseg.experiment import experiment
  from jaxseg.planning.planned_config import resolve

  say("preparing")
  options = request["options"]
  config = complete(resolve(config))
  elsewhere = options.get("compile_for")
  devices = compiled_for.devices(config, elsewhere) if elsewhere else None
  with tempfile.TemporaryDirectory() as folder:
    if options.get("data") == made_data.MADE:
      counts = {name: options.get(name) for name in ("channels", "classes")}
      run = made_data.made_experiment(config, folder, devices=devices, **counts)
    else:
      run = experiment(config, devices=devices)
    measured = program.of_experiment(run, say)
    return of_program(measured, request["parts"], options)


def of_program(measured, names: Collection[str], options) -> dict[str, Any]:
  """The named parts of a program, and what they were measured under."""
  from jaxseg.benchmark import machine, parts
  from jaxseg.benchmark.schema import digest

  config = measured.config
  begun = machine.load_average()
  values = parts.measure(measured, names, options)
  elsewhere = options.get("compile_for")
  first = measured.layout.mesh.devices.flat[0]
  conditions = {
    "dtype": measured.dtype,
    "patch": list(measured.patch),
    "batch": measured.images,
    "network": config["network"]["name"],
    "config": digest(config),
    "device_kind": first.device_kind,
    "platform": first.platform,
    "devices": measured.layout.mesh.size,
    "mesh": measured.layout.sizes,
    "xla_flags": os.environ.get("XLA_FLAGS", ""),
    "cache": config["data"]["cache"],
    "notes": list(measured.layout.notes),
    "data": measured.run.main.dataset.folder.parent.name,
    "load_average_begin": begun,
    "load_average_end": machine.load_average(),
  }
  if conditions["platform"] == "cpu" and not elsewhere:
    conditions["note"] = "CPU timings: ratios only"
  return {"conditions": conditions, **values}


def main(path: str) -> None:
  request = files.read_json(path, what="what a row is to measure", advice="measure it again")

  def say(text: str) -> None:
    print(text, flush=True)

  try:
    row = {"failed": None, **measure(request, say)}
  except Exception as error:  # a row that fails is a row
    if os.environ.get("JAXSEG_TRACEBACK"):
      raise
    row = {"failed": failure(error)}
  files.write_json(pathlib.Path(path).with_name(OUTPUT), row)


if __name__ == "__main__":
  main(sys.argv[1])
