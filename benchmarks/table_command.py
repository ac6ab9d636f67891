"""The command line that all tables of runs have."""

import argparse
import pathlib
import sys

from run_rows import ROOT, Table

import jaxseg


def arguments(description: str) -> argparse.ArgumentParser:
  """The command line of a table; `parsed` reads it."""
  parser = argparse.ArgumentParser(description=description)
  parser.add_argument("verbs", nargs="*", default=["train", "table"])
  parser.add_argument("--only", nargs="+", default=["*"], help="patterns of keys, see --list")
  parser.add_argument("--retry", action="store_true", help="those that failed, too")
  parser.add_argument("--list", action="store_true", help="shows what would run")
  parser.add_argument("--cores", type=int, nargs="+", default=[0, 1])
  parser.add_argument("--output", type=pathlib.Path, help="the rows; in docs")
  parser.add_argument("--runs", type=pathlib.Path, help="the runs; in runs")
  return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
  """The command line, what follows a lone -- as `further`: flags of train.py."""
  words, further = sys.argv[1:], []
  if "--" in words:
    words, further = words[: words.index("--")], words[words.index("--") + 1 :]
  wanted = parser.parse_args(words)
  here = pathlib.Path(jaxseg.__file__).resolve().parents[1]
  if here != ROOT.resolve():
    # rows are trained by the one and scored by the other
    parser.error(f"jaxseg is that of {here}, the table that of {ROOT}: set PYTHONPATH={ROOT}.")
  wanted.further = further
  if further and not (wanted.output and wanted.runs):
    parser.error("what follows a lone -- trains other runs: name their --output and their --runs.")
  return wanted


def places(wanted, name: str) -> Table:
  """Fills in where a table's runs lie, and gives its rows."""
  wanted.runs = (wanted.runs or ROOT / "runs" / name).resolve()
  return Table((wanted.output or ROOT / "docs" / f"{name}.json").resolve())
