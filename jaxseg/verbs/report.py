"""report: the folds of a cross-validation, or one run, as a table and a page with pictures."""

import pathlib
import sys

from jaxseg import files
from jaxseg.report import page, tables
from jaxseg.report.gather import gather
from jaxseg.verbs.arguments import Parser


def report(path, output=None) -> dict:
  """Writes report.html, report.json, report.csv and cases.csv; returns the numbers.

  Args:
    path: a run folder, or one of folds; nothing else is read.
    output: folder to write; None is `report` in `path`.

  Raises:
    FileNotFoundError: no run, or no validation scores.
    ValueError: folds of different configs or splits, or the folder cannot be written.
  """
  said: dict[str, None] = {}  # a picture may be looked at for several classes

  def say(text: str) -> None:
    if text not in said:
      print(f"report: note: {text}", file=sys.stderr)
    said[text] = None

  validation = gather(path, say)
  summary = tables.numbers(validation)
  output = files.writable_folder(output or pathlib.Path(path) / "report", "--output")
  files.write_text(output / "report.html", page.page(validation, summary, say))
  files.write_text(output / "report.json", tables.to_json(summary))
  files.write_text(output / "report.csv", tables.to_csv(summary))
  files.write_text(output / "cases.csv", tables.cases_csv(summary))
  return summary


def main(arguments: list[str]) -> None:
  parser = Parser(
    prog="jaxseg report",
    description="Gathers the folds of a cross-validation (or one run) into a table with 95 % "
    "intervals, report.csv, report.json, cases.csv and report.html, from the run folder alone.",
  )
  parser.add_argument("run", type=pathlib.Path, help="--workdir of train.py, with or without folds")
  parser.add_argument("--output", type=pathlib.Path, help="folder to write; default: RUN/report")
  options = parser.parse_args(arguments)
  try:
    summary = report(options.run, options.output)
  except (ValueError, OSError) as error:
    sys.exit(f"report: {error}")
  print(tables.as_text(summary))
  print(f"\nPage: {(options.output or options.run / 'report') / 'report.html'}")
