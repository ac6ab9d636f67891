"""Training: seconds a step, images and voxels a second, the share of waiting for data."""

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxseg.config.ranges import COUNT, POSITIVE

WARM_UP = 2  # steps
_PER_SECOND = "_per_second"
FEWEST, MOST = 5, 300  # steps that are timed, however long they take; times that are kept


def add_options(parser: argparse.ArgumentParser) -> None:
  from jaxseg.verbs.arguments import number

  parser.add_argument(
    "--steps", type=number(int, COUNT), default=50, help="steps timed at most (default: 50)"
  )
  parser.add_argument(
    "--seconds",
    type=number(float, POSITIVE),
    default=20.0,
    help=f"seconds of timed steps at most, {FEWEST} steps at least (default: 20)",
  )


def spread(seconds: Sequence[float], count: str = "steps") -> dict[str, Any]:
  """Median, tenth and ninetieth percentile of some times, and how many under the name `count`."""
  low, high = np.percentile(seconds, (10, 90))
  return {
    "median": statistics.median(seconds),
    "p10": float(low),
    "p90": float(high),
    count: len(seconds),
  }


def together(values: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """What was measured by several processes as if by one: times are of the steps of all.

  Args:
    values: of `measure`, in the first process; what is not a time or a speed stays its.
    others: of `measure`, in further ones.
  """
  times = [t for of in (values, *others) for t in of["each_step_seconds"]]
  pooled = {**values, "step_seconds": spread(times), "processes": 1 + len(others)}
  factor = values["step_seconds"]["median"] / pooled["step_seconds"]["median"]
  return pooled | {name: value * factor for name, value in values.items() if _PER_SECOND in name}


def _goes_on(times: Sequence[float], steps: int, seconds: float) -> bool:
  fewest = min(FEWEST, steps)
  return len(times) < steps and (len(times) < fewest or sum(times) < seconds)


def measure(program, *, options) -> dict[str, Any]:
  """Times steps one by one, each until its result is there, then some as the loop takes them.

  The data are made ahead of need while a step runs, as in training; the wait for them is part of a
  step's time.
  """
  step = program.compiled()
  program.say("timing the step")
  state, store, seed = program.init(program.seed), program.on_device, program.seed
  times, waits = [], []
  with program.fed(0, WARM_UP + 2 + 2 * options["steps"]) as elements:
    for _ in range(WARM_UP):
      state, metrics = step(state, store, next(elements), seed)
      jax.block_until_ready((state, metrics))
    while _goes_on(times, options["steps"], options["seconds"]):
      begun = time.perf_counter()
      element = next(elements)
      waits.append(time.perf_counter() - begun)
      state, metrics = step(state, store, element, seed)
      jax.block_until_ready((state, metrics))
      times.append(time.perf_counter() - begun)
    seconds = spread(times)
    # as many as fit into a third of the time
    count = max(2, min(len(times), round(options["seconds"] / 3 / seconds["median"])))
    begun = time.perf_counter()
    for _ in range(count):
      state, metrics = step(state, store, next(elements), seed)
    jax.block_until_ready((state, metrics))
    unblocked = (time.perf_counter() - begun) / count
  devices = program.layout.mesh.size
  loss = {"loss": float(metrics["loss"])} if "loss" in metrics else {}
  return {
    "step_seconds": seconds,
    "each_step_seconds": [round(t, 7) for t in times[:MOST]],
    "unblocked_step_seconds": unblocked,
    "images_per_second": program.images / seconds["median"],
    "images_per_second_per_device": program.images / seconds["median"] / devices,
    "voxels_per_second": program.voxels / seconds["median"],
    "voxels_per_second_per_device": program.voxels / seconds["median"] / devices,
    "data_wait_share": sum(waits) / sum(times),
    **loss,
  }


def lines(values) -> list[tuple[str, str]]:
  step = values["step_seconds"]
  processes = values.get("processes", 1)
  several_processes = f" of {processes} processes" if processes > 1 else ""
  several = values["images_per_second"] != values["images_per_second_per_device"]
  rows = [
    (
      "step",
      f"{1e3 * step['median']:.4g} ms (p10 {1e3 * step['p10']:.4g}, p90 {1e3 * step['p90']:.4g}; "
      f"{step['steps']} steps{several_processes})",
    ),
    ("step, unblocked", f"{1e3 * values['unblocked_step_seconds']:.4g} ms"),
    (
      "speed",
      f"{values['images_per_second']:.4g} images/s, {values['voxels_per_second']:.3g} voxels/s",
    ),
  ]
  if several:
    rows.append(
      (
        "speed per device",
        f"{values['images_per_second_per_device']:.4g} images/s, "
        f"{values['voxels_per_second_per_device']:.3g} voxels/s",
      )
    )
  return [*rows, ("waiting for data", f"{100 * values['data_wait_share']:.1f} %")]
