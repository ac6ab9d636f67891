"""Rows of a table, each a run of train.py on one core of its own; resumable.

Rows are kept as soon as they are there. A stopped run goes on from its checkpoint, a finished one
is not repeated unless its config has changed since, and one that failed is a row, too. A row has
`key`, where it is kept and its run lies; `config`, what train.py is given; and `seed`; a row that
is no training also `program`, the words that begin its command, which takes the same flags; one
that is made with other rows' runs `sources`, their keys. It comes once these are there; where their
runs are gone, as on another machine, they are made again. One whose processor time is compared is
`cold`: it compiles all of its programs itself.
"""

import concurrent.futures
import fnmatch
import functools
import hashlib
import json
import math
import os
import pathlib
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jaxseg import files, sealed
from jaxseg.children import Processes
from jaxseg.compose import complete
from jaxseg.config.file import load_config
from jaxseg.evaluation import held_out
from jaxseg.runs import folder as run_folder
from jaxseg.runs import lock, same_run
from jaxseg.verbs.train import LEFT

ROOT = pathlib.Path(__file__).parents[1]
TRAIN = ("train.py",)
_PROGRAMS = "JAX_COMPILATION_CACHE_DIR"
Rows = Callable[[dict[str, dict]], Sequence[Any]]


class Planned(NamedTuple):
  """A row, see above."""

  key: str
  config: str
  seed: int
  sources: tuple[str, ...] = ()
  program: tuple[str, ...] = TRAIN
  cold: bool = False


def sources(row) -> tuple[str, ...]:
  """The keys of the rows whose runs it is made with."""
  return getattr(row, "sources", ())


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

  def drop(self, key: str) -> None:
    with self._lock:
      files.write_json(self.path, {k: row for k, row in self.read().items() if k != key})


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


def dice_of_case(folder: pathlib.Path) -> dict[str, float | None]:
  """Case -> the mean over the labels that it has, None without any."""
  cases = held_out.read_scores(folder)["cases"]
  return {name: _mean(of["own"]["dice"].values()) for name, of in cases.items()}


def _mean(values) -> float | None:
  known = [value for value in values if value is not None and value == value]
  return sum(known) / len(known) if known else None


def is_done(row: dict) -> bool:
  """Whether a row has the figures of a finished run, not of one that failed or was stopped."""
  return bool({"steps", "dice"} & row.keys())


def place(runs: pathlib.Path, key: str) -> pathlib.Path:
  """The folder of a run, the same in a config wherever the repository lies."""
  folder = pathlib.Path(runs, key)
  return folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder


def config_of(row) -> dict:
  """The row's config, complete; not to be written to."""
  # what other runs have a part in changes with them
  read = _read if sources(row) else _read_once
  return read(row.config, row.seed)


def _read(path: str, seed: int) -> dict:
  config = load_config(str(ROOT / path))
  config.seed = seed
  return complete(config)


_read_once = functools.cache(_read)


def config_sum(config: dict) -> str:
  """A sum of all of a config that may not differ where a run goes on, and of its steps."""
  fields = same_run.flat(same_run.explicit(config))
  of = {k: v for k, v in fields.items() if not same_run.may_differ(k, same_run.RESUME)}
  text = json.dumps({**of, "steps": config["steps"]}, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:12]


def outdated(row, folder: pathlib.Path, further: list[str], known: dict) -> str:
  """How the config of a run differs from the row's, in words; "" if it doesn't, or nothing tells.

  `known` is the row as it was kept, which tells the sum of its config where the run is gone. Where
  the runs are gone, too, that it was made with, nothing tells.
  """
  runs = folder.parents[row.key.count("/")]
  if further or not all((runs / key).is_dir() for key in sources(row)):
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


def changed(key: str, every: dict[str, Any], done: dict[str, dict], wanted) -> bool:
  """Whether a row that is done was made by another config, or with runs that were.

  Args:
    key: of the row.
    every: key -> row, all of them.
    done: key -> the row as it was kept.
    wanted: of the command line, see `table_command`.
  """
  of = done.get(key, {})
  if not is_done(of):
    return False
  with_others = of.get("made_with", {}).items()
  return (
    bool(outdated(every[key], wanted.runs / key, wanted.further, of))
    or any(done.get(other, {}).get("config", known) != known for other, known in with_others)
    or any(changed(other, every, done, wanted) for other in sources(every[key]))
  )


class Runner:
  """Trains rows, each in a process on one core; a signal saves those that are under way."""

  def __init__(self, table: Table, runs: pathlib.Path, cores, further: list[str], score=score):
    self._table, self._runs, self._further, self._score = table, runs, further, score
    self._processes = Processes(cores)
    self.stop, self.stopped = self._processes.stop, self._processes.stopped

  def run(self, row) -> None:
    if self.stopped.is_set():
      return
    with self._processes.place() as core:
      self._train(row, self._runs / row.key, core)

  def _train(self, row, folder: pathlib.Path, core: int) -> None:
    before = self._table.read().get(row.key, {})
    words, sums = outdated(row, folder, self._further, before), self._sums_of_sources(row)
    if is_done(before) or before.get("made_with", sums) != sums:
      words = words or "runs that it was made with have changed"
    if folder.exists() and words:
      aside = folder.with_name(
        f"{folder.name}.before.{len(list(folder.parent.glob('*.before.*')))}"
      )
      print(f"{row.key}: {words}; kept as {aside.name}, trained again", flush=True)
      # else its figures would be those of the new run, should this one be killed
      self._table.drop(row.key)
      folder.rename(aside)
      shutil.rmtree(programs_of(folder), ignore_errors=True)
      before = {}
    command = [
      sys.executable,
      *getattr(row, "program", TRAIN),
      f"--config={row.config}",
      f"--config.seed={row.seed}",
      f"--workdir={folder}",
      *self._further,
    ]
    print(f"{row.key}: core {core}", flush=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.with_name(f"{folder.name}.log")
    # of a table that was killed a run may still save
    lock.wait(folder, stopped=self.stopped)
    programs = programs_of(folder) if getattr(row, "cold", False) else None
    options = {"cores": (core,), "environment": environment(programs), "folder": ROOT}
    code, used = self._processes.run(command, log, **options)
    # of a run that was stopped and goes on, all of its time
    spent = before.get("cpu_seconds", 0.0) if before.get("stopped") else 0.0
    made = {"cpu_seconds": round(spent + used, 1)} | ({"made_with": sums} if sums else {})
    if code == 0:
      made |= self._score(folder)
      if not self._further:
        made["config"] = config_sum(_config(row, folder))
      figure = f"Dice {made['dice']:.4f}, " if "dice" in made else ""
      print(f"{row.key}: {figure}{made['cpu_seconds']:.0f} CPU-s", flush=True)
    elif code == LEFT or self.stopped.is_set():
      made["stopped"] = True
    else:
      words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
      made["failed"] = words[-1][-300:] if words else f"exit status {code}"
      print(f"{row.key}: {made['failed']}", flush=True)
    self._table.keep(row.key, made)

  def _sums_of_sources(self, row) -> dict[str, str]:
    done = {} if self._further else self._table.read()
    return {key: of["config"] for key in sources(row) if "config" in (of := done.get(key, {}))}


def _config(row, folder: pathlib.Path) -> dict:
  """As it was used; what is no run keeps it elsewhere."""
  known = (folder / run_folder.CONFIG).is_file()
  return run_folder.read_config(folder) if known else config_of(row)


def programs_of(folder: pathlib.Path) -> pathlib.Path:
  """Where the programs of a `cold` row's run are kept: of what is stopped and goes on, too."""
  return folder.with_name(f"{folder.name}.programs")


def environment(programs: pathlib.Path | None = None) -> dict[str, str]:
  """One thread for each library; programs are kept there, of None in one cache for all runs."""
  own = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "agg"}
  own["PYTHONPATH"] = str(ROOT)
  if programs is not None:
    own[_PROGRAMS] = str(programs)
  return {_PROGRAMS: str(ROOT / "runs" / ".jax_cache"), **os.environ, **own}


def begin(wanted, table: Table, rows: Rows, score=score) -> bool:
  """What every table begins with, --list or the training; whether anything is to come after it.

  Arguments as of `train`. Ends the process where a signal stopped the training.
  """
  if wanted.list:
    for row in pending(wanted, table, rows):
      print(row.key)
    return False
  if "train" in wanted.verbs and not train(wanted, table, rows, score):
    sys.exit(LEFT)
  return True


def train(wanted, table: Table, rows: Rows, score=score) -> bool:
  """Runs what is not there yet; whether all of it was done.

  Args:
    wanted: of the command line, see `table_command`.
    table: the rows so far.
    rows: of these -> all rows in the order in which they run.
    score: the folder of a finished run -> its figures.
  """
  runner = Runner(table, wanted.runs, wanted.cores, wanted.further, score)
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, runner.stop)
  queue = _Queue(wanted, table, rows)

  def work():
    while not runner.stopped.is_set() and (row := queue.next(runner.stopped)) is not None:
      try:
        runner.run(row)
      finally:
        queue.ended(row)

  with concurrent.futures.ThreadPoolExecutor(len(wanted.cores)) as pool:
    for ended in [pool.submit(work) for _ in wanted.cores]:
      ended.result()
  if runner.stopped.is_set():
    print("Stopped: the same command goes on.", flush=True)
  return not runner.stopped.is_set()


class _Queue:
  """The rows that are left, in their order, each once what it is made with is there."""

  def __init__(self, wanted, table: Table, rows: Rows):
    self._of = wanted, table, rows
    self._tried, self._under_way, self._turn = set(), set(), threading.Condition()

  def next(self, stopped: threading.Event) -> Any | None:
    """The next row; None where there is none and none can come."""
    with self._turn:
      while not stopped.is_set():
        # some rows are known only when others are there
        left = [row for row in pending(*self._of) if row.key not in self._tried]
        coming = {row.key for row in left} | self._under_way
        if row := next((row for row in left if self._ready(row, coming)), None):
          self._tried.add(row.key)
          self._under_way.add(row.key)
          return row
        if not self._under_way:
          return None
        # what is under way ends, also where all is stopped, and tells so
        self._turn.wait()
    return None

  def ended(self, row) -> None:
    """A row has ended, one way or another."""
    with self._turn:
      self._under_way.remove(row.key)
      self._turn.notify_all()

  def _ready(self, row, coming: set[str]) -> bool:
    wanted, table, _ = self._of
    done, needed = table.read(), sources(row)
    return coming.isdisjoint(needed) and all(is_there(key, done, wanted.runs) for key in needed)


def is_there(key: str, done: dict[str, dict], runs: pathlib.Path) -> bool:
  """Whether a row is done, and its run still lies where it was made."""
  return is_done(done.get(key, {})) and (runs / key).is_dir()


def pending(wanted, table: Table, rows: Rows) -> list:
  """The rows that are asked for and not done, or done by another config, and what they need."""
  done = table.read()
  every = {row.key: row for row in rows(done)}

  def asked(row) -> bool:
    of = done.get(row.key, {})
    if "failed" in of and not wanted.retry:
      return False
    if not any(fnmatch.fnmatchcase(row.key, pattern) for pattern in wanted.only):
      return False
    return not is_done(of) or changed(row.key, every, done, wanted)

  left = {key for key, row in every.items() if asked(row)}
  further = list(left)
  while further:
    for key in sources(every[further.pop()]):
      failed = "failed" in done.get(key, {}) and not wanted.retry
      there = is_there(key, done, wanted.runs) and not changed(key, every, done, wanted)
      if key not in left and not failed and not there:
        left.add(key)
        further.append(key)
  return [row for key, row in every.items() if key in left]


def current(wanted, done: dict[str, dict], rows: Rows) -> dict[str, dict]:
  """The rows without those that another config trained, which are told."""
  every = {row.key: row for row in rows(done)}
  stale = {key for key in every if changed(key, every, done, wanted)}
  for key in sorted(stale):
    print(f"{key}: left out, another config or run made it; `train` measures it again.")
  return {key: row for key, row in done.items() if key not in stale}
