"""Reading a config file outside of train.py's flags."""

import importlib.util
import pathlib
import sys


def load_config(name: str):
  """FILE or FILE:ARG -> what its get_config (called with ARG) returns.

  Raises FileNotFoundError or ValueError in words.
  """
  file, _, argument = name.partition(":")
  path = pathlib.Path(file)
  if not path.is_file():
    raise FileNotFoundError(f"--config {file}: no such file; the configs are in configs/.")
  spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
  module = importlib.util.module_from_spec(spec)
  # a config is read, not imported: no __pycache__ beside the user's files
  before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
  try:
    spec.loader.exec_module(module)
    return module.get_config(argument) if argument else module.get_config()
  except (AttributeError, KeyError, SyntaxError, TypeError) as error:
    raise ValueError(f"--config {name}: {error}") from error
  finally:
    sys.dont_write_bytecode = before
