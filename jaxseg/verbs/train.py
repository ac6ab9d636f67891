"""train: a config -> a run folder with a trained model, its curves and its report."""

import os
import pathlib
import sys

from absl import app, flags, logging
from ml_collections import config_flags

from jaxseg import xla_flags

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "The experiment: a Python file with get_config(); FILE:ARG passes ARG to it."
)
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "The run folder: made if missing, resumed from if it holds a run."
)


def run(config, workdir) -> dict | None:
  """Builds and trains; returns the report, or None if a signal ended it early."""
  _prepare_jax(config)
  # after the flags that JAX reads when it starts
  from jaxseg import loop, sharding
  from jaxseg.experiment import experiment

  sharding.start_processes()
  return loop.train(experiment(config), workdir)


def _prepare_jax(config) -> None:
  if config.get("deterministic"):
    xla_flags.add(xla_flags.DETERMINISTIC)
  cache = pathlib.Path.home() / ".cache" / "jaxseg" / "xla"
  os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache))
  logging.set_verbosity(logging.WARNING)  # Orbax tells every step of a save


def _main(arguments) -> None:
  if len(arguments) > 1:
    raise app.UsageError(f"unexpected argument(s) {' '.join(arguments[1:])}; see --help.")
  for name, flag in (("config", _CONFIG), ("workdir", _WORKDIR)):
    if flag.value is None:
      raise app.UsageError(f"--{name} is missing; python train.py --config=FILE --workdir=FOLDER.")
  from jaxseg.loop import Diverged

  try:
    report = run(_CONFIG.value, _WORKDIR.value)
  except (ValueError, OSError, Diverged) as error:
    if os.environ.get("JAXSEG_TRACEBACK"):
      raise
    sys.exit(f"train: {error}")
  if report is None:
    sys.exit(130)


def _parse(arguments: list[str]) -> list[str]:
  """Parses the flags; what is wrong in a config or an override is one sentence, not a trace."""
  try:
    return flags.FLAGS(arguments)
  except (flags.Error, ValueError, AttributeError, KeyError, TypeError, OSError) as error:
    if os.environ.get("JAXSEG_TRACEBACK"):
      raise
    sys.exit(f"train: {error}")


def main(arguments: list[str] | None = None) -> None:
  """train.py's flags; `arguments` without the program's name."""
  argv = None if arguments is None else ["train", *arguments]
  app.run(_main, argv=argv, flags_parser=_parse)
