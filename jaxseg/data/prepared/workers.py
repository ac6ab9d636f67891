"""The same work for many cases, spread over the cores, by the standard library's executor.

loky's was measured beside it: 6.6 s instead of 1.5 s until two workers have imported jax, and 156
MB instead of 47 of own memory for each, since its workers are no forks of one server.
"""

import collections
import math
import multiprocessing
import os
import pickle
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import jax

# seconds of work in this process before others are started, which takes them some
_PATIENCE = 5.0


class LostWorker(ValueError):
  """A worker process ended early; what it worked on need not be wrong."""


def cores() -> int:
  """The cores that this process may use."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def refuse_in_starting_worker(what: str) -> None:
  """Raises RuntimeError where a worker, just started, runs its parent's script a second time.

  The script's work, begun again there, would wait for the parent, who waits for the worker.
  """
  # multiprocessing's own mark of such a process, by which it refuses to start further ones
  if getattr(multiprocessing.current_process(), "_inheriting", False):
    raise RuntimeError(
      f"{what}: a worker process runs the whole script again; put the script's work under "
      "`if __name__ == '__main__':`."
    )


def spread(function: Callable, items: Iterable, *, workers: int | None, what: str) -> Iterator:
  """function(item) of every item, in order.

  Args:
    function: of one item, which pickles; else this process does all of it.
    items: its arguments.
    workers: processes; 1 for this one alone; None begins here and, where there is more work than a
      few seconds, spreads the rest over all cores.
    what: begins the messages.

  Raises:
    ValueError: `workers` is not positive; LostWorker: a process ended early; else what `function`
      raises.
  """
  if workers is not None and workers < 1:
    raise ValueError(f"{what}: workers is {workers}; expected a positive number of processes.")
  items, started = collections.deque(items), time.monotonic()
  if workers != 1 and not _pickles(function):
    workers = 1
  seconds_here = {1: math.inf, None: _PATIENCE}.get(workers, -1)
  while items and time.monotonic() - started <= seconds_here:
    yield function(items.popleft())
  if not items:
    return
  processes = min(workers or cores(), len(items))
  with ProcessPoolExecutor(
    processes, mp_context=_processes(function), initializer=_stay_on_host
  ) as pool:
    try:
      # one bad case ends the pass at once: what is not begun yet is cancelled with the iterator
      yield from pool.map(function, items)
    except BrokenProcessPool as error:
      raise LostWorker(
        f"{what}: a worker process ended early, probably for lack of memory: use fewer workers; or "
        "it is a script's, which needs `if __name__ == '__main__':`."
      ) from error


def _processes(function: Callable):
  # never a fork of this process: JAX has threads, and copies of them may hang. A fork server has
  # none, imports once for all workers, and stays for the next pass, whose workers start at once
  if "forkserver" not in multiprocessing.get_all_start_methods():
    return multiprocessing.get_context("spawn")
  context = multiprocessing.get_context("forkserver")
  context.set_forkserver_preload([__name__, getattr(function, "__module__", __name__)])
  return context


def _stay_on_host() -> None:
  # a worker that reached for the accelerator would take its memory from whoever trains there
  jax.config.update("jax_platforms", "cpu")


def _pickles(function: Callable) -> bool:
  try:
    pickle.dumps(function)
  except (pickle.PicklingError, AttributeError, TypeError):
    return False
  return True
