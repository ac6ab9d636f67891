"""A signal asks a run to save and leave."""

import contextlib
import itertools
import signal

import jax

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
# of the questions whether to leave: the same number means the same place on every process
_rounds = itertools.count(1)


class Interrupt:
  """SIGTERM, SIGUSR1 and Ctrl-C ask the loop to save and leave; a second one is not caught.

  Of several processes it is enough that one is asked: JAX's preemption service, which hears SIGTERM
  itself, finds the next step that none of them has begun, and there all leave.
  """

  def __init__(self):
    self.asked = False
    self._before = {}
    self._several = jax.process_count() > 1

  def __enter__(self):
    # a handler of ours would take JAX's place
    numbers = [n for n in _SIGNALS if not (self._several and n == signal.SIGTERM)]
    # signals can only be caught in the main thread; elsewhere (a notebook's worker) they pass
    with contextlib.suppress(ValueError):
      for number in numbers:
        self._before[number] = signal.signal(number, self._ask)
    return self

  def _ask(self, number, frame):
    del frame
    signal.signal(number, self._before[number])
    if self._several:
      signal.raise_signal(signal.SIGTERM)
    else:
      self.asked = True

  def __exit__(self, *error):
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def everywhere(self) -> bool:
    """Whether to leave here; asked equally often by every process of a run, all of which leave."""
    if self._several and not self.asked:
      from jax.experimental import multihost_utils

      # it says so in one round alone
      self.asked = multihost_utils.reached_preemption_sync_point(next(_rounds))
    return self.asked

  def farewell(self, where: str) -> str:
    """What the user is told of runs in the folders `where` that have left; empty for nothing."""
    return f"Interrupted: saved in {where}. The same command goes on from there."
