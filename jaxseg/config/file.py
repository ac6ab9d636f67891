"""A config file -> what its get_config() returns; or what is wrong with it, with file and line."""

import importlib.util
import inspect
import linecache
import pathlib
import sys
import traceback

from jaxseg.build import suggestion
from jaxseg.packages import OnDemand

ml_collections = OnDemand("ml_collections")
_WHAT = "a config is a Python file with a function get_config() that returns a ConfigDict"


class ConfigError(ValueError):
  """What is wrong in a user's config file, in words, with its place."""


def load_config(name: str) -> "ml_collections.ConfigDict":
  """FILE or FILE:ARG -> a new config: what the file's get_config (called with ARG) returns.

  Nothing but config files is read, and nothing is written. Raises FileNotFoundError for a missing
  file, ConfigError for all that is wrong in one.
  """
  file, colon, argument = str(name).partition(":")
  path = pathlib.Path(file)
  _check_file(path)
  get_config = _function(path)
  _check_argument(get_config, path, argument if colon else None)
  config = _told(path, get_config, *((argument,) if colon else ()))
  if not isinstance(config, ml_collections.ConfigDict):
    kind = "None" if config is None else f"a {type(config).__name__}"
    hint = "end it with `return config`" if config is None else "start from that one"
    raise ConfigError(
      f"--config {path}: get_config() returned {kind}, expected the ConfigDict of "
      f"jaxseg.defaults.config(); {hint}."
    )
  frozen = isinstance(config, ml_collections.FrozenConfigDict)
  return ml_collections.ConfigDict(config) if frozen else config.unlock()


def choices(name: str, argument: str) -> tuple[str, ...]:
  """What ARG of FILE:ARG may be, where get_config(argument) chooses among the file's OPTIONS.

  () where get_config takes another argument, or none.
  """
  path = pathlib.Path(str(name).partition(":")[0])
  _check_file(path)
  get_config = _function(path)
  if list(inspect.signature(get_config).parameters) != [argument]:
    return ()
  return tuple(get_config.__globals__.get("OPTIONS", ()))


def _check_file(path: pathlib.Path) -> None:
  if path.is_dir():
    raise ConfigError(f"--config {path}: is a folder; {_WHAT}.")
  if not path.is_file():
    beside = [str(other) for other in path.parent.glob("*.py")] if path.parent.is_dir() else []
    near = suggestion(str(path), beside)
    raise FileNotFoundError(f"--config {path}: no such file{near}; the configs are in configs/.")


def _function(path: pathlib.Path):
  """The file's get_config."""
  spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
  if spec is None:
    raise ConfigError(f"--config {path}: its name does not end in .py; {_WHAT}.")
  module = importlib.util.module_from_spec(spec)
  # a config is read, not imported: no __pycache__ beside the user's files
  before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
  try:
    _told(path, spec.loader.exec_module, module)
  finally:
    sys.dont_write_bytecode = before
  if not callable(getattr(module, "get_config", None)):
    raise ConfigError(f"--config {path}: has no function get_config(); {_WHAT}.")
  return module.get_config


def _check_argument(get_config, path: pathlib.Path, argument: str | None) -> None:
  """Whether get_config can be called with the ARG of FILE:ARG, or without one."""
  parameters = inspect.signature(get_config)
  try:
    parameters.bind(*(() if argument is None else (argument,)))
  except TypeError:
    wanted = ", ".join(parameters.parameters) or "nothing"
    given = "no argument was given" if argument is None else f"':{argument}' was given"
    raise ConfigError(
      f"--config {path}: its get_config takes {wanted}, but {given}; expected "
      f"--config={path}{':ARGUMENT' if parameters.parameters else ''}."
    ) from None


def _told(path: pathlib.Path, function, *arguments):
  """function(*arguments); what it raises becomes a sentence with the config file's line."""
  try:
    return function(*arguments)
  except ConfigError:  # of a config that this one is made from
    raise
  except SyntaxError as error:
    place = f", line {error.lineno}" if error.lineno else ""
    raise ConfigError(
      f"--config {path}{place}: {error.msg}{_code(error.text)}; {_WHAT}."
    ) from error
  except (Exception, SystemExit) as error:
    line = _line(path, error)
    where = f", line {line}" if line else ""
    # these two speak for themselves
    own = type(error) in (ValueError, FileNotFoundError)
    code = "" if own or not line else _code(linecache.getline(str(path.resolve()), line))
    kind = "" if own else f" ({type(error).__name__})"
    raise ConfigError(
      f"--config {path}{where}: {_words(error).rstrip('.')}{kind}{code}."
    ) from error


def _words(error: BaseException) -> str:
  """An error's text in one line."""
  text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
  # ml_collections quotes one error in another, line breaks and all
  text = " ".join(text.replace("\\n", " ").replace("\\'", "'").strip('"').split())
  return text or "no words are given"


def _line(path: pathlib.Path, error: BaseException) -> int | None:
  """The last line of the file that the error passed through."""
  frames, file = traceback.extract_tb(error.__traceback__), path.resolve()
  lines = [frame.lineno for frame in frames if pathlib.Path(frame.filename).resolve() == file]
  return lines[-1] if lines else None


def _code(text: str | None) -> str:
  return f" in `{text.strip()}`" if text and text.strip() else ""
