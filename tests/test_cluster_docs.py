"""docs/cluster.md and its scripts: they parse, and name variables that the code reads."""

import pathlib
import re
import subprocess

import jax
import pytest
import yaml

from jaxseg.verbs import train

ROOT = pathlib.Path(__file__).parents[1]
DOCS = ROOT / "docs" / "cluster"
PAGE = (ROOT / "docs" / "cluster.md").read_text()
FILES = sorted(DOCS.iterdir())
# of the clusters themselves, as JAX's detection reads them
CLUSTERS = (pathlib.Path(jax.__file__).parent / "_src").rglob("*.py")


def sources() -> str:
  ours = [path.read_text() for path in (ROOT / "jaxseg").rglob("*.py")]
  return "\n".join([*ours, *(path.read_text() for path in CLUSTERS)])


def test_the_page_leads_to_every_script_and_to_no_other():
  assert set(re.findall(r"\]\(cluster/([\w.]+)\)", PAGE)) == {path.name for path in FILES}


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.sh")), ids=lambda path: path.name)
def test_a_script_is_correct_bash(path):
  ended = subprocess.run(["bash", "-n", path], capture_output=True, text=True)
  assert (ended.returncode, ended.stderr) == (0, "")


def pods(value):
  """Every pod's specification in a manifest."""
  if isinstance(value, dict):
    if "containers" in value:
      yield value
    for item in value.values():
      yield from pods(item)
  if isinstance(value, list):
    for item in value:
      yield from pods(item)


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.yaml")), ids=lambda path: path.name)
def test_a_manifest_gives_time_to_save_and_mounts_what_it_names(path):
  parts = list(yaml.safe_load_all(path.read_text()))
  (pod,) = pods(parts)
  assert pod["restartPolicy"] == "Never"
  assert pod["terminationGracePeriodSeconds"] >= 60
  (container,) = pod["containers"]
  mounted = {mount["name"] for mount in container["volumeMounts"]}
  assert mounted == {volume["name"] for volume in pod["volumes"]}
  assert all({"apiVersion", "kind", "metadata", "spec"} <= part.keys() for part in parts)


def test_as_many_processes_as_pods():
  _, job = yaml.safe_load_all((DOCS / "kubernetes.yaml").read_text())
  (pod,) = pods(job)
  told = {item["name"]: item.get("value") for item in pod["containers"][0]["env"]}
  spec = job["spec"]
  assert int(told["JAX_NUM_PROCESSES"]) == spec["parallelism"] == spec["completions"]
  name = job["metadata"]["name"]
  assert told["JAX_COORDINATOR_ADDRESS"].startswith(f"{name}-0.{pod['subdomain']}:")


def test_every_variable_that_is_named_is_read():
  named = set()
  for text in (PAGE, *(path.read_text() for path in FILES)):
    named |= set(re.findall(r"\b(?:JAX|JAXSEG|TPU|SLURM)_[A-Z_]+[A-Z]\b", text))
  # the scripts' own use of what Slurm gives
  named -= {"SLURM_ARRAY_TASK_ID"}
  code = sources()
  assert {name for name in named if name not in code} == set()
  assert {"JAXSEG_CLUSTER", "JAXSEG_HEARTBEAT", "JAX_PROCESS_ID"} <= named


def test_the_exit_code_of_a_run_that_was_saved_is_the_one_that_scripts_look_for():
  assert f"exit code {train.LEFT}" in PAGE
  for path in FILES:
    code = str(train.LEFT)
    if "requeue" in path.read_text():
      assert f'"$status" = {code}' in path.read_text()
    if "podFailurePolicy" in path.read_text():
      assert f"values: [{code}]" in path.read_text()
