"""A signal asks a run to save and leave."""

import contextlib
import signal

import jax
import numpy as np


class Interrupt:
  """SIGTERM and Ctrl-C ask the loop to save and leave; a second one is not caught."""

  def __init__(self):
    self.asked = False
    self._before = {}

  def __enter__(self):
    # signals can only be caught in the main thread; elsewhere (a notebook's worker) they pass
    with contextlib.suppress(ValueError):
      for number in (signal.SIGTERM, signal.SIGINT):
        self._before[number] = signal.signal(number, self._ask)
    return self

  def _ask(self, number, frame):
    del frame
    self.asked = True
    signal.signal(number, self._before[number])

  def __exit__(self, *error):
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def everywhere(self) -> bool:
    """Whether any process was asked: all must leave at the same step."""
    if jax.process_count() == 1:
      return self.asked
    from jax.experimental import multihost_utils

    return bool(multihost_utils.process_allgather(np.array(self.asked)).any())
