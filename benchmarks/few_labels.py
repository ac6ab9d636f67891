"""The table of few labels: every method, seeds and draws, two trainings at a time; resumable.

Usage: python benchmarks/few_labels.py [train] [table] [--only PATTERN ...] [--retry] [--list]

- train: every row that is not there yet, in an order that leaves a fair table whenever it is
  stopped: seed 0 of all methods first. A row is a run of train.py in runs/few_labels, on one core
  of its own (--cores); a stopped one goes on from its checkpoint, a finished one is not repeated
  unless its config has changed since, and one that failed is a row, tried again by --retry.
- table: writes the table and the picture of docs/few_labels.md from what is there.

Rows are kept in docs/few_labels.json as soon as they are there. Scores are those of the last step,
on cases that nothing was chosen on. `--protocol published` is the literature's, for an accelerator,
with rows of its own; `--list` shows what would run. What follows a lone -- goes to train.py
(-- --config.steps=20), with --output and --runs for rows of such runs.
"""

import argparse
import concurrent.futures
import fnmatch
import hashlib
import itertools
import json
import math
import os
import pathlib
import runpy
import shutil
import signal
import subprocess
import sys
import threading
from typing import NamedTuple

import few_labels_table

from jaxseg import files, sealed
from jaxseg.compose import complete
from jaxseg.config.file import load_config
from jaxseg.evaluation import held_out
from jaxseg.runs import folder as run_folder
from jaxseg.runs import same_run

ROOT = pathlib.Path(__file__).parents[1]
CONFIG = "configs/few_labels.py"
SCRIBBLES = "configs/scribbles_acdc.py"
FULL = "full"  # the variant of SCRIBBLES that is supervised training with all labels
SEEDS = (0, 1, 2)
# with more labels than 3 patients: the floor of the others, and one method of each kind
SEVEN = ("supervised", "mean_teacher", "cross_pseudo", "fixmatch", "unimatch", "copy_paste")
BEST = 3  # methods that are tried on another draw of the labelled patients
# other data: critics beside the same network without one, the config's VARIANTS
SETS = {"drive": "configs/drive_adversarial.py", "cxr_lung": "configs/cxr_lung_adversarial.py"}
LEFT = 130  # train.py's exit code after a signal: all is saved


class Row(NamedTuple):
  """One run.

  Attributes:
    table: of which table of the page: "labels", "scribbles", or the name of a data set.
    method: a name of the config's.
    labelled: patients with labels, of the heart's tables.
    draw: of the labelled patients.
    seed: of weights, order and augmentation.
    config: what train.py is given.
  """

  table: str
  method: str
  labelled: int
  draw: int
  seed: int
  config: str

  @property
  def key(self) -> str:
    return f"{self.table}/{self.method}/labelled{self.labelled}/draw{self.draw}/seed{self.seed}"


def named(config: str, table: str) -> list[str]:
  """The names in a table of a config file; [] where there is no such file."""
  path = ROOT / config
  return list(runpy.run_path(str(path))[table]) if path.is_file() else []


def methods() -> dict[str, list[str]]:
  """Table of the page -> the names of its methods in their order."""
  drawn = [name for name in named(SCRIBBLES, "VARIANTS") if name != FULL]
  elsewhere = {name: named(config, "VARIANTS") for name, config in SETS.items()}
  return {"labels": named(CONFIG, "METHODS"), "scribbles": drawn, **elsewhere}


def rows(protocol: str, done) -> list[Row]:
  """All rows in the order in which they run; `done` are the rows so far, which choose the best."""
  of, patients = methods(), runpy.run_path(str(ROOT / CONFIG))["PATIENTS"]
  published = ",published" if protocol == "published" else ""

  def heart(method, labelled, seed, draw=0):
    words = f"{method},labelled={labelled},draw={draw},protocol={protocol}"
    return Row("labels", method, labelled, draw, seed, f"{CONFIG}:{words}")

  def once(seed):
    """One seed of everything that every seed has: floor and ceiling first."""
    few = [heart(name, 3, seed) for name in of["labels"]]
    ends = [few[0], heart("supervised", patients, seed)]
    drawn = [
      Row("scribbles", name, patients, 0, seed, f"{SCRIBBLES}:{name}{published}")
      for name in of["scribbles"]
    ]
    elsewhere = [
      Row(name, variant, 0, 0, seed, f"{config}:{variant}")
      for name, config in SETS.items()
      for variant in of[name]
    ]
    return [*ends, *few[1:], *drawn, *elsewhere]

  seven = [name for name in SEVEN if name in of["labels"]]
  best = ("supervised", *few_labels_table.best(done, BEST))
  return [
    *itertools.chain.from_iterable(once(seed) for seed in SEEDS),
    *(heart(name, 7, seed) for seed in SEEDS for name in seven),
    *(heart(name, 3, seed, draw=1) for seed in SEEDS for name in best),
  ]


class Table:
  """The rows that were measured, on disk after each; used by several threads."""

  def __init__(self, path: pathlib.Path):
    self.path, self._lock = path, threading.Lock()

  def read(self) -> dict[str, dict]:
    advice = "put it aside, or bring it back from the repository"
    if not self.path.is_file():
      return {}
    return files.read_json(self.path, what="the rows of a table", advice=advice, kind=dict)

  def keep(self, key: str, row: dict) -> None:
    with self._lock:
      files.write_json(self.path, {**self.read(), key: row})


def score(folder: pathlib.Path) -> dict:
  """The figures of a finished run."""
  told = held_out.read_scores(folder)
  report = sealed.read(folder / "report.json", what="the report of a run", advice="train again")
  means = report["validation"]
  distances = [d for case in told["cases"].values() for d in case["own"]["hd95"].values()]
  return {
    "steps": report["step"],
    "cases": len(told["cases"]),
    "dice": means["mean"]["dice"],
    "iou": means["mean"]["iou"],
    "hd95": means["mean"]["hd95"] if any(map(math.isfinite, distances)) else None,
    "missing": sum(map(math.isinf, distances)),
    "dice_of": means["classes"]["dice"],
  }


def config_of(row: Row) -> dict:
  """The row's config, complete."""
  config = load_config(str(ROOT / row.config))
  config.seed = row.seed
  return complete(config)


def config_sum(config: dict) -> str:
  """A sum of all of a config that may not differ where a run goes on, and of its steps."""
  fields = same_run.flat(same_run.explicit(config))
  of = {k: v for k, v in fields.items() if not same_run.may_differ(k, same_run.RESUME)}
  text = json.dumps({**of, "steps": config["steps"]}, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:12]


def outdated(row: Row, folder: pathlib.Path, further: list[str], known: dict) -> str:
  """How the config of a run differs from the row's, in words; "" if it doesn't, or nothing tells.

  `known` is the row as it was kept, which tells the sum of its config where the run is gone.
  """
  if further:
    return ""
  if not (folder / run_folder.CONFIG).is_file():
    same = known.get("config", "") in ("", config_sum(config_of(row)))
    return "" if same else "its config was another when it was measured"
  before, config = run_folder.read_config(folder), config_of(row)
  differing = same_run.differences(before, config, same_run.RESUME)
  # a run may go on for longer, but is then no run of that budget: its schedules ended before
  if before["steps"] != config["steps"]:
    differing["steps"] = (before["steps"], config["steps"])
  return same_run.sentence(differing)


class Runner:
  """Trains rows, each in a process on one core; a signal saves those that are under way."""

  def __init__(self, table: Table, runs: pathlib.Path, cores: list[int], further: list[str]):
    self._table, self._runs, self._further = table, runs, further
    self._free, self._live, self._lock = list(cores), set(), threading.Lock()
    self.stopped = threading.Event()

  def stop(self, *_) -> None:
    self.stopped.set()
    with self._lock:
      for process in self._live:
        process.send_signal(signal.SIGTERM)

  def run(self, row: Row) -> None:
    if self.stopped.is_set():
      return
    with self._lock:
      core = self._free.pop(0)
    try:
      self._train(row, self._runs / row.key, core)
    finally:
      with self._lock:
        self._free.append(core)

  def _train(self, row: Row, folder: pathlib.Path, core: int) -> None:
    before = self._table.read().get(row.key, {})
    if folder.exists() and (words := outdated(row, folder, self._further, before)):
      aside = folder.with_name(
        f"{folder.name}.before.{len(list(folder.parent.glob('*.before.*')))}"
      )
      print(f"{row.key}: {words}; kept as {aside.name}, trained again", flush=True)
      folder.rename(aside)
      before = {}
    command = [*bound(), *pinned(core), sys.executable, "train.py", f"--config={row.config}"]
    command += [f"--config.seed={row.seed}", f"--workdir={folder}", *self._further]
    print(f"{row.key}: core {core}", flush=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.with_name(f"{folder.name}.log")
    with open(log, "a", encoding="utf-8") as out:
      process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(),
        stdout=out,
        stderr=subprocess.STDOUT,
        start_new_session=True,
      )
      with self._lock:
        self._live.add(process)
      if self.stopped.is_set():
        process.send_signal(signal.SIGTERM)
      _, status, used = os.wait4(process.pid, 0)
      process.returncode = os.waitstatus_to_exitcode(status)
      with self._lock:
        self._live.discard(process)
    # of a run that was stopped and goes on, all of its time
    spent = before.get("cpu_seconds", 0.0) if before.get("stopped") else 0.0
    made = {"cpu_seconds": round(spent + used.ru_utime + used.ru_stime, 1)}
    if process.returncode == 0:
      made |= score(folder)
      if not self._further:
        made["config"] = config_sum(run_folder.read_config(folder))
      print(f"{row.key}: Dice {made['dice']:.4f}, {made['cpu_seconds']:.0f} CPU-s", flush=True)
    elif process.returncode == LEFT or self.stopped.is_set():
      made["stopped"] = True
    else:
      words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
      made["failed"] = words[-1][-300:] if words else f"exit status {process.returncode}"
      print(f"{row.key}: {made['failed']}", flush=True)
    self._table.keep(row.key, made)


def environment() -> dict[str, str]:
  """One thread for each library, and one cache of programs for all runs."""
  programs = str(ROOT / "runs" / ".jax_cache")
  own = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "agg"}
  own["PYTHONPATH"] = str(ROOT)
  return {"JAX_COMPILATION_CACHE_DIR": programs, **os.environ, **own}


def bound() -> list[str]:
  """What a command begins with to be asked to save and leave where this process is killed."""
  return ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []


def pinned(core: int) -> list[str]:
  """What a command begins with to run on one core."""
  return ["taskset", "-c", str(core)] if shutil.which("taskset") else []


def train(wanted, table: Table) -> bool:
  """Runs what is not there yet; whether all of it was done."""
  runner = Runner(table, wanted.runs, wanted.cores, wanted.further)
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, runner.stop)
  tried: set[str] = set()
  # who is best is known only when the first rows are there
  while not runner.stopped.is_set():
    left = [row for row in pending(wanted, table) if row.key not in tried]
    if not left:
      return True
    tried.update(row.key for row in left)
    with concurrent.futures.ThreadPoolExecutor(len(wanted.cores)) as pool:
      for ended in [pool.submit(runner.run, row) for row in left]:
        ended.result()
  print("Stopped: the same command goes on.", flush=True)
  return False


def pending(wanted, table: Table) -> list[Row]:
  """The rows that are asked for and not done, or done by another config."""
  done, left = table.read(), {}
  for row in rows(wanted.protocol, done):
    if not any(fnmatch.fnmatchcase(row.key, pattern) for pattern in wanted.only):
      continue
    of = done.get(row.key, {})
    folder = wanted.runs / row.key
    finished = "dice" in of and not outdated(row, folder, wanted.further, of)
    if not finished and ("failed" not in of or wanted.retry):
      left[row.key] = row
  return list(left.values())


def current(wanted, done: dict[str, dict]) -> dict[str, dict]:
  """The rows without those that another config trained, which are told."""
  stale = {
    row.key
    for row in rows(wanted.protocol, done)
    if "dice" in (of := done.get(row.key, {}))
    and outdated(row, wanted.runs / row.key, wanted.further, of)
  }
  for key in sorted(stale):
    print(f"{key}: left out, its config has changed since; `train` measures it again.")
  return {key: row for key, row in done.items() if key not in stale}


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("verbs", nargs="*", default=["train", "table"])
  parser.add_argument("--only", nargs="+", default=["*"], help="patterns of keys, see --list")
  parser.add_argument("--retry", action="store_true", help="those that failed, too")
  parser.add_argument("--list", action="store_true", help="shows what would run")
  parser.add_argument("--protocol", default="cpu", choices=("cpu", "published"))
  parser.add_argument("--cores", type=int, nargs="+", default=[0, 1])
  parser.add_argument("--output", type=pathlib.Path, help="the rows; docs/few_labels.json")
  parser.add_argument("--runs", type=pathlib.Path, help="the runs; runs/few_labels")
  words, further = sys.argv[1:], []
  if "--" in words:
    words, further = words[: words.index("--")], words[words.index("--") + 1 :]
  wanted = parser.parse_args(words)
  wanted.further = further
  if further and not (wanted.output and wanted.runs):
    parser.error("what follows a lone -- trains other runs: name their --output and their --runs.")
  name = "few_labels" if wanted.protocol == "cpu" else f"few_labels_{wanted.protocol}"
  wanted.runs = (wanted.runs or ROOT / "runs" / name).resolve()
  table = Table((wanted.output or ROOT / "docs" / f"{name}.json").resolve())
  if wanted.list:
    for row in pending(wanted, table):
      print(row.key)
    return
  if "train" in wanted.verbs and not train(wanted, table):
    sys.exit(LEFT)
  if "table" in wanted.verbs:
    few_labels_table.write(current(wanted, table.read()), methods(), ROOT, wanted.runs, name)


if __name__ == "__main__":
  main()
