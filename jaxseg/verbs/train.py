"""train: a config -> a run folder with a trained model, its curves and report; folds, seeds."""

import os
import sys

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from jaxseg import xla_flags
from jaxseg.build import plain, suggestion
from jaxseg.config.overrides import read_config
from jaxseg.verbs.arguments import check_folder, warn_in_words

# read by `overrides.read_config`, as for every verb; the flag gives it its place in --help
_CONFIG = config_flags.DEFINE_config_file(
  "config",
  None,
  "The experiment: a Python file with get_config(); FILE:ARG passes ARG to it; "
  "--config.FIELD=VALUE changes a field.",
  sys_argv=[],
)
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "The run folder: made if missing, resumed from if it holds a run."
)
_FOLD = flags.DEFINE_string(
  "fold", None, "all, or numbers as in 0,2: trains these folds in WORKDIR/fold_0, WORKDIR/fold_2."
)
_SEEDS = flags.DEFINE_string(
  "seeds", None, "numbers as in 0,1,2: trains these seeds in WORKDIR/seed_0, WORKDIR/seed_1, ..."
)
_TOGETHER = flags.DEFINE_bool(
  "together", False, "Trains folds or seeds at once: one compiled program, one set of data."
)

# the exit code of a run that a signal ended: all is saved, the same command goes on
LEFT = 130


def run(
  config,
  workdir,
  fold: str | None = None,
  *,
  seeds: str | None = None,
  together: bool = False,
  until: int | None = None,
) -> dict | None:
  """Builds and trains; returns the report (of folds: one each), or None if a signal ended it.

  Args:
    config: a ConfigDict.
    workdir: the run folder, or that of the folds or seeds.
    fold: which folds, see `folds.parse_folds`; None is the config's own.
    seeds: which seeds, see `folds.parse_seeds`; None is the config's own.
    together: whether folds or seeds are trained in one program.
    until: step at which to leave, see `loop.train`; None is the last one.

  Raises ValueError in words, before any training, for what cannot be.
  """
  if fold is not None and seeds is not None:
    raise ValueError(
      "--fold and --seeds: both are given; give one of them, and one number of the other in the "
      "config (--config.seed, --config.data.split.fold)."
    )
  if together and fold is None and seeds is None:
    raise ValueError("--together: needs --fold=all or --seeds=0,1,2: what is trained together.")
  if config.get("search"):
    raise ValueError(
      "config.search: is for `jaxseg search`, which trains many runs of the config; with "
      "--config.search=dict() the config is trained as it is."
    )
  _prepare_jax(config)
  # after the flags that JAX reads when it starts
  from jaxseg import loop, processes
  from jaxseg import together as several
  from jaxseg.compose import complete
  from jaxseg.experiment import experiment
  from jaxseg.planning import planned_config as planned
  from jaxseg.runs import folder as run_folder
  from jaxseg.runs import folds, keeper

  check_folder(workdir, "--workdir")
  processes.start_processes()
  # a plan is made, and data are prepared, by one process; the others find them
  config = ConfigDict(complete(processes.first_then_all(lambda: planned.resolve(config))))
  flags_of = {"workdir": str(workdir), "fold": fold, "seeds": seeds, "together": together}
  _check_alike(config, flags_of)

  def train(config, workdir):
    begun = bool(run_folder.steps_done(workdir))
    built = processes.first_then_all(lambda: experiment(config, begun=begun))
    return loop.train(built, workdir, until=until)

  def train_together(configs, workdirs):
    # told before data are prepared
    keeper.check_level(workdirs)
    built = processes.first_then_all(lambda: [several.alone(of) for of in configs])
    begun = all(map(run_folder.steps_done, workdirs))
    runs, layout = several.together(built, plain(config.mesh), begun=begun)
    return loop.train_together(runs, workdirs, layout)

  if fold is None and seeds is None:
    folds.check_alone(workdir)
    # told before data are prepared
    run_folder.check_same(workdir, plain(config))
    return train(config, workdir)
  if together:
    several.check(plain(config), folds=fold is not None)
  options = {"together": train_together if together else None}
  if fold is not None:
    return folds.train_folds(config, workdir, fold, train, _say, **options)
  return folds.train_seeds(config, workdir, seeds, train, _say, **options)


def _check_alike(config, words: dict) -> None:
  """Raises ValueError on all processes of a run, unless all were given the same command."""
  from jaxseg import processes
  from jaxseg.runs import same_run
  from jaxseg.runs.folder import json_like

  def difference(first: dict, own: dict) -> str:
    fields = same_run.differences(first["config"], own["config"], same_run.PROCESSES)
    if fields:
      return same_run.sentence(fields, "is {} there, {} here")
    names = [name for name in words if first[name] != own[name]]
    return "; ".join(f"--{name} is {first[name]} there, {own[name]} here" for name in names)

  processes.alike({"config": json_like(plain(config)), **words}, difference)


def _say(text: str) -> None:
  print(text, file=sys.stderr, flush=True)


def _prepare_jax(config) -> None:
  if config.get("deterministic"):
    xla_flags.add(xla_flags.DETERMINISTIC)
  logging.set_verbosity(logging.WARNING)  # Orbax tells every step of a save


def _main(arguments) -> None:
  fold, seeds, rest = _FOLD.value, _SEEDS.value, arguments[1:]
  if all(word.isdigit() for word in rest):
    # --fold=0 2
    if fold is not None:
      fold, rest = " ".join([fold, *rest]), []
    elif seeds is not None:
      seeds, rest = " ".join([seeds, *rest]), []
  if rest:
    sys.exit(f"train: unexpected argument(s) {' '.join(rest)}; see --help.")
  for name, flag in (("config", _CONFIG), ("workdir", _WORKDIR)):
    if not flag.value:
      sys.exit(f"train: --{name} is missing; python train.py --config=FILE --workdir=FOLDER.")
  from jaxseg import processes
  from jaxseg.loop import Diverged

  with processes.ending():
    try:
      report = run(_CONFIG.value, _WORKDIR.value, fold, seeds=seeds, together=_TOGETHER.value)
    except (ValueError, OSError, RuntimeError) as error:
      lost = processes.loss_of_others(error)
      known = lost is not None or isinstance(error, ValueError | OSError | Diverged)
      if os.environ.get("JAXSEG_TRACEBACK") or not known:
        raise
      processes.fail(f"train: {lost or error}")
  if report is None:
    sys.exit(LEFT)


def _parse(arguments: list[str]) -> list[str]:
  """Parses the flags; what is wrong in a config or an override is one sentence, not a trace."""
  program, *words = arguments
  try:
    words = flags.FLAGS.read_flags_from_files(words, force_gnu=False)
    if {"--help", "-help", "--helpfull", "-?"} & set(words):
      return flags.FLAGS([program, *words])
    config, rest = read_config(words)
    positional = flags.FLAGS([program, *rest])
    flags.FLAGS[_CONFIG.name].value = config
    return positional
  except flags.UnrecognizedFlagError as error:
    known = [flag.name for flag in (_CONFIG, _WORKDIR, _FOLD, _SEEDS, _TOGETHER)]
    sys.exit(
      f"train: --{error.flagname}: no such flag{suggestion(error.flagname, known)}; flags: "
      "--config, --config.FIELD, --workdir, --fold, --seeds, --together."
    )
  except (flags.Error, ValueError, OSError) as error:
    if os.environ.get("JAXSEG_TRACEBACK"):
      raise
    text = str(error).rstrip(".")
    # absl's own are no sentences
    more = "; flags: --config=FILE, --config.FIELD=VALUE, --workdir=FOLDER, --fold=all"
    sys.exit(f"train: {text}{more if isinstance(error, flags.Error) else ''}.")


def main(arguments: list[str] | None = None) -> None:
  """train.py's flags; `arguments` without the program's name."""
  # before a config file is read, which may import JAX
  xla_flags.keep_programs()
  warn_in_words()
  argv = None if arguments is None else ["train", *arguments]
  app.run(_main, argv=argv, flags_parser=_parse)
