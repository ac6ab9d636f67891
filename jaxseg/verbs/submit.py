"""submit: folds, and the settings of a sweep, each as a job of a cluster, by submitit."""

import argparse
import importlib.util
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxseg.benchmark import sweep
from jaxseg.config.ranges import COUNT, FROM_0
from jaxseg.data.splits import count
from jaxseg.runs import folds
from jaxseg.verbs.arguments import Parser, add_config, check_folder, number

CLUSTERS = ("slurm", "local", "debug")
# seconds before the end of its time at which a job is asked to save; times that it goes on after it
_NOTICE, _TIMES = 120, 1000
# of train: all is saved, the same command goes on
_LEFT = 130
_FINISHED = "finished"


class Job(NamedTuple):
  """One job: what it is called, the run folder or that of the folds, the words after `train`."""

  label: str
  workdir: pathlib.Path
  words: tuple[str, ...]


class Training:
  """What submitit starts, in every task of a job: a training, as a process of its own."""

  def __init__(self, words: Sequence[str]):
    self.words = tuple(words)
    self._process: subprocess.Popen | None = None

  def __call__(self) -> str:
    """Trains to the end; raises RuntimeError where that fails."""
    command = [sys.executable, "-m", "jaxseg", "train", *self.words]
    print(shlex.join(command), flush=True)
    # a session of its own: the signals of the job are for submitit, which hands them on
    self._process = subprocess.Popen(command, start_new_session=True)
    code = self._process.wait()
    if code == _LEFT:
      return f"saved, not {_FINISHED}"
    if code:
      raise RuntimeError(f"{shlex.join(command)} ended with exit code {code}; see above.")
    return _FINISHED

  def checkpoint(self):
    """What goes on after the end of a job's time, or where another job takes its place."""
    from submitit.helpers import DelayedSubmission

    if self._process is not None:
      # of several tasks the first one is asked here; jaxseg's processes tell each other
      self._process.send_signal(signal.SIGTERM)
      self._process.wait()
    return DelayedSubmission(Training(self.words))

  def __getstate__(self) -> dict[str, Any]:
    return {"words": self.words, "_process": None}


def jobs(words: Sequence[str], workdir, *, fold: str | None, fields: Sequence[str]) -> list[Job]:
  """Every setting of a sweep times every fold; raises ValueError or FileNotFoundError in words.

  Args:
    words: --config=FILE and its overrides.
    workdir: the run folder; of a sweep the folder of its run folders.
    fold: as train's --fold; each is a job of its own.
    fields: of --sweep.
  """
  out = []
  for row in sweep.rows(words, sweep.parse(fields)):
    folder = pathlib.Path(workdir)
    if row.label:
      folder /= re.sub(r"[^\w.=+-]+", "_", row.label)
    numbers: tuple[int | None, ...] = (None,)
    if fold is not None:
      numbers = folds.parse_folds(fold, count(**row.config["data"]["split"]))
    for one in numbers:
      more = () if one is None else (f"--fold={one}",)
      label = " ".join([*([row.label] if row.label else []), *(w[2:] for w in more)])
      command = (*row.words, f"--workdir={folder}", *more)
      out.append(Job(label or str(folder), folder, command))
  places = [(job.workdir, job.words[-1]) for job in out]
  if len(set(places)) < len(places):
    raise ValueError("--sweep: two settings have one folder's name; give values that differ more.")
  return out


def _parser() -> argparse.ArgumentParser:
  parser = Parser(
    prog="jaxseg submit",
    description="Trains folds and settings as jobs of a cluster, which go on after the end of "
    "their time until they are finished. Needs: pip install submitit.",
  )
  whole = number(int, COUNT)
  parser.add_argument("--workdir", required=True, help="run folder; of a sweep, the folder of them")
  parser.add_argument("--fold", help="all, or numbers as in 0,2: each is a job")
  parser.add_argument("--sweep", nargs="+", default=[], metavar="FIELD=A,B", action="extend")
  parser.add_argument("--cluster", choices=CLUSTERS, default="slurm")
  parser.add_argument("--partition", help="of Slurm")
  parser.add_argument("--minutes", type=whole, default=1440, help="per job")
  parser.add_argument("--nodes", type=whole, default=1, help="of one job")
  parser.add_argument("--tasks", type=whole, default=1, help="processes per node")
  parser.add_argument("--gpus", type=number(int, FROM_0), default=0, help="per node")
  parser.add_argument("--cpus", type=whole, help="per task")
  parser.add_argument("--memory", type=whole, help="GB per node")
  parser.add_argument("--at-once", type=whole, default=256, help="jobs that run")
  parser.add_argument(
    "--slurm", nargs="+", default=[], metavar="OPTION=VALUE", action="extend",
    help="further options of sbatch, as account=lab qos=long",
  )  # fmt: skip
  parser.add_argument("--dry-run", action="store_true", help="shows the jobs, submits none")
  parser.add_argument("--wait", action="store_true", help="until all have ended")
  add_config(parser)
  return parser


def _options(flags: argparse.Namespace) -> dict[str, Any]:
  """submitit's parameters; raises ValueError for what the cluster has not."""
  if flags.cluster != "slurm":
    misplaced = [f"--{name}" for name in ("partition", "slurm") if getattr(flags, name)]
    misplaced += [f"--{name}" for name in ("nodes", "tasks") if getattr(flags, name) > 1]
    if misplaced:
      raise ValueError(f"{', '.join(misplaced)}: for --cluster=slurm, not for {flags.cluster}.")
    return {"timeout_min": flags.minutes, "gpus_per_node": flags.gpus}
  further = {}
  for item in flags.slurm:
    name, equals, value = item.partition("=")
    if not name.strip("-"):
      raise ValueError(f"--slurm {item}: expected OPTION=VALUE of sbatch, as account=lab.")
    further[name.strip("-")] = value if equals else True
  options = {
    "timeout_min": flags.minutes,
    "nodes": flags.nodes,
    "tasks_per_node": flags.tasks,
    "gpus_per_node": flags.gpus or None,
    "cpus_per_task": flags.cpus,
    "mem_gb": flags.memory,
    "slurm_partition": flags.partition,
    "slurm_array_parallelism": flags.at_once,
    "slurm_signal_delay_s": _NOTICE,
    # a lost task must end the others' wait
    "slurm_srun_args": ["--kill-on-bad-exit=1"],
    "slurm_additional_parameters": {"requeue": True, **further},
    "stderr_to_stdout": True,
  }
  return {name: value for name, value in options.items() if value is not None}


def _submit(flags: argparse.Namespace, every: Sequence[Job]) -> list:
  """Submits the jobs, as one array; raises ValueError in words where that fails."""
  import submitit

  own = {"slurm_max_num_timeout": _TIMES} if flags.cluster == "slurm" else {}
  logs = pathlib.Path(flags.workdir) / "jobs"
  try:
    executor = submitit.AutoExecutor(folder=logs, cluster=flags.cluster, **own)
    executor.update_parameters(name=pathlib.Path(flags.workdir).name, **_options(flags))
    with executor.batch():
      return [executor.submit(Training(job.words)) for job in every]
  except (RuntimeError, submitit.core.utils.FailedJobError, TypeError) as error:
    raise ValueError(
      f"--cluster={flags.cluster}: submitit cannot submit there ({error}); see whether sbatch is "
      "on this machine, and takes these options."
    ) from error


def main(arguments: Sequence[str]) -> None:
  parser, words = _parser(), list(arguments)
  own = [word for word in words if not re.match(r"--?(no)?config\b", word)]
  flags = parser.parse_args(own)
  configs = [word for word in words if word not in own]
  if not configs or any("=" not in word and "no" not in word[:4] for word in configs):
    parser.error("--config=FILE is missing, or a --config.FIELD without =VALUE")
  try:
    check_folder(flags.workdir, "--workdir")
    _options(flags)
    every = jobs(configs, flags.workdir, fold=flags.fold, fields=flags.sweep)
    if importlib.util.find_spec("submitit") is None and not flags.dry_run:
      raise ValueError(
        "submitit, which submits jobs, is not installed: pip install 'jaxseg[cluster]'; --dry-run "
        "shows the commands for a script of your own."
      )
    if flags.dry_run:
      for job in every:
        print(shlex.join(["jaxseg", "train", *job.words]))
      return
    handles = _submit(flags, every)
  except (ValueError, OSError) as error:
    if os.environ.get("JAXSEG_TRACEBACK"):
      raise
    sys.exit(f"submit: {error}")
  for job, submitted in zip(every, handles, strict=True):
    print(f"{submitted.job_id}  {job.label}  {submitted.paths.stdout}")
  # debug runs its jobs while they are waited for
  if (flags.wait or flags.cluster == "debug") and (words := _missing(every, handles)):
    sys.exit(f"submit: {words}")


def _missing(every: Sequence[Job], handles: Sequence) -> str:
  """Waits for the jobs; a sentence of those that did not train to the end, empty if all did."""
  failed, left = [], []
  for job, of in zip(every, handles, strict=True):
    if of.exception():
      failed.append(job.label)
    elif any(told != _FINISHED for told in of.results()):
      left.append(job.label)
  words = [f"{len(failed)} of {len(every)} jobs failed: {', '.join(failed)}"] if failed else []
  if left:
    words.append(
      f"{len(left)} of {len(every)} jobs were interrupted: {', '.join(left)}, the same command "
      "goes on where they are saved"
    )
  return "; ".join([*words, "see above."]) if words else ""
