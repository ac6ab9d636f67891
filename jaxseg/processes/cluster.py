"""Which processes make up a run: JAX's own detection of clusters, and when it is to be asked.

JAX knows Slurm, Open MPI, mpi4py, Cloud TPU (one slice or several; on GKE and not) and Kubernetes
(an Indexed Job, a JobSet). It is asked only where the environment tells of several processes: a
shell inside of an allocation, or a pod of its own, is one process that waits for nobody.
"""

import os
import pathlib
import re
import sys
from collections.abc import Mapping

from jaxseg.build import suggestion
from jaxseg.processes.meeting import Place, split

AUTO, NONE = "auto", "none"
# the names that JAX gives to what it detects; mpi4py counts only where it is chosen
METHODS = ("slurm", "ompi", "mpi4py", "gketpu", "gcetpu")
_WAYS = (
  "set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, or JAXSEG_CLUSTER=none for "
  "a process that trains alone"
)


def place(patience: int) -> Place | None:
  """Which of its processes this one is; None where it is alone.

  JAXSEG_CLUSTER says how they are detected: "auto", "none", or one of METHODS.

  Args:
    patience: seconds that JAX waits for a name to be known.

  Raises ValueError where the environment is contradictory, or the cluster does not answer.
  """
  method = os.environ.get("JAXSEG_CLUSTER", AUTO)
  if method not in (AUTO, NONE, *METHODS):
    raise ValueError(
      f"JAXSEG_CLUSTER={method}: unknown{suggestion(method, (AUTO, NONE, *METHODS))}; choices: "
      f"{', '.join((AUTO, NONE, *METHODS))}."
    )
  if method == NONE:
    return None
  address, count, own = _explicit()
  if method == AUTO and address is None and not _several():
    return None
  if None in (address, count, own):
    address, count, own = _detected(
      address, count, own, None if method == AUTO else method, patience
    )
  split(address)
  if not 0 <= own < count:
    raise ValueError(
      f"process {own} of {count}: expected numbers from 0 to {count - 1} (JAX_PROCESS_ID, "
      "JAX_NUM_PROCESSES)."
    )
  if count == 1:
    return None
  return Place(address, count, own, _own_devices(os.environ))


def _explicit() -> tuple[str | None, int | None, int | None]:
  """What JAX's variables say; raises ValueError where they are no numbers."""
  numbers = []
  for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID"):
    text = os.environ.get(name)
    if text is not None and not text.isdigit():
      raise ValueError(f"{name}={text}: expected a whole number.")
    numbers.append(None if text is None else int(text))
  return os.environ.get("JAX_COORDINATOR_ADDRESS") or None, *numbers


def _several() -> bool:
  """Whether the environment tells of more than this process."""
  if "SLURM_JOB_ID" in os.environ:
    tasks = _slurm_tasks(os.environ)
    job = _number(os.environ, "SLURM_NTASKS") or 1
    if tasks is None and job > 1:
      _note(
        f"this Slurm job has {job} tasks, but this process was not started by srun and trains "
        "alone; srun in front of the command trains with all."
      )
    if tasks is not None:
      return tasks > 1
  if (_number(os.environ, "OMPI_COMM_WORLD_SIZE") or 1) > 1:
    return True
  if "JOB_COMPLETION_INDEX" in os.environ and "KUBERNETES_SERVICE_HOST" in os.environ:
    return _kubernetes()
  return _on_tpu()


def _slurm_tasks(environment: Mapping[str, str]) -> int | None:
  """How many tasks the step of this process has; None outside of one.

  SLURM_NTASKS is the job's in the step that is an interactive shell.
  """
  if "SLURM_STEP_NODELIST" not in environment or "SLURM_PROCID" not in environment:
    return None
  return _number(environment, "SLURM_STEP_NUM_TASKS") or _number(environment, "SLURM_NTASKS")


def _kubernetes() -> bool:
  """Whether JAX can ask Kubernetes for the other pods of an Indexed Job."""
  try:
    import kubernetes  # noqa: F401  (JAX's own detection wants it)
  except ImportError:
    _note(
      "this pod is one of an Indexed Job and trains alone: to train with the others set "
      "JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, or install kubernetes; "
      "JAXSEG_CLUSTER=none says that it is meant so."
    )
    return False
  return True


def _on_tpu() -> bool:
  """Whether this is a virtual machine with TPUs, that JAX is to use."""
  platforms = os.environ.get("JAX_PLATFORMS", "")
  if platforms and "tpu" not in platforms:
    return False
  try:
    from jax._src import cloud_tpu_init
  except ImportError:
    return False
  return bool(getattr(cloud_tpu_init, "running_in_cloud_tpu_vm", False))


def _detected(
  address: str | None, count: int | None, own: int | None, method: str | None, patience: int
) -> tuple[str, int, int]:
  """What was not said, by JAX's detection; raises ValueError in words."""
  if "SLURM_STEP_NODELIST" in os.environ and method in (None, "slurm"):
    count = count or _slurm_tasks(os.environ)
  try:
    from jax._src.clusters import ClusterEnv

    values = ClusterEnv.auto_detect_unset_distributed_params(
      address, count, own, (), method, patience
    )[:3]
  except Exception as error:  # Kubernetes and Google's metadata have errors of their own
    text = " ".join(str(error).split())[:300]
    if isinstance(error, KeyError):
      text = f"{error.args[0]} is not set"
    raise ValueError(
      f"JAX could not find out which processes train together ({text or type(error).__name__}); "
      f"{_WAYS}."
    ) from error
  names = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
  missing = [name for name, value in zip(names, values, strict=True) if value is None]
  if missing:
    known = [name for name in names if name not in missing]
    said = f"{' and '.join(known)} without {' and '.join(missing)}" if known else "nothing"
    raise ValueError(
      f"the environment says {said}, and JAX detects no cluster that tells the rest"
      f"{f' (JAXSEG_CLUSTER={method})' if method else ''}; {_WAYS}."
    )
  return values


def _own_devices(environment: Mapping[str, str]) -> tuple[int, ...] | None:
  """Which of the visible GPUs are this process's own; None leaves it to JAX: all of them.

  Slurm shows a task those of its own (--gpus-per-task) or all of the node (--gres): the latter are
  shared out evenly among the tasks of the node.
  """
  tasks, local = _on_this_node(environment)
  if "JAX_LOCAL_DEVICE_IDS" in environment or environment.get("JAX_PLATFORMS") == "cpu":
    return None
  visible = _visible(environment)
  if tasks is None or not visible:
    return None
  # a task's own: fewer than there are on the node, or one where there is one for each
  bound = visible < (_number(environment, "SLURM_GPUS_ON_NODE") or visible)
  if tasks == 1 or bound or visible == 1:
    return tuple(range(visible))
  if visible % tasks:
    raise ValueError(
      f"{visible} GPUs for the {tasks} processes on this machine: expected a number that they "
      "divide; start another number, or give each its own (--gpus-per-task, or "
      "JAX_LOCAL_DEVICE_IDS)."
    )
  each = visible // tasks
  return tuple(range(local * each, (local + 1) * each))


def _on_this_node(environment: Mapping[str, str]) -> tuple[int | None, int]:
  """How many processes of the run there are on this machine, None if unknown; this one's number."""
  if (size := _number(environment, "OMPI_COMM_WORLD_LOCAL_SIZE")) is not None:
    return size, _number(environment, "OMPI_COMM_WORLD_LOCAL_RANK") or 0
  counts = _per_node(environment.get("SLURM_STEP_TASKS_PER_NODE", ""))
  node = _number(environment, "SLURM_NODEID")
  if _slurm_tasks(environment) is None or node is None or node >= len(counts):
    return None, 0
  return counts[node], _number(environment, "SLURM_LOCALID") or 0


def _per_node(text: str) -> list[int]:
  """Slurm's "2(x3),1" -> [2, 2, 2, 1]."""
  parts = re.findall(r"(\d+)(?:\(x(\d+)\))?", text)
  return [int(tasks) for tasks, times in parts for _ in range(int(times or 1))]


def _visible(environment: Mapping[str, str]) -> int:
  """How many GPUs of NVIDIA's this process may see."""
  text = environment.get("CUDA_VISIBLE_DEVICES")
  if text is None:
    return len([path for path in pathlib.Path("/dev").glob("nvidia*") if path.name[6:].isdigit()])
  names = text.split(",")
  return len(names) if all(name and name not in ("-1", "NoDevFiles") for name in names) else 0


def _number(environment: Mapping[str, str], name: str) -> int | None:
  text = environment.get(name, "")
  return int(text) if text.isdigit() else None


def _note(text: str) -> None:
  print(f"Note: {text}", file=sys.stderr, flush=True)
