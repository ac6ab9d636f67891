"""What a step spends on sampling and augmentation, forward, backward, update, waiting for data."""

import statistics
import time
from typing import Any

import jax
import numpy as np

METHOD = (
  "medians of programs that were compiled apart and timed in turn: the batch alone, the loss alone "
  "(forward), loss and norm of the gradient (less forward: backward), the method's whole step "
  "(less these: update); remainder: the step less all parts"
)
ROUNDS = 15


def _programs(program) -> dict[str, Any]:
  """Programs of more and more of a step; what no output needs, the compiler leaves out."""

  def loss(state, batch, key):
    return program.update(state, batch, key)[1]["loss"]

  def gradient(state, batch, key):
    metrics = program.update(state, batch, key)[1]
    return metrics["loss"], metrics["gradient_norm"]

  return {
    "batch": jax.jit(program.batch),
    "forward": jax.jit(loss),
    "gradient": jax.jit(gradient),
    "update": jax.jit(program.update, donate_argnums=0),
  }


def measure(program, *, options) -> dict[str, Any]:
  """Seconds of each part of a step, and its share.

  A method that tells no loss and no norm of its gradient is divided into batch and update alone.
  """
  programs = _programs(program)
  state, store, element, seed = program.shapes()
  shapes = jax.eval_shape(program.batch, state.step, store, element, seed)
  metrics = jax.eval_shape(program.update, state, *shapes)[1]
  if not {"loss", "gradient_norm"} <= set(metrics):
    del programs["forward"], programs["gradient"]
  program.say("timing the parts of the step")
  times: dict[str, list[float]] = {name: [] for name in (*programs, "step", "wait")}
  own, other = (program.init(program.seed) for _ in range(2))
  step, store, seed = program.compiled(), program.on_device, program.seed
  begun = time.perf_counter()
  # the first round compiles
  with program.fed(0, ROUNDS + 1) as elements:
    for count in range(ROUNDS + 1):
      before = time.perf_counter()
      element = next(elements)
      waited = time.perf_counter() - before
      own, _ = _timed(times["step"], step, own, store, element, seed)
      times["wait"].append(waited)
      batch, key = _timed(times["batch"], programs["batch"], other.step, store, element, seed)
      for name in programs:
        if name == "update":
          other, _ = _timed(times[name], programs[name], other, batch, key)
        elif name != "batch":
          _timed(times[name], programs[name], other, batch, key)
      if not count:
        begun = time.perf_counter()
      elif count >= 3 and time.perf_counter() - begun > 2 * options["seconds"]:
        break
  median = {name: statistics.median(of[1:]) for name, of in times.items()}
  seconds = {"sampling_and_augmentation": median["batch"]}
  if "forward" in programs:
    seconds["forward"] = median["forward"]
    seconds["backward"] = median["gradient"] - median["forward"]
    seconds["update"] = median["update"] - median["gradient"]
  else:
    seconds["forward_backward_update"] = median["update"]
  seconds["waiting_for_data"] = median["wait"]
  whole = median["step"] + median["wait"]
  seconds["remainder"] = whole - sum(seconds.values())
  low, high = np.percentile(times["step"][1:], (10, 90))
  return {
    "step_seconds": whole,
    "seconds": seconds,
    "share": {name: value / whole for name, value in seconds.items()},
    "step_spread_share": float(high - low) / whole,
    "rounds": len(times["step"]) - 1,
    "method": METHOD,
  }


def _timed(times: list[float], call, *arguments):
  begun = time.perf_counter()
  out = jax.block_until_ready(call(*arguments))
  times.append(time.perf_counter() - begun)
  return out


def lines(values) -> list[tuple[str, str]]:
  parts = (f"{name.replace('_', ' ')} {100 * of:.1f} %" for name, of in values["share"].items())
  noise = f"p90 less p10 of the step: {100 * values['step_spread_share']:.1f} %"
  return [("shares of a step", f"{', '.join(parts)} ({noise})")]
