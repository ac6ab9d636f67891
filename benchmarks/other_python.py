"""Work in another interpreter, for benchmarks beside libraries that jaxseg doesn't need.

The benchmark holds a `Worker`, which starts a script that calls `serve`. Both sides take turns: a
line asks for the work to be done once, a line answers with its seconds.
"""

import json
import os
import subprocess
import sys


class Worker:
  """Calls answer with the seconds of one piece of work in the other process."""

  def __init__(self, python, script, task, **environment):
    """Starts `python script --worker TASK`, the task as JSON, with more environment variables."""
    self._process = subprocess.Popen(
      [python, script, "--worker", json.dumps(task)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      env={**os.environ, **environment},
    )

  def __call__(self):
    try:
      self._process.stdin.write("\n")
      self._process.stdin.flush()
    except BrokenPipeError:
      pass
    answer = self._process.stdout.readline()
    if not answer:
      sys.exit(f"{self._process.args[0]} ended with code {self._process.wait()}; see its message.")
    return float(answer)

  def close(self):
    self._process.stdin.close()
    self._process.wait()


def task():
  """What this process is to do, or None in the benchmark itself."""
  return json.loads(sys.argv[2]) if sys.argv[1:2] == ["--worker"] else None


def serve(work):
  """Answers every line with the seconds that `work()` returns, until there are no more."""
  for _ in sys.stdin:
    print(work(), flush=True)
