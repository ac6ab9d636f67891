"""The only training loop: compile, shard, log, evaluate, checkpoint, resume.

It knows `Method` and `State`. A schedule or an every-k-steps lives inside the method. What it
trains are the members of a program: mostly one run alone, or several of one config at one step.
"""

import contextlib
import math
import pathlib
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxseg import files, processes, sealed
from jaxseg.data.pool import Feeders
from jaxseg.data.stream import sentences
from jaxseg.evaluation import held_out
from jaxseg.evaluation.while_training import absent_classes, validate
from jaxseg.experiment import Experiment
from jaxseg.inference import pictures
from jaxseg.method import State
from jaxseg.program import Program, compile_program
from jaxseg.runs import lock, same_data
from jaxseg.runs.display import Display
from jaxseg.runs.folder import json_like, record
from jaxseg.runs.initialise import initialised
from jaxseg.runs.interrupt import Interrupt
from jaxseg.runs.keeper import Keeper, level
from jaxseg.runs.writer import Writer
from jaxseg.sharding import Layout


class Diverged(RuntimeError):
  """The loss is no longer a number."""


class Member(NamedTuple):
  """One of the runs that are trained: mostly the only one.

  Attributes:
    run: the experiment.
    workdir: its run folder.
    keeper: its checkpoints.
    notes: what is to be told of it, a sentence each.
    pending: metrics of the steps since the log's last row.
    writer: its records; None on all processes but the first.
  """

  run: Experiment
  workdir: pathlib.Path
  keeper: Keeper
  notes: list[str]
  pending: list[dict[str, Any]]
  writer: Writer | None = None


def train(
  run: Experiment, workdir, *, interrupt: Interrupt | None = None, until: int | None = None
) -> dict | None:
  """Trains to the end, or to the next signal; resumes where the run folder's checkpoint stands.

  Args:
    run: the experiment, built.
    workdir: run folder: config, versions, metrics, panels, checkpoints, validation, report.
    interrupt: asks the run to save and leave; None listens to signals alone.
    until: step at which to score the watched cases, save and leave as after a signal, to go on
      later; None is the last one.

  Returns:
    The report, or None if it was asked to leave.

  Raises:
    Diverged: the loss is NaN or infinite; the last good checkpoint stays.
    ValueError: the run folder belongs to another network, cannot be written, or another process
      trains there.
    DiskFull: there is no room.
  """
  reports = train_together((run,), (workdir,), interrupt=interrupt, until=until)
  return None if reports is None else reports[0]


def train_together(
  runs: Sequence[Experiment],
  workdirs: Sequence,
  layout: Layout | None = None,
  *,
  interrupt: Interrupt | None = None,
  until: int | None = None,
) -> list[dict] | None:
  """As `train`, of several runs at the same step, in one program; each has its run folder.

  Args:
    runs: the experiments, alike but for seeds and cases, see `together`.
    workdirs: their run folders, whose names differ.
    layout: the devices of all of them; None is one run's.
    interrupt, until: as of `train`.

  Returns:
    The reports, or None if they were asked to leave.

  Raises ValueError where the runs don't stand at one step; else as `train`.
  """
  workdirs = [files.writable_folder(workdir, "--workdir") for workdir in workdirs]
  with contextlib.ExitStack() as locks:
    for workdir in workdirs:
      locks.enter_context(lock.hold(workdir))
    return _train(runs, workdirs, layout, interrupt or Interrupt(), until)


def _train(
  runs: Sequence[Experiment],
  workdirs: Sequence[pathlib.Path],
  layout: Layout | None,
  interrupt: Interrupt,
  until: int | None,
) -> list[dict] | None:
  """`train_together`, by the one program that may write to the folders."""
  main, first_run = jax.process_index() == 0, runs[0]
  names = [workdir.name for workdir in workdirs] if len(runs) > 1 else ()
  members = []
  for run, workdir in zip(runs, workdirs, strict=True):
    processes.alike(json_like(same_data.of_run(run)), _other_data)
    notes = record(workdir, run, write=main)
    keeper = Keeper(workdir, run.task.best, together=names)
    members.append(Member(run, workdir, keeper, [*notes, *run.notes, *sentences(run.streams)], []))
  feeders = Feeders([run.streams for run in runs], cache=first_run.config["data"]["cache"])
  program = compile_program(runs, feeders, layout)
  if main:
    for member in members:
      files.remove_leftovers(member.workdir)
      member.keeper.tidy()
  notes = [*level([member.keeper for member in members]), *(layout or first_run.layout).notes]
  trained = program.begin(_beginning(member, program) for member in members)
  first, last = int(program.member(trained, 0).step), first_run.config["steps"]
  with contextlib.ExitStack() as stack:
    display = None
    if main:
      images = first_run.main.sampling.batch
      display = Display(first_step=first, last_step=last, images=images, runs=len(runs))
      stack.callback(display.close)
      members = [_writing(member, at, display, first, stack) for at, member in enumerate(members)]
    stack.enter_context(interrupt)
    for sentence in (*_merged(members), *notes):
      _say(display, sentence)
    where = ", ".join(map(str, workdirs))
    if first:
      _say(display, f"Resuming {where} at step {first} of {last}.")
    if first < last:
      _say(display, "Compiling the training step (up to a minute or two, the first time) ...")
    stop = last if until is None else min(until, last)
    elements = feeders.elements(first, stop, first_run.layout.slots)
    trained = _steps(members, program, trained, (first, stop), elements, display, interrupt)
    # also where it stands there already
    trained = trained if stop == last else None
    reports = []
    if trained is not None:
      for at, member in enumerate(members):
        report = _end(member, program, program.member(trained, at), display, interrupt)
        if report is None:
          break
        reports.append(report)
    if len(reports) < len(runs):
      paused = stop < last and not interrupt.everywhere()
      _say(display, f"Saved in {where}." if paused else interrupt.farewell(where))
      return None
    return reports


def _other_data(first: dict, own: dict) -> str:
  words = same_data.difference(first, own)
  return words and f"that one began {words}"


def _beginning(member: Member, program: Program) -> State:
  """The state where a run stands, or a new one; fills in its notes and pending metrics."""
  run, keeper = member.run, member.keeper
  beginning = keeper.resume(program.step.abstract, program.step.places)
  if beginning is None:
    seed = np.uint32(run.config["seed"])
    state, tables = initialised(program.step.init(seed), run.starts)
    member.notes.extend(tables)
  else:
    state, pending = beginning
    member.pending.extend(pending)
  member.notes.extend((*keeper.notes, *absent_classes(run)))
  return state


def _writing(member: Member, number: int, display: Display, first: int, stack) -> Member:
  every = member.run.config["log_every"]
  writer = Writer(member.workdir, display, first_step=first, every=every, number=number)
  stack.callback(writer.close)
  return member._replace(writer=writer)


def _say(display: Display | None, text: str) -> None:
  if display and text:
    display.say(text)


def _merged(members: Sequence[Member]) -> list[str]:
  """The notes of all members, each once; those that are not of all with the names of whose."""
  of: dict[str, list[str]] = {}
  for member in members:
    for line in dict.fromkeys(member.notes):
      of.setdefault(line, []).append(member.workdir.name)
  return [
    line if len(who) == len(members) else f"{', '.join(who)}: {line}" for line, who in of.items()
  ]


def _steps(members, program, trained, span, elements, display, interrupt):
  """Steps until the last of a span or a signal; where that isn't the run's last, it is scored too.

  Returns:
    What was trained, saved but not scored; or None, everything saved, after a signal.
  """
  (first, last), config = span, members[0].run.config
  every, evaluate = config["log_every"], config["evaluate"]["every"]
  waited, mark, begun = 0.0, time.perf_counter(), False
  fresh = []

  def fetch() -> None:
    """Brings the metrics of the latest steps to their members."""
    for metrics in jax.device_get(fresh):
      for member, row in zip(members, program.rows(metrics), strict=True):
        member.pending.append(row)
    fresh.clear()

  for number in range(first + 1, last + 1):
    before = time.perf_counter()
    element = program.place(next(elements))
    waited += time.perf_counter() - before
    trained, metrics = program.train(trained, element)
    fresh.append(metrics)
    if display:
      display.advance()
    if not begun:
      jax.block_until_ready(trained)
      _say(display, f"Compiled in {time.perf_counter() - mark:.0f} s; training.")
      # the clock starts after compilation, so that the speed shown is that of training
      begun, waited, mark, timed = True, 0.0, time.perf_counter(), number
    leave, pause_here = number == config["steps"], number == last < config["steps"]
    if number % every == 0 or leave:
      fetch()
      rows = [_mean(member.pending) for member in members]
      for member, values in zip(members, rows, strict=True):
        member.pending.clear()
        _check(values, number, member.keeper)
      elapsed = time.perf_counter() - mark
      speed = (number - timed) / elapsed if number > timed else None
      for member, values in zip(members, rows, strict=True):
        if speed:
          # of the main stream alone, so that runs with and without further ones compare
          images = member.run.main.sampling.batch
          values |= {"images_per_second": speed * images, "data_wait": waited / elapsed}
        if member.writer:
          member.writer.scalars(number, values, speed=speed)
      waited, mark, timed = 0.0, time.perf_counter(), number
    scores, scored = [None] * len(members), (number % evaluate == 0 or pause_here) and not leave
    # a run may train on all cases
    scored = scored and any(of.cases for of in members[0].run.watched_cases)
    if scored:
      pause = time.perf_counter()
      scores = [
        _evaluate(member, program, program.member(trained, at), number)
        for at, member in enumerate(members)
      ]
      mark += time.perf_counter() - pause
    stop = interrupt.everywhere() or pause_here
    if scored or number % config["checkpoint_every"] == 0 or leave or stop:
      fetch()
      for member in members:
        if member.pending:
          _check(_mean(member.pending), number, member.keeper)
      pause = time.perf_counter()
      for at, member in enumerate(members):
        if member.writer:
          member.writer.flush()
        member.keeper.keep(program.member(trained, at), scores[at], member.pending)
      mark += time.perf_counter() - pause
    if stop and not leave:
      return None
  return trained


def _evaluate(member: Member, program: Program, state, number: int) -> float:
  """Scores the watched cases; returns what judges the best checkpoint."""
  scores = validate(member.run, program.step.apply, state, member.run.watched_cases)
  if member.writer:
    member.writer.scalars(number, scores.scalars())
    member.writer.picture(f"step_{number:07d}", pictures.stack(scores.panels))
  return scores.mean


def _end(member: Member, program: Program, state, display, interrupt) -> dict | None:
  """The validation cases with the final weights, and the report of them; None after a signal."""
  run, writer = member.run, member.writer
  whose = f" of {member.workdir.name}" if member.keeper.together else ""
  cases = f"{sum(len(of.cases) for of in run.scored_cases)} validation case(s){whose}"
  _say(display, f"Predicting {cases} with the final weights ...")
  outcome = held_out.predict(
    run,
    program.step.apply,
    state,
    member.workdir,
    record=writer is not None,
    stop=interrupt.everywhere,
    # all processes must predict the same cases
    resume=jax.process_count() == 1,
  )
  if outcome is None:
    return None
  if writer and outcome.watched.cases:
    writer.scalars(run.config["steps"], outcome.watched.scalars())
  member.keeper.keep(state, outcome.watched.mean)
  return _report(outcome.own, state, member, display)


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


def _report(scores, state, member: Member, display) -> dict:
  """Writes report.json: the scores of every validation case, on its own grid."""
  keeper, writer = member.keeper, member.writer
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
    sealed.write(member.workdir / "report.json", report)
    if scores.cases:
      picture = writer.picture("final", pictures.stack(scores.panels))
      _say(display, scores.table())
      _say(display, f"Picture (image | reference | prediction): {picture}")
    _say(display, f"Report: {member.workdir / 'report.json'}")
  return report
