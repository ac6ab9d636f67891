"""Kills a tiny training again and again; what it leaves in the end must be an uninterrupted run's.

Usage: python benchmarks/trust_kills.py [--kills 100] [--pairs 2] [--seed 0] [--folder FOLDER]

A chain is one run folder with its own prepared data, started over until it ends: train.py, then
`jaxseg report`. All but the last starts are killed (SIGKILL, a quarter SIGTERM) at a file
operation drawn at random, of a kind drawn first: reading, writing, renaming and removing in
preparation, saving, logging, held-out prediction and report; or up to 30 ms after it, which may be
amid the writing of a checkpoint, of which Python knows nothing. `--pairs` of the kills hit one of
two processes that train as one. Then the last checkpoint, the best one, report.json, metrics.jsonl
(without images_per_second and data_wait, which are times), the segmentations and the report's
tables are compared bit for bit, and no temporary file may be left. Printed, as Markdown: kills by
what they hit. Ends with 1 where anything differs; the folders of such chains are kept.
"""

import argparse
import collections
import gzip
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.listdir", "os.scandir"}
KINDS = (
  ("prepared", "preparation"),
  (r"run/(checkpoints|best)\b", "checkpoints"),
  ("run/(metrics|tensorboard|panels)", "metrics, panels"),
  ("run/validation", "held-out prediction"),
  ("run/report", "report"),
)
HOWS = ("SIGKILL", "SIGTERM")
START = "start (config, lock, ...)"
CLOCK = {"images_per_second", "data_wait"}
LEFT = re.compile(
  r"\.[0-9]+\.|\.saving|\.removing|\.part|\.training|.*(damaged|orbax-checkpoint-tmp)"
)
LENGTH, PATIENCE = 5, 300  # kills in a chain at most; seconds that a start may take


def get_config():
  from jaxseg import defaults

  config = defaults.config()
  config.steps, config.average = 12, 0.9
  config.log_every, config.checkpoint_every, config.evaluate.every = 2, 3, 4
  config.network = dict(name="unet", widths=(4, 8), depth=1, decoder_depth=1)
  config.data.source = dict(name="phantom", cases=10, size=(32, 32))
  config.data.patch, config.data.batch, config.data.workers = (32, 32), 2, 1
  config.augment = dict(mirror=dict(), noise=dict())
  return config


class Start:
  """A forked process that works in a chain's folder; imports are done, devices untouched."""

  def __init__(self, folder, work, *, number=0, environment=None, at=(), how=0, delay=0.0):
    self.told = pathlib.Path(f"{folder}.{number}.told")
    self.told.unlink(missing_ok=True)
    self._folder, self._at, self._how, self._delay = str(folder), at, how, delay
    self._seen = collections.Counter()
    sys.stdout.flush()
    self.process = os.fork()
    if self.process:
      return
    code = 1
    try:
      os.environ.update(environment or {})
      os.dup2(os.open(f"{folder}.{number}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 1)
      os.dup2(1, 2)
      sys.addaudithook(self._see)
      code = self._done(work)
      if not self.told.exists():
        self.told.write_text(json.dumps(self._seen))
    finally:
      sys.stdout.flush()
      sys.stderr.flush()
      os._exit(code)

  def _done(self, work) -> int:
    try:
      work()
    except SystemExit as ended:
      if isinstance(ended.code, str):
        print(ended.code, file=sys.stderr)
      return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
      traceback.print_exc()
      return 1
    return 0

  def _see(self, event: str, arguments) -> None:
    path = arguments[0] if event in EVENTS and arguments else None
    path = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(path, str) or not path.startswith(self._folder + os.sep):
      return
    name = os.path.relpath(path, self._folder)
    kind = next((kind for words, kind in KINDS if re.match(words, name)), START)
    self._seen[kind] += 1
    if (kind, self._seen[kind]) == self._at:
      timer = threading.Timer(self._delay, self._end, (kind,))
      timer.start() if self._delay else self._end(kind)

  def _end(self, kind: str) -> None:
    self.told.write_text(json.dumps(kind))
    os.kill(os.getpid(), self._how)

  def wait(self, patience: float = PATIENCE) -> int | None:
    """The exit code, negative of a signal; None, and the process is killed, when it takes long."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
      number, status = os.waitpid(self.process, os.WNOHANG)
      if number:
        return os.waitstatus_to_exitcode(status)
      time.sleep(0.02)
    os.kill(self.process, signal.SIGKILL)
    os.waitpid(self.process, 0)
    return None


def training(folder: pathlib.Path):
  """() -> trains to the end, then reports, as the two commands do."""

  def work():
    from jaxseg.verbs import report, train

    try:
      # ml_collections reads the overrides there
      sys.argv = [
        "train.py",
        f"--config={pathlib.Path(__file__).resolve()}",
        f"--config.data.folder={folder / 'prepared'}",
        f"--workdir={folder / 'run'}",
      ]
      train.main()
    except SystemExit as ended:  # absl ends every program by it
      if ended.code:
        raise
    if os.environ.get("JAX_PROCESS_ID", "0") == "0":
      report.main([str(folder / "run")])

  return work


def outcome(folder: pathlib.Path):
  """() -> prints what counts of a finished run: name -> digest, or a word."""

  def work():
    import numpy as np

    from jaxseg.runs import checkpoint

    run, found = folder / "run", {}
    for kind in (checkpoint.LATEST, checkpoint.BEST):
      checkpoints = checkpoint.Checkpoints(run, kind)
      found[f"{kind}: steps"] = checkpoints.steps
      for name, array in checkpoints.arrays(checkpoints.steps[0]).items():
        found[f"{kind}: {name}"] = hashlib.sha256(np.asarray(array).tobytes()).hexdigest()
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found["metrics.jsonl"] = [{k: v for k, v in row.items() if k not in CLOCK} for row in rows]
    found["report.json"] = json.loads((run / "report.json").read_text())
    for path in sorted((run / "validation").rglob("*")) + sorted((run / "report").glob("*.csv")):
      if path.is_file():
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        found[str(path.relative_to(run))] = hashlib.sha256(data).hexdigest()
    left = [str(p.relative_to(folder)) for p in folder.rglob("*") if LEFT.match(p.name)]
    found["left over"] = sorted(left)
    pathlib.Path(f"{folder}.outcome").write_text(json.dumps(found))

  return work


def started(folder: pathlib.Path, pair: bool, **kill) -> list[Start]:
  """Starts the training: one process, or two as one, the kill for the last of them."""
  if not pair:
    return [Start(folder, training(folder), **kill)]
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{probe.getsockname()[1]}"
  both = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
  victim = kill.pop("victim", 1)
  return [
    Start(
      folder,
      training(folder),
      number=number,
      environment={**both, "JAX_PROCESS_ID": str(number)},
      **(kill if number == victim else {}),
    )
    for number in (0, 1)
  ]


def whole(folder: pathlib.Path, pair: bool) -> tuple[dict, list[dict[str, int]]]:
  """The outcome of an uninterrupted run, and its processes' file operations by kind."""
  folder.mkdir()
  starts = started(folder, pair)
  if [start.wait() for start in starts] != [0] * len(starts):
    sys.exit(f"the uninterrupted run failed, see {folder}.0.log")
  return result(folder), [json.loads(start.told.read_text()) for start in starts]


def result(folder: pathlib.Path) -> dict:
  """The outcome of a run in a folder."""
  if Start(folder, outcome(folder), number=9).wait() != 0:
    return {"a run that can be read": False}
  return json.loads(pathlib.Path(f"{folder}.outcome").read_text())


def chain(folder: pathlib.Path, pair: bool, kills: int, operations: list[dict], draw) -> list:
  """Kills until `kills` have hit or the run ends, then lets it end; what was hit, or a problem."""
  folder.mkdir()
  hits = []
  while len(hits) < kills:
    # the first process of a pair writes, the second reads
    victim = int(pair and draw.random() < 0.25)
    how = signal.SIGTERM if draw.random() < 0.25 else signal.SIGKILL
    # preparation is done once; what is left to do of the rest gets less with every start
    kinds = [kind for kind in operations[victim] if kind != "preparation" or not hits]
    kind = draw.choice(kinds)
    last = operations[victim][kind] / (1 + len(hits) * (kind == "checkpoints"))
    kill = {
      "at": (kind, 1 + int(draw.random() * last)),
      "how": how,
      "delay": draw.choice([0.0, draw.uniform(0.0, 0.03)]),
    }
    starts = started(folder, pair, **kill, **({"victim": victim} if pair else {}))
    code = starts[victim].wait()
    for other in starts:
      if other is not starts[victim]:
        other.wait(PATIENCE if code == 0 else 5)
    if code == 0:
      return hits
    if code not in (-how, 128 + how, 130):
      return [*hits, f"exit code {code}, see {folder}.{victim}.log"]
    hits.append((json.loads(starts[victim].told.read_text()), signal.Signals(how).name, pair))
  codes = [start.wait() for start in started(folder, pair)]
  if any(codes):
    hits.append(f"exit codes {codes} of the last start, see {folder}.0.log")
  return hits


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
  parser.add_argument("--kills", type=int, default=100)
  parser.add_argument("--pairs", type=int, default=2, help="kills of one of two processes")
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--folder", type=pathlib.Path, help="default: a temporary one")
  wanted = parser.parse_args()
  os.environ.setdefault("JAX_PLATFORMS", "cpu")
  root = wanted.folder or pathlib.Path(tempfile.mkdtemp(prefix="kills-"))
  root = root.resolve()
  root.mkdir(parents=True, exist_ok=True)
  os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(root / "compiled"))
  os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
  os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
  import tensorboardX.record_writer  # noqa: F401

  import jaxseg.experiment
  import jaxseg.loop
  import jaxseg.verbs.report
  import jaxseg.verbs.train  # noqa: F401

  begun, draw, problems = time.monotonic(), random.Random(wanted.seed), []
  counts, number, chains = collections.Counter(), 0, 0
  for pair, kills in ((True, wanted.pairs), (False, wanted.kills - wanted.pairs)):
    if kills < 1:
      continue
    shutil.rmtree(root / f"whole-{pair}", ignore_errors=True)
    expected, operations = whole(root / f"whole-{pair}", pair)
    print(f"uninterrupted, {1 + pair} process(es): {operations} file operations", flush=True)
    done = 0
    while done < kills:
      number += 1
      folder = root / f"chain-{number}"
      shutil.rmtree(folder, ignore_errors=True)
      hits = chain(folder, pair, min(LENGTH, kills - done), operations, draw)
      found = result(folder)
      differ = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
      wrong = [hit for hit in hits if isinstance(hit, str)]
      wrong += [f"differ: {', '.join(differ)}"] if differ else []
      problems += [f"chain {number}: {word}" for word in wrong]
      hits = [hit for hit in hits if not isinstance(hit, str)]
      counts.update(hits)
      done, chains = done + len(hits), chains + bool(hits)
      print(f"chain {number}: {len(hits)} kill(s), {wrong or 'equal'}", flush=True)
      if not wrong:
        shutil.rmtree(folder)
      elif not hits:
        break
  print("\n| what was being done | SIGKILL | SIGTERM |\n|---|---|---|")
  for kind in sorted({kind for kind, _, _ in counts}):
    by = [sum(n for (k, h, _), n in counts.items() if (k, h) == (kind, how)) for how in HOWS]
    print(f"| {kind} | {by[0]} | {by[1]} |")
  pairs = sum(n for (_, _, pair), n in counts.items() if pair)
  print(
    f"\n{counts.total()} kills ({pairs} of one of two processes) in {chains} chains, "
    f"{len(problems)} problem(s), {time.monotonic() - begun:.0f} s."
  )
  sys.exit("\n".join(problems) if problems else 0)


if __name__ == "__main__":
  main()
