"""evaluate-subsets: how good runs are with every subset of their channels."""

import argparse
import json
import pathlib
import sys

import tqdm

from jaxseg import files
from jaxseg.evaluation.reporting import as_json
from jaxseg.evaluation.subsets import as_table, evaluate_subsets
from jaxseg.metrics import METRICS, needs_probabilities
from jaxseg.runs import checkpoint
from jaxseg.runs.folder import home, run_folders
from jaxseg.verbs.arguments import Parser

FILE = "subsets.json"


def _parser() -> argparse.ArgumentParser:
  free = [name for name, metric in METRICS.items() if not needs_probabilities(metric)]
  parser = Parser(
    prog="jaxseg evaluate-subsets",
    description="Segments the validation cases of a run with every subset of its channels (2^M - 1 "
    "of M), as `predict --missing` does, scores that, prints the table and keeps it as JSON.",
  )
  add = parser.add_argument
  add(
    "--workdir",
    required=True,
    type=pathlib.Path,
    metavar="RUN",
    help="run folder of train.py, or a folder that holds fold_0, fold_1, ...: each fold's own "
    "validation cases, all in one table",
  )
  add("--checkpoint", choices=("latest", "best"), default="latest", help="default: latest")
  add(
    "--metrics",
    nargs="+",
    choices=free,
    default=["dice", "hd95"],
    metavar="METRIC",
    help=f"some of: {', '.join(free)}; default: dice hd95",
  )
  add("--json", type=pathlib.Path, help=f"where to keep it; default: {FILE} in RUN")
  return parser


def main(arguments: list[str]) -> None:
  given = _parser().parse_args(arguments)
  try:
    if given.json and given.json.suffix != ".json":
      raise ValueError(f"--json {given.json}: expected a file name that ends in .json.")
    folders = run_folders(given.workdir)
    path = given.json or _home(folders, given.workdir) / FILE
    files.writable_folder(path.parent, "--json")
    with tqdm.tqdm(unit="prediction", disable=not sys.stderr.isatty()) as bar:

      def progress(case, subset):
        bar.set_postfix_str(f"{case}: {subset}")
        bar.update()

      kind = checkpoint.BEST if given.checkpoint == "best" else checkpoint.LATEST
      report = evaluate_subsets(folders, kind=kind, metrics=given.metrics, progress=progress)
  except (ValueError, OSError) as error:
    sys.exit(f"evaluate-subsets: {error}")
  if report["warning"]:
    print(f"evaluate-subsets: note: {report['warning']}.", file=sys.stderr)
  print(as_table(report))
  files.write_json(path, json.loads(as_json(report)))
  print(f"written to {path}")


def _home(folders, path: pathlib.Path) -> pathlib.Path:
  return path if len(folders) == 1 else home(folders[0])
