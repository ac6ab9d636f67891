"""Time to quality: how long training takes until a score is reached, over several seeds.

As MLPerf measures it: a fixed target, several runs that differ in their seed, the fastest and the
slowest dropped, the mean of the others (training_rules.adoc, "Benchmark Results",
https://github.com/mlcommons/training_policies). Its clock includes evaluation; both are told here.
"""

import argparse
import json
import math
import pathlib
import statistics
import tempfile
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from jaxseg.build import suggestion
from jaxseg.metrics import LESS_IS_BETTER
from jaxseg.runs.interrupt import Interrupt
from jaxseg.runs.writer import read_rows
from jaxseg.task import choose_metrics

SEEDS = 3
# of MLPerf's counts the smallest: from so many runs on two are dropped
TRIMMED = 5


def add_options(parser: argparse.ArgumentParser) -> None:
  from jaxseg.config.ranges import COUNT
  from jaxseg.verbs.arguments import number

  add = parser.add_argument
  add(
    "--time-to",
    metavar="METRIC=VALUE",
    help="train until the validation cases' score is reached, as dice=0.85",
  )
  add(
    "--seeds",
    type=number(int, COUNT),
    default=SEEDS,
    help=f"trainings for --time-to (default: {SEEDS}); from {TRIMMED} on the fastest and the "
    "slowest are dropped",
  )


class Target(NamedTuple):
  """A score that is to be reached; `less` tells that a smaller one is better."""

  metric: str
  value: float
  less: bool

  def reached(self, score) -> bool:
    if not isinstance(score, int | float) or not math.isfinite(score):
      return False
    return score <= self.value if self.less else score >= self.value


def target(text: str, metrics: Sequence[str], best: str) -> Target:
  """METRIC=VALUE; raises ValueError for what is none of the metrics, or no score.

  `metrics` are evaluated while training, `best` is the one of them whose mean is logged.
  """
  name, equals, value = text.partition("=")
  where = f"--time-to {text}"
  if not equals or not name:
    raise ValueError(f"{where}: expected METRIC=VALUE, as dice=0.85.")
  if name not in metrics:
    raise ValueError(
      f"{where}: '{name}' is not evaluated while training{suggestion(name, metrics)}; expected one "
      f"of {', '.join(metrics)}, or add it to config.evaluate.metrics."
    )
  if name != best:
    raise ValueError(
      f"{where}: config.evaluate.best is '{best}', whose mean is watched; expected that one, or "
      f"--config.evaluate.best={name}."
    )
  try:
    score = float(value)
  except ValueError:
    score = math.nan
  if not math.isfinite(score):
    raise ValueError(f"{where}: '{value}' is no score; expected a number, as {name}=0.85.")
  less = name in LESS_IS_BETTER
  if name in ("dice", "iou") and not 0 < score <= 1:
    raise ValueError(f"{where}: expected a number above 0, up to 1.")
  return Target(name, score, less)


class Watch:
  """Asks a run to leave once an evaluation reaches the target, or the last step was made.

  The loop asks at every step, so that the clock is read when an evaluation has just ended. Signals
  are heard as ever.
  """

  def __init__(self, workdir: pathlib.Path, goal: Target, last: int):
    self._signals = Interrupt()
    self._file, self._goal, self._last = workdir / "metrics.jsonl", goal, last
    self._read, self._over = 0, False
    self.first: float | None = None  # when the first step had ended
    self.evaluations: list[tuple[int, float, float]] = []  # step, score, when it had ended

  def __enter__(self) -> "Watch":
    self._signals.__enter__()
    return self

  def __exit__(self, *error) -> None:
    self._signals.__exit__(*error)

  @property
  def interrupted(self) -> bool:
    """Whether a signal came."""
    return self._signals.asked

  @property
  def asked(self) -> bool:
    return self.everywhere()

  def everywhere(self) -> bool:
    now = time.perf_counter()
    self.first = self.first or now
    for row in self._rows():
      if f"validation/{self._goal.metric}" in row:
        score = row[f"validation/{self._goal.metric}"]
        self.evaluations.append((row["step"], score, now))
        self._over = self._over or self._goal.reached(score)
      # what follows the last step scores and writes every case, which is not asked for
      self._over = self._over or row["step"] >= self._last
    return self._over or self._signals.everywhere()

  def farewell(self, where: str) -> str:
    """The score that the run stopped at; its folder is kept nowhere, nothing goes on from it."""
    del where
    if not self.evaluations or self.interrupted:
      return ""
    step, score, _ = self.evaluations[-1]
    told = "reached" if self._goal.reached(score) else "not reached"
    return f"{self._goal.metric} {score:.4g} at step {step}: {self._goal.value:g} {told}."

  def _rows(self) -> list[dict]:
    """The rows that were written since."""
    if not self._file.is_file() or self._file.stat().st_size == self._read:
      return []
    with self._file.open("rb") as file:
      file.seek(self._read)
      lines = file.read()
    # rows are written whole
    self._read += len(lines)
    return [json.loads(line) for line in lines.splitlines()]


def check(config, options) -> None:
  """Raises ValueError for a target that a config's training never looks at."""
  if not options.get("time_to"):
    raise ValueError("--time-to: expected METRIC=VALUE, as dice=0.85.")
  judged = config["evaluate"]
  metrics, best = choose_metrics(config["task"]["name"], judged["metrics"], judged["best"])
  target(options["time_to"], tuple(metrics), best)
  if config["members"] > 1:
    raise ValueError(f"--time-to: config.members is {config['members']}; expected 1.")
  every = judged["every"]
  if not 2 <= every < config["steps"]:
    raise ValueError(
      f"--time-to: config.evaluate.every={every} of config.steps={config['steps']}; expected "
      "evaluations while training, from 2 steps on apart, as every 50 steps."
    )


def measure(program, *, options) -> dict[str, Any]:
  """Trains by the loop itself, once for each seed, until the target or the config's end.

  Seconds count from the end of the first step, before which all is compiled. `seconds` are those of
  training alone, `seconds_with_evaluation` of the clock on the wall, saving and the compilation
  that the first evaluation needs included.

  Raises ValueError for a metric that is not watched, and for runs that cannot be stopped so.
  """
  run = program.run
  if run is None:
    raise ValueError("--time-to: needs an experiment to train, which this program has not.")
  check(run.config, options)
  goal = target(options["time_to"], tuple(run.task.metrics), run.task.best)
  config = run.config
  if jax.process_count() > 1:
    raise ValueError("--time-to: runs of several processes are not stopped so; expected one.")
  every = config["evaluate"]["every"]
  if not run.watched:
    raise ValueError("--time-to: no case validates (config.data.split); expected one or more.")
  runs = []
  for number in range(options.get("seeds") or SEEDS):
    seed = config["seed"] + number
    program.say(f"training to {goal.metric} {goal.value:g}, seed {seed}")
    with tempfile.TemporaryDirectory() as folder:
      runs.append(_one(_seeded(run, seed), pathlib.Path(folder), goal) | {"seed": seed})
  return {"metric": goal.metric, "target": goal.value, "evaluated_every": every} | summary(runs)


def _seeded(run, seed: int):
  """The run with another seed, as if its config had it, and a row of its log at each evaluation."""
  streams = {
    name: of._replace(sampling=of.sampling._replace(seed=seed)) for name, of in run.streams.items()
  }
  every = min(run.config["log_every"], run.config["evaluate"]["every"])
  return run._replace(config={**run.config, "seed": seed, "log_every": every}, streams=streams)


def _one(run, workdir: pathlib.Path, goal: Target) -> dict[str, Any]:
  """One training: what it took to the first evaluation that reached the target."""
  # the loop, and what it writes with, only where a run is trained
  from jaxseg import loop

  begun = time.perf_counter()
  watch = Watch(workdir, goal, run.config["steps"])
  loop.train(run, workdir, interrupt=watch)
  if watch.interrupted:
    raise KeyboardInterrupt
  rows, _ = read_rows(workdir / "metrics.jsonl")
  images = run.main.sampling.batch
  reached = [step for step, score, _ in watch.evaluations if goal.reached(score)]
  step = reached[0] if reached else run.config["steps"]
  scores = [score for _, score, _ in watch.evaluations]
  out = {
    "reached": bool(reached),
    "steps": step,
    "seconds": training_seconds(rows, step, images),
    "compile_seconds": watch.first - begun,
    "last_score": scores[-1] if scores else None,
  }
  for evaluated, _, when in watch.evaluations:
    if reached and evaluated == step:
      out["seconds_with_evaluation"] = when - watch.first
  if not reached:
    out["seconds_with_evaluation"] = time.perf_counter() - watch.first
  return out


def training_seconds(rows: Sequence[dict], last: int, images: int) -> float:
  """Seconds of the steps up to `last` but the first, by the speeds that a run's log tells.

  They leave out evaluating and saving. A step between two rows of the log counts by the later one,
  or by the last one that there is.
  """
  total, before, speed = 0.0, 0, math.nan
  for row in rows:
    if "images_per_second" in row:
      steps = min(row["step"], last) - before
      if steps > 0:
        # the first step, whose compilation is not in the speed, is not in the time either
        total += (steps - (before == 0)) * images / row["images_per_second"]
        before, speed = row["step"], row["images_per_second"]
  return total + (max(0, last - before) * images / speed if last > before else 0.0)


def summary(runs: Sequence[dict]) -> dict[str, Any]:
  """The runs, and what they say together: the trimmed mean, or how many reached no target."""
  missed = sum(not run["reached"] for run in runs)
  out = {"runs": list(runs), "not_reached": missed}
  if missed:
    return out | {"result": f"not reached in {missed} of {len(runs)}"}
  names = ("seconds", "seconds_with_evaluation", "steps")
  means = {f"mean_{name}": trimmed([run[name] for run in runs]) for name in names}
  dropped = 2 if len(runs) >= TRIMMED else 0
  return out | means | {"dropped": dropped, "result": "reached"}


def trimmed(values: Sequence[float]) -> float:
  """The mean without the smallest and the largest, of as many values as MLPerf asks for."""
  values = sorted(values)
  return statistics.fmean(values[1:-1] if len(values) >= TRIMMED else values)


def lines(values) -> list[tuple[str, str]]:
  name = f"time to {values['metric']} {values['target']:g}"
  count = len(values["runs"])
  if values["not_reached"]:
    last = [run["last_score"] for run in values["runs"] if not run["reached"]]
    best = ", ".join("none" if score is None else f"{score:.4g}" for score in last)
    return [(name, f"{values['result']} (last scores {best})")]
  how = f", the fastest and the slowest of {count} dropped" if values["dropped"] else ""
  return [
    (
      name,
      f"{values['mean_seconds']:.4g} s of training, {values['mean_steps']:.4g} steps, "
      f"{values['mean_seconds_with_evaluation']:.4g} s with evaluation (mean of {count} seeds"
      f"{how})",
    )
  ]
