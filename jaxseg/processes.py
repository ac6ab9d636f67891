"""Several processes that train as one: how they start, agree, and hear of others' failures."""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

import jax
import numpy as np

# seconds without a sign of life until a process counts as dead
_HEARTBEAT = 40
# and to say why it fails
_WORDS = 5


def start_processes() -> None:
  """Joins the other processes of a multi-host run; does nothing in a single-process one.

  On a TPU pod or under SLURM the cluster is found by JAX itself when JAXSEG_DISTRIBUTED=1;
  elsewhere JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID say who is who. A process
  that gives no sign of life for JAXSEG_HEARTBEAT seconds ends the others too, which would else wait
  in a sum for ever; the next start goes on from the newest checkpoint, on as many as there are.
  """
  address = os.environ.get("JAX_COORDINATOR_ADDRESS")
  patience = {"heartbeat_timeout_seconds": int(os.environ.get("JAXSEG_HEARTBEAT", _HEARTBEAT))}
  if address:
    number, own = int(os.environ["JAX_NUM_PROCESSES"]), int(os.environ["JAX_PROCESS_ID"])
    jax.distributed.initialize(address, number, own, **patience)
  elif os.environ.get("JAXSEG_DISTRIBUTED") == "1":
    jax.distributed.initialize(**patience)


def fail(message: str) -> NoReturn:
  """Says why and ends this process; one of several does not wait for the others, which wait too."""
  if not jax.distributed.is_initialized():
    sys.exit(message)
  print(message, file=sys.stderr, flush=True)
  if jax.process_index() == 0:
    # with the first one all end, who may have words of their own
    time.sleep(_WORDS)
  os._exit(1)


def on_first(work: Callable[[], Any]) -> Any:
  """Does what one process alone must do, on the first; all return its value, or raise its error.

  Args:
    work: () -> plain data for JSON.
  """
  if jax.process_count() == 1:
    return work()
  value = error = None
  if jax.process_index() == 0:
    try:
      value = work()
    except Exception as caught:  # whatever it is: the others wait to be told
      error = caught
  told = {"value": value, "error": None if error is None else str(error)}
  told = json.loads(_broadcast(json.dumps(told).encode()))
  if error is not None:
    raise error
  if told["error"] is not None:
    raise ValueError(told["error"])
  return told["value"]


def together(work: Callable[[], None]) -> None:
  """Does the same on every process; where one of them fails, all raise, and none waits for it."""
  if jax.process_count() == 1:
    work()
    return
  from jax.experimental import multihost_utils

  error = None
  try:
    work()
  except Exception as caught:  # whatever it is: the others wait to be told
    error = caught
  failed = np.flatnonzero(multihost_utils.process_allgather(np.array(error is not None)))
  if error is not None:
    raise error
  if failed.size:
    raise ValueError(f"process {failed[0]} of this run failed, see its output; this one stops too.")


def _broadcast(message: bytes) -> bytes:
  """The first process's bytes, on every process."""
  from jax.experimental import multihost_utils

  length = int(multihost_utils.broadcast_one_to_all(np.int32(len(message))))
  own = np.frombuffer(message.ljust(length, b" ")[:length], np.uint8)
  return bytes(multihost_utils.broadcast_one_to_all(own))
