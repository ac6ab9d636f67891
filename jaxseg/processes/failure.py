"""What a process does that fails, or whose others are lost."""

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Iterator
from typing import NoReturn

import jax

# seconds to say why one fails
_WORDS = 5
# of JAX's errors where a process that sums with others does not answer
_LOST = ("gloo", "nccl", "connection", "socket", "heartbeat", "coordinationservice", "unavailable")


def fail(message: str) -> NoReturn:
  """Says why and ends this process; one of several does not wait for the others, which wait too."""
  if not jax.distributed.is_initialized():
    sys.exit(message)
  _leave(message)


@contextlib.contextmanager
def ending() -> Iterator[None]:
  """Ends one of several processes at once where the block fails: at its exit JAX waits for all."""
  try:
    yield
  except Exception:
    if not jax.distributed.is_initialized():
      raise
    _leave(traceback.format_exc())


def _leave(message: str) -> NoReturn:
  print(message, file=sys.stderr, flush=True)
  if jax.process_index() == 0:
    # with the first one all end, who may have words of their own
    time.sleep(_WORDS)
  os._exit(1)


def loss_of_others(error: BaseException) -> str | None:
  """A sentence, if an error of JAX's means that another process of this run is gone."""
  text = " ".join(str(error).split())
  several = jax.distributed.is_initialized() and jax.process_count() > 1
  if not several or not any(word in text.lower() for word in _LOST):
    return None
  return (
    f"another process of this run was lost (process {jax.process_index()} of "
    f"{jax.process_count()} was told: {text[:160]}); see the output of the others; the same "
    "command goes on from the newest checkpoint, with as many processes as it is given."
  )
