"""Which process of a run this is, by the environments that clusters give."""

import sys

import pytest

from jaxseg.processes import cluster
from jaxseg.processes.meeting import Place

# what srun of Slurm 22.05 gives to the second of two tasks
SRUN = {
  "SLURM_JOB_ID": "4099",
  "SLURM_STEP_ID": "0",
  "SLURM_STEP_NODELIST": "node[07-08]",
  "SLURM_STEP_NUM_NODES": "2",
  "SLURM_STEP_NUM_TASKS": "2",
  "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
  "SLURM_NTASKS": "2",
  "SLURM_PROCID": "1",
  "SLURM_LOCALID": "0",
  "SLURM_NODEID": "1",
}
# what sbatch --ntasks=3 gives to the script itself
SBATCH = {"SLURM_JOB_ID": "4", "SLURM_NTASKS": "3", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
OPEN_MPI = {
  "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
  "OMPI_COMM_WORLD_SIZE": "4",
  "OMPI_COMM_WORLD_RANK": "3",
  "OMPI_COMM_WORLD_LOCAL_RANK": "1",
  "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
}
PLAIN = {
  "JAX_COORDINATOR_ADDRESS": "node1:29500",
  "JAX_NUM_PROCESSES": "2",
  "JAX_PROCESS_ID": "1",
}
INDEXED = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "2"}


@pytest.fixture
def environment(monkeypatch):
  """Sets the environment of a process; nothing of this one's cluster is left."""
  monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

  def of(*parts, **more):
    for name in list(cluster.os.environ):
      if name.startswith(("SLURM", "OMPI", "JAX_COORD", "JAX_NUM", "JAX_PROC", "JAXSEG", "KUBE")):
        monkeypatch.delenv(name)
    monkeypatch.delenv("JOB_COMPLETION_INDEX", raising=False)
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    for name, value in {name: v for part in (*parts, more) for name, v in part.items()}.items():
      monkeypatch.setenv(name, value)

  return of


def test_srun_with_several_tasks_is_one_run(environment):
  environment(SRUN)
  # JAX's own: the first node, and a port by the job's number
  assert cluster.place(1) == Place(f"node07:{61440 + 4099 % 4096}", 2, 1)


def test_a_port_may_be_chosen(environment):
  environment(SRUN, JAX_COORDINATOR_PORT="29501")
  assert cluster.place(1).address == "node07:29501"


@pytest.mark.parametrize(
  "parts",
  [
    {},
    SBATCH | {"SLURM_NTASKS": "1"},
    SRUN | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "1", "SLURM_PROCID": "0"},
    # the shell of salloc --ntasks=2, which waits for nobody
    SRUN | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},
    SRUN | {"JAXSEG_CLUSTER": "none"},
    PLAIN | {"JAX_NUM_PROCESSES": "1", "JAX_PROCESS_ID": "0"},
    # any pod, such as a notebook's
    {"KUBERNETES_SERVICE_HOST": "10.0.0.1"},
  ],
)
def test_a_process_alone_waits_for_nobody(environment, capsys, parts):
  environment(parts)
  assert cluster.place(1) is None
  assert capsys.readouterr().err == ""


def test_a_job_of_several_tasks_without_srun_is_told(environment, capsys):
  environment(SBATCH)
  assert cluster.place(1) is None
  assert "this Slurm job has 3 tasks, but this process was not started by srun" in (
    capsys.readouterr().err
  )


def test_a_pod_of_an_indexed_job_without_the_package_is_told(environment, capsys, monkeypatch):
  environment(INDEXED)
  monkeypatch.setitem(sys.modules, "kubernetes", None)
  assert cluster.place(1) is None
  assert "this pod is one of an Indexed Job and trains alone" in capsys.readouterr().err


def test_a_pod_is_told_by_its_variables_who_it_is(environment):
  environment(INDEXED, PLAIN)
  assert cluster.place(1) == Place("node1:29500", 2, 1)


def test_kubernetes_that_does_not_answer_is_told(environment, monkeypatch):
  class Silent:
    def load_incluster_config():
      raise RuntimeError("Service host/port is not set.")

  package = type(sys)("kubernetes")
  package.config = Silent
  monkeypatch.setitem(sys.modules, "kubernetes", package)
  environment(INDEXED)
  with pytest.raises(ValueError, match=r"find out .*Service host/port is not set\.\); set"):
    cluster.place(1)


def test_open_mpi_is_detected(environment):
  environment(OPEN_MPI)
  assert cluster.place(1) == Place(f"10.96.0.1:{61440 + 1531576320 // 4096 % 4096}", 4, 3)


@pytest.mark.parametrize(
  ("parts", "message"),
  [
    ({"JAX_COORDINATOR_ADDRESS": "node1:29500"}, "without JAX_NUM_PROCESSES and JAX_PROCESS_ID"),
    (PLAIN | {"JAX_PROCESS_ID": "2"}, "process 2 of 2: expected numbers from 0 to 1"),
    (PLAIN | {"JAX_PROCESS_ID": "-1"}, "JAX_PROCESS_ID=-1: expected a whole number"),
    (PLAIN | {"JAX_NUM_PROCESSES": "two"}, "JAX_NUM_PROCESSES=two: expected a whole number"),
    (PLAIN | {"JAX_COORDINATOR_ADDRESS": "node1"}, "expected HOST:PORT of process 0"),
    ({"JAXSEG_CLUSTER": "slrum"}, r"JAXSEG_CLUSTER=slrum: unknown \(did you mean 'slurm'\?\)"),
    ({"JAXSEG_CLUSTER": "slurm"}, r"could not find out .*SLURM_JOB_ID is not set\); set JAX_"),
  ],
)
def test_a_contradictory_environment_is_refused(environment, parts, message):
  environment(parts)
  with pytest.raises(ValueError, match=message):
    cluster.place(1)


NODE = {"SLURM_STEP_TASKS_PER_NODE": "1,4", "SLURM_NODEID": "1", "SLURM_STEP_NUM_TASKS": "5"}


@pytest.mark.parametrize(
  ("parts", "devices"),
  [
    # one task has all GPUs of its node, where JAX would give it one
    (SRUN | {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, (0, 1, 2, 3)),
    # all are shown to each of four tasks
    (SRUN | NODE | {"CUDA_VISIBLE_DEVICES": "0,1,2,3", "SLURM_LOCALID": "2"}, (2,)),
    (SRUN | NODE | {"CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7", "SLURM_LOCALID": "1"}, (2, 3)),
    # each is shown its own: there JAX would look for the third of one
    (SRUN | NODE | {"CUDA_VISIBLE_DEVICES": "0", "SLURM_LOCALID": "2"}, (0,)),
    (
      SRUN
      | NODE
      | {"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_GPUS_ON_NODE": "8", "SLURM_LOCALID": "2"},
      (0, 1),
    ),
    (SRUN | {"CUDA_VISIBLE_DEVICES": "0,1", "JAX_LOCAL_DEVICE_IDS": "1"}, None),
    (SRUN | {"CUDA_VISIBLE_DEVICES": "-1"}, None),
    (SRUN | {"CUDA_VISIBLE_DEVICES": "0,1", "JAX_PLATFORMS": "cpu"}, None),
    (OPEN_MPI | {"CUDA_VISIBLE_DEVICES": "0,1"}, (1,)),
    (PLAIN | {"CUDA_VISIBLE_DEVICES": "0,1"}, None),
  ],
)
def test_each_process_has_gpus_of_its_own(environment, parts, devices):
  environment(parts)
  assert cluster.place(1).devices == devices


def test_gpus_that_the_tasks_do_not_divide_are_refused(environment):
  environment(SRUN, NODE, CUDA_VISIBLE_DEVICES="0,1,2")
  with pytest.raises(ValueError, match="3 GPUs for the 4 processes on this machine"):
    cluster.place(1)


def test_slurms_shorthand_of_tasks_per_node_is_read():
  assert cluster._per_node("2(x3),1") == [2, 2, 2, 1]
