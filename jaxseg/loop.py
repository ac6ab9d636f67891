"""The only training loop: compile, shard, log, evaluate, checkpoint, resume.

It knows `Method` and `State`. A schedule or an every-k-steps lives inside the method.
"""

import math
import pathlib
import time

import jax
import numpy as np

from jaxseg import files, sealed, sharding
from jaxseg.data.stream import Feeder, sentences
from jaxseg.evaluation import held_out
from jaxseg.evaluation.while_training import absent_classes, validate
from jaxseg.experiment import Experiment
from jaxseg.inference import pictures
from jaxseg.runs import lock
from jaxseg.runs.folder import record
from jaxseg.runs.initialise import initialised
from jaxseg.runs.interrupt import Interrupt
from jaxseg.runs.keeper import Keeper
from jaxseg.runs.writer import Writer
from jaxseg.step import compile_step


class Diverged(RuntimeError):
  """The loss is no longer a number."""


def train(run: Experiment, workdir, *, interrupt: Interrupt | None = None) -> dict | None:
  """Trains to the end, or to the next signal; resumes where the run folder's checkpoint stands.

  Args:
    run: the experiment, built.
    workdir: run folder: config, versions, metrics, panels, checkpoints, validation, report.
    interrupt: asks the run to save and leave; None listens to signals alone.

  Returns:
    The report, or None if it was asked to leave.

  Raises:
    Diverged: the loss is NaN or infinite; the last good checkpoint stays.
    ValueError: the run folder belongs to another network, cannot be written, or another process
      trains there.
    DiskFull: there is no room.
  """
  workdir = files.writable_folder(workdir, "--workdir")
  with lock.hold(workdir):
    return _train(run, workdir, interrupt or Interrupt())


def _train(run: Experiment, workdir: pathlib.Path, interrupt: Interrupt) -> dict | None:
  """`train`, by the one run that may write to the folder."""
  main = jax.process_index() == 0
  notes = record(workdir, run, write=main)
  steps = run.config["steps"]
  feeder = Feeder(run.streams, cache=run.config["data"]["cache"])
  store = feeder.store()
  # any element has the shapes of all
  step = compile_step(run, feeder.element(0), store)
  seed = np.uint32(run.config["seed"])
  keeper = Keeper(workdir, run.task.best)
  if main:
    files.remove_leftovers(workdir)
    keeper.tidy()
  beginning = keeper.resume(step.abstract, step.places)
  if beginning is None:
    state, tables = initialised(step.init(seed), run.starts)
    beginning, notes = (state, []), (*notes, *tables)
  state, pending = beginning
  first = int(state.step)
  store = sharding.place(store, run.layout.replicated)
  every = run.config["log_every"]
  images = run.main.sampling.batch
  progress = {"first_step": first, "last_step": steps, "images": images, "every": every}
  writer = Writer(workdir, **progress) if main else None
  try:
    with interrupt:
      for sentence in (*notes, *sentences(run.streams), *run.layout.notes, *absent_classes(run)):
        _say(writer, sentence)
      if first:
        _say(writer, f"Resuming {workdir} at step {first} of {steps}.")
      if first < steps:
        _say(writer, "Compiling the training step (up to a minute or two, the first time) ...")
      elements = feeder.elements(first, steps, run.layout.slots)
      state = _steps(run, step, state, store, seed, elements, pending, keeper, writer, interrupt)
      outcome = None
      if state is not None:
        outcome = _held_out(run, step, state, workdir, writer, interrupt)
    if outcome is None:
      _say(writer, f"Interrupted: saved in {workdir}. The same command goes on from there.")
      return None
    if writer:
      writer.scalars(steps, outcome.watched.scalars())
    keeper.keep(state, outcome.watched.mean)
    return _report(outcome.own, state, keeper, writer, workdir)
  finally:
    if writer:
      writer.close()


def _say(writer: Writer | None, text: str) -> None:
  if writer:
    writer.say(text)


def _steps(run, step, state, store, seed, elements, pending, keeper, writer, interrupt):
  """Steps until the end or a signal; `pending` are the metrics since the log's last row.

  Returns:
    The final state, saved but not scored; or None, everything saved, after a signal.
  """
  config = run.config
  every, evaluate = config["log_every"], config["evaluate"]["every"]
  waited, mark, begun = 0.0, time.perf_counter(), False
  first, last = int(state.step), config["steps"]
  for number in range(first + 1, last + 1):
    before = time.perf_counter()
    element = sharding.place(next(elements), run.layout.split)
    waited += time.perf_counter() - before
    state, metrics = step.train(state, store, element, seed)
    pending.append(metrics)
    if writer:
      writer.advance()
    if not begun:
      jax.block_until_ready(state)
      _say(writer, f"Compiled in {time.perf_counter() - mark:.0f} s; training.")
      # the clock starts after compilation, so that the speed shown is that of training
      begun, waited, mark, timed = True, 0.0, time.perf_counter(), number
    leave = number == last
    if number % every == 0 or leave:
      values = _mean(jax.device_get(pending))
      pending = []
      _check(values, number, keeper)
      elapsed = time.perf_counter() - mark
      speed = (number - timed) / elapsed if number > timed else None
      if speed:
        # of the main stream alone, so that runs with and without further ones compare
        images = run.main.sampling.batch
        values |= {"images_per_second": speed * images, "data_wait": waited / elapsed}
      if writer:
        writer.scalars(number, values, speed=speed)
      waited, mark, timed = 0.0, time.perf_counter(), number
    score = None
    if number % evaluate == 0 and not leave:
      pause = time.perf_counter()
      scores = validate(run, step.apply, state, run.watched)
      score = scores.mean
      if writer:
        writer.scalars(number, scores.scalars())
        writer.picture(f"step_{number:07d}", pictures.stack(scores.panels))
      mark += time.perf_counter() - pause
    # a signal that all processes must agree on is looked for when they meet anyway
    stop = interrupt.asked if jax.process_count() == 1 else number % every == 0
    stop = stop and interrupt.everywhere()
    if score is not None or number % config["checkpoint_every"] == 0 or leave or stop:
      pending = jax.device_get(pending)
      if pending:
        _check(_mean(pending), number, keeper)
      pause = time.perf_counter()
      if writer:
        writer.flush()
      keeper.keep(state, score, pending)
      mark += time.perf_counter() - pause
    if stop and not leave:
      return None
  return state


def _held_out(run, step, state, workdir, writer, interrupt) -> held_out.Outcome | None:
  """The validation cases with the final weights; None after a signal."""
  _say(writer, f"Predicting {len(run.validation)} validation case(s) with the final weights ...")
  alone = jax.process_count() == 1
  return held_out.predict(
    run,
    step.apply,
    state,
    workdir,
    record=writer is not None,
    stop=interrupt.everywhere,
    # all processes must predict the same cases
    resume=alone,
  )


def _mean(rows: list[dict]) -> dict[str, float]:
  return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _check(values: dict[str, float], number: int, keeper: Keeper) -> None:
  bad = [name for name in ("loss", "gradient_norm") if not math.isfinite(values.get(name, 0.0))]
  if bad:
    kept = keeper.latest.steps
    where = f"the checkpoint of step {kept[0]} is kept" if kept else "no checkpoint was written yet"
    raise Diverged(
      f"{bad[0]} is {values[bad[0]]} near step {number}: training diverged; {where} in "
      f"{keeper.latest.folder}. Lower config.optimiser.learning_rate or set config.optimiser.clip."
    )


def _report(scores, state, keeper, writer, workdir) -> dict:
  """Writes report.json: the scores of every validation case, on its own grid."""
  report = {
    "step": int(state.step),
    "validation": scores.summary(),
    "best_checkpoint": {
      "steps": keeper.best.steps,
      "metric": keeper.metric,
      "watched": keeper.score,
    },
    "cases": scores.cases,
  }
  if writer:
    sealed.write(workdir / "report.json", report)
    picture = writer.picture("final", pictures.stack(scores.panels))
    _say(writer, scores.table())
    _say(writer, f"Picture (image | reference | prediction): {picture}")
    _say(writer, f"Report: {workdir / 'report.json'}")
  return report
