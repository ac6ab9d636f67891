"""Starting as one process of several."""

import importlib.metadata
import os

import jax

from jaxseg.processes import cluster, meeting

# seconds: without a sign of life until a process counts as dead; of waiting for all at the start
_HEARTBEAT, _START = 40, 300
# what processes must share to compile the same program
_PACKAGES = ("jaxseg", "jax", "jaxlib", "flax", "optax", "numpy")


def start_processes() -> None:
  """Joins the other processes of a run; does nothing in one that is alone.

  Who they are is JAX's own detection (Slurm, Open MPI, Cloud TPU, Kubernetes), or what
  JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID say: see `cluster.place`. They wait
  JAXSEG_START_TIMEOUT seconds for each other. One that gives no sign of life for JAXSEG_HEARTBEAT
  seconds ends the others too, which would else wait in a sum for ever; the next start goes on from
  the newest checkpoint, on as many as there are.

  Raises ValueError in words where they do not come together.
  """
  patience = _seconds("JAXSEG_START_TIMEOUT", _START)
  heartbeat = _seconds("JAXSEG_HEARTBEAT", _HEARTBEAT)
  place = cluster.place(patience)
  if place is None:
    return
  meeting.meet(place, versions(), patience)
  # by which one that is asked to leave tells the others
  jax.config.update("jax_enable_preemption_service", True)
  jax.distributed.initialize(
    place.address,
    place.count,
    place.own,
    local_device_ids=place.devices,
    # all is known: JAX would give a task of Slurm one GPU, whatever it has
    cluster_detection_method="deactivate",
    initialization_timeout=patience,
    heartbeat_timeout_seconds=heartbeat,
  )


def versions() -> dict[str, str]:
  """Of the packages that make the program."""
  numbers = {}
  for package in _PACKAGES:
    try:
      numbers[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      numbers[package] = "none"
  return numbers


def _seconds(name: str, usual: int) -> int:
  text = os.environ.get(name, str(usual))
  if not text.isdigit() or not int(text):
    raise ValueError(f"{name}={text}: expected a whole number of seconds, 1 or more.")
  return int(text)
