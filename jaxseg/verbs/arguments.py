"""The verbs' arguments: one parser that speaks in sentences, numbers with ranges, configs."""

import argparse
import logging
import os
import pathlib
import re
import sys
import warnings
from collections.abc import Callable, Sequence

import absl.logging
from ml_collections import ConfigDict

from jaxseg import files
from jaxseg.build import suggestion
from jaxseg.config.option_values import check_value
from jaxseg.config.overrides import literal, read_config
from jaxseg.config.ranges import Range


class _Sentence(logging.Formatter):
  """A message and how grave it is, without loggers, dates and lines of source."""

  def formatMessage(self, record: logging.LogRecord) -> str:
    return f"{record.levelname.capitalize()}: {record.message}"


def warn_in_words() -> None:
  """From now on a warning is one line: a place in our source says nothing to a user."""
  terminal = logging.StreamHandler()
  # absl's handler takes the place of others where it runs the program
  for handler in (terminal, absl.logging.get_absl_handler()):
    handler.setFormatter(_Sentence())
  logging.basicConfig(handlers=[terminal])
  usual = warnings.formatwarning

  def formatted(message, category, *place, **more):
    if category is UserWarning:
      return f"Warning: {message}\n"
    return usual(message, category, *place, **more)

  warnings.formatwarning = formatted


class Parser(argparse.ArgumentParser):
  """An ArgumentParser whose errors are one sentence, with a suggestion for a misspelt option."""

  def __init__(self, **options):
    # an option that may be shortened hides one that is misspelt
    super().__init__(allow_abbrev=False, **options)

  def error(self, message: str):
    if unknown := re.match(r"unrecognized arguments: (\S+)", message):
      name = unknown[1].split("=")[0]
      known = [option for option in self._option_string_actions if option.startswith("--")]
      what = "no such option" if name.startswith("-") else "unexpected argument"
      message = f"{name}: {what}{suggestion(name, known)}"
    message = message.removeprefix("argument ")
    self.exit(2, f"{self.prog.split()[-1]}: {message}; {self.prog} --help tells the options.\n")


def number(kind: type, span: Range) -> Callable[[str], float]:
  """An argparse type: an int or float in a range."""

  def read(text: str) -> float:
    value = literal(text)
    try:
      check_value(value, "", kind, span)
    except ValueError as error:
      expected = str(error).rpartition("; ")[2].rstrip(".")
      raise argparse.ArgumentTypeError(f"{text}: {expected}") from None
    return kind(value)

  return read


def add_config(parser: argparse.ArgumentParser) -> None:
  parser.add_argument("--config", metavar="FILE[:ARG]", help="config file (required)")
  parser.epilog = "--config.FIELD=VALUE changes a field of the config, as for train."


def parse(
  parser: argparse.ArgumentParser, arguments: Sequence[str]
) -> tuple[argparse.Namespace, ConfigDict]:
  """A verb's options and its config, overrides applied; ends the verb in words."""
  if {"-h", "--help"} & set(arguments):
    parser.parse_args(["--help"])
  try:
    config, rest = read_config(arguments)
  except (ValueError, OSError) as error:
    sys.exit(f"{parser.prog.split()[-1]}: {error}")
  wanted = parser.parse_args(rest)
  if config is None:
    parser.error("--config=FILE is missing")
  return wanted, config


def check_folder(path, option: str) -> None:
  """Raises ValueError if a folder to write can't be made or written; makes nothing itself."""
  files.check_place(path, option)
  path = pathlib.Path(path)
  there = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
  if not there.is_dir():
    what = "is a file" if there == path.absolute() else f"lies in {there}, which is a file"
    raise ValueError(f"{option} {path}: {what}; choose the name of a folder.")
  if not os.access(there, os.W_OK | os.X_OK):
    raise ValueError(
      f"{option} {path}: cannot be written (no right to write in {there}); choose a folder that "
      "you may write to."
    )
