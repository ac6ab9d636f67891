"""benchmarks/trust_kills.py in small: a run killed at two file operations ends in the same bits."""

import pathlib
import subprocess
import sys

SCRIPT = pathlib.Path(__file__).parents[2] / "benchmarks" / "trust_kills.py"


def test_a_run_killed_at_two_file_operations_ends_in_the_same_bits(tmp_path):
  arguments = ["--kills", "2", "--pairs", "0", "--seed", "1", "--folder", str(tmp_path / "kills")]
  ended = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)
  assert ended.returncode == 0, ended.stdout + ended.stderr
  assert "2 kills" in ended.stdout
