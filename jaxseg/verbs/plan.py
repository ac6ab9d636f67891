"""plan: a folder of labelled scans -> its fingerprint, nnU-Net's plans, and the five folds."""

import argparse
import pathlib
import re
import shutil
import sys

from jaxseg import data, files, planning
from jaxseg.build import build
from jaxseg.config.ranges import COUNT, POSITIVE, Range
from jaxseg.data.sources import dataset_json
from jaxseg.planning.planned_config import find_data, is_config, write_plans
from jaxseg.verbs.arguments import Parser, check_folder, number

_GIGABYTES = Range("from 1", 1)


def _parser() -> argparse.ArgumentParser:
  parser = Parser(
    prog="jaxseg plan",
    description="Looks at every case of a data set and plans spacing, patch, batch and network as "
    "nnU-Net does; writes nnU-Net's own files, and prints the plan with its reasons.",
  )
  add = parser.add_argument
  add(
    "source",
    help="folder in nnU-Net's raw format or the Decathlon's; a Decathlon task by name; or a config "
    "file, FILE.py or FILE.py:ARG, whose config.data.source is planned for",
  )
  parser.epilog = "--config.FIELD=VALUE changes a field of the config file, as for train."
  add("--output", type=pathlib.Path, help="folder to write; default: plans/NAME OF THE DATA SET")
  add("--preset", choices=tuple(planning.PRESETS), default="default", help="default: default")
  memory = number(float, _GIGABYTES)
  add("--gpu-memory", type=memory, metavar="GB", help="where it differs from the preset's")
  spacing = "millimetres in the stored (z, y, x) order, in place of the planned ones"
  millimetres = number(float, POSITIVE)
  add("--spacing", type=millimetres, nargs=3, metavar=("Z", "Y", "X"), help=spacing)
  add("--workers", type=number(int, COUNT), help="processes; default: as many as cores")
  return parser


def _description(spec: dict) -> pathlib.Path | None:
  """The dataset.json of a folder; None for folders of other kinds."""
  path = pathlib.Path(spec.get("path", "")).expanduser() / "dataset.json"
  return path if "path" in spec and path.is_file() else None


def main(arguments: list[str]) -> None:
  changes = [word for word in arguments if re.match(r"--(no)?config\.", word)]
  options = _parser().parse_args([word for word in arguments if word not in changes])
  try:
    if changes and not is_config(options.source):
      raise ValueError(f"{changes[0]}: changes a config file, but {options.source} is none.")
    if options.output:
      check_folder(options.output, "--output")
    spec = find_data(options.source, changes)["source"]
    source = build(data.SOURCES, spec, "data.source")
    described = _description(spec)
    output = files.writable_folder(options.output or f"plans/{source.name}", "--output")
    ending = described and dataset_json.read(described).get("file_ending")
    asked = {"gpu_memory": options.gpu_memory, "spacing": options.spacing}
    common = {"workers": options.workers, "file_ending": ending}
    # the default plans too, because the others share their data
    presets = dict.fromkeys(("default", options.preset))
    plan = write_plans(source, output, presets, **asked, **common)[-1]
    if described:
      with files.replacing(output / "dataset.json") as temporary:
        shutil.copyfile(described, temporary)
  except (ValueError, OSError) as error:
    sys.exit(f"plan: {str(error).removeprefix('plan: ')}")
  print(planning.as_text(plan))
  print(f"\nwritten to {output}: {', '.join(sorted(f.name for f in output.glob('*.json')))}")
