"""Packages that are imported on demand, and what runs on a machine that has none of them."""

import subprocess
import sys

import pytest

from jaxseg.packages import OnDemand, installed

# what requirements.txt brings and a machine with an accelerator may lack
MISSING = (
  "ml_collections",
  "nibabel",
  "grain",
  "array_record",
  "tensorflow_datasets",
  "SimpleITK",
  "pydicom",
  "tensorboardX",
)


def without_packages(code: str, *arguments: str) -> str:
  """Runs code in a process that cannot import any of them; what it printed."""
  blocked = f"import sys; sys.modules.update(dict.fromkeys({MISSING}))"
  command = [sys.executable, "-c", f"{blocked}\n{code}", *arguments]
  ended = subprocess.run(command, capture_output=True, text=True, check=False)
  assert ended.returncode == 0, ended.stderr
  return ended.stdout


def test_a_package_is_imported_where_something_of_it_is_asked_for():
  calls = []
  json = OnDemand("json", after=lambda: calls.append("after"))
  assert not calls
  assert json.dumps({}) == "{}"
  assert json.loads("1") == 1
  assert calls == ["after"]


def test_a_package_that_is_missing_is_told_in_words():
  assert installed("numpy")
  assert not installed("no_such_package")
  with pytest.raises(ModuleNotFoundError, match="no_such_package is not installed"):
    OnDemand("no_such_package").load()


def test_the_loop_and_the_verbs_of_configs_load_without_the_data_packages():
  modules = "jaxseg.loop, jaxseg.experiment, jaxseg.runs.load, jaxseg.planning.planned_config"
  without_packages(f"import {modules}")


def test_a_scan_that_cannot_be_read_for_lack_of_a_package_is_not_called_damaged(tmp_path):
  path = tmp_path / "scan.nii.gz"
  path.write_bytes(b"no matter")
  code = """
from jaxseg import data
try:
  data.read_image(sys.argv[1])
except ModuleNotFoundError as error:
  print(error)
"""
  assert "the package nibabel is not installed" in without_packages(code, str(path))
