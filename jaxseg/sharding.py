"""Devices: one mesh, two placements (replicated, split over the batch), multi-process start-up.

Networks and losses never mention a mesh: state is replicated, a batch is split on axis 0, and
XLA inserts the rest.
"""

import json
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

BATCH = "batch"


def start_processes() -> None:
  """Joins the other processes of a multi-host run; does nothing in a single-process one.

  On a TPU pod or under SLURM the cluster is found by JAX itself when JAXSEG_DISTRIBUTED=1;
  elsewhere JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID say who is who.
  """
  address = os.environ.get("JAX_COORDINATOR_ADDRESS")
  if address:
    jax.distributed.initialize(
      address, int(os.environ["JAX_NUM_PROCESSES"]), int(os.environ["JAX_PROCESS_ID"])
    )
  elif os.environ.get("JAXSEG_DISTRIBUTED") == "1":
    jax.distributed.initialize()


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


def mesh(devices=None) -> jax.sharding.Mesh:
  """A one-axis mesh over all devices (or the given ones)."""
  devices = jax.devices() if devices is None else devices
  return jax.make_mesh(
    (len(devices),), (BATCH,), axis_types=(jax.sharding.AxisType.Auto,), devices=devices
  )


def replicated(mesh: jax.sharding.Mesh) -> jax.NamedSharding:
  return jax.NamedSharding(mesh, jax.P())


def split(mesh: jax.sharding.Mesh) -> jax.NamedSharding:
  return jax.NamedSharding(mesh, jax.P(BATCH))


def usable(batch: int, devices=None) -> list:
  """The devices that a batch can be split over: the most that divide it evenly."""
  devices = list(jax.devices() if devices is None else devices)
  if batch % len(devices) == 0:
    return devices
  if jax.process_count() > 1:
    raise ValueError(
      f"config.data.batch: {batch} cannot be split over {len(devices)} devices of "
      f"{jax.process_count()} processes; make it a multiple of {len(devices)}."
    )
  count = max(n for n in range(1, len(devices) + 1) if batch % n == 0)
  return devices[:count]


def local_slots(batch: int) -> range:
  """The slots of the global batch that this process provides."""
  share = batch // jax.process_count()
  return range(jax.process_index() * share, (jax.process_index() + 1) * share)


def place(tree, sharding: jax.NamedSharding):
  """Host arrays -> global arrays; each process gives its own slice of a split array."""
  return jax.tree.map(
    lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), tree
  )
