"""Rows in processes of their own: memory and a crash of one are not the others'."""

import collections
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from jaxseg import files
from jaxseg.benchmark import topologies
from jaxseg.benchmark.row import OUTPUT
from jaxseg.children import failure

_FAKE = "--xla_force_host_platform_device_count"
_WORDS = 300


def environment(devices: int | None, target: str | None = None) -> dict[str, str]:
  """Of a process that uses so many devices; a CPU gives as many as are asked for.

  That must be said before JAX starts its backend. Without effect on other platforms but NVIDIA's,
  where it hides the others unless the user has chosen some. `target` is what --compile-for names.
  """
  here = dict(os.environ)
  if target and topologies.parse(target).platform == topologies.TPU:
    here = {**topologies.ENVIRONMENT, **here}
  here.setdefault("JAX_COMPILATION_CACHE_DIR", str(pathlib.Path.home() / ".cache/jaxseg/xla"))
  if devices:
    flags = [w for w in here.get("XLA_FLAGS", "").split() if not w.startswith(_FAKE)]
    here["XLA_FLAGS"] = " ".join([*flags, f"{_FAKE}={devices}"])
    here.setdefault("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(devices))))
  return here


def machine(devices: int | None, target: str | None = None) -> dict[str, Any]:
  """This machine as a row's process sees it; raises ValueError where devices are missing."""
  command = [sys.executable, "-m", "jaxseg.benchmark.machine"]
  ended = subprocess.run(
    command, env=environment(devices, target), capture_output=True, text=True, check=False
  )
  if ended.returncode:
    words = (ended.stderr.strip().splitlines() or ["no words are given"])[-1]
    raise ValueError(f"JAX cannot start on this machine: {words[:_WORDS]}.")
  told = json.loads(ended.stdout.strip().splitlines()[-1])
  if devices and told["device_count"] != devices:
    raise ValueError(
      f"--devices {devices}: JAX sees {told['device_count']} ({told['device_kind']}); expected as "
      "many as there are, or set CUDA_VISIBLE_DEVICES or its like to those that are meant."
    )
  return told


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
  """SIGTERM is as Ctrl-C: it ends the row's process too, which would go on alone."""

  def interrupt(number, frame):
    raise KeyboardInterrupt

  try:
    before = signal.signal(signal.SIGTERM, interrupt)
  except ValueError:  # outside of the main thread
    yield
    return
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, before)


def measure(
  request: dict[str, Any], devices: int | None, say: Callable[[str], None]
) -> dict[str, Any]:
  """The row of `row.measure`, from a process of its own; else {"failed": why}."""
  with _interruptible(), tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "request.json"
    files.write_json(path, request)
    with open(pathlib.Path(folder) / "errors", "w+", encoding="utf-8") as errors:
      process = subprocess.Popen(
        [sys.executable, "-m", "jaxseg.benchmark.row", str(path)],
        env=environment(devices, request["options"].get("compile_for")),
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
      )
      try:
        for line in process.stdout:
          say(line.rstrip())
        code = process.wait()
      finally:
        if process.poll() is None:
          process.kill()
          process.wait()
      errors.seek(0)
      last = collections.deque((line.strip() for line in errors if line.strip()), 1)
    output = path.with_name(OUTPUT)
    if code == 0 and output.is_file():
      return files.read_json(output, what="a row of a benchmark", advice="measure it again")
  code = code or "0 without a result"
  return {"failed": failure(code, last[0] if last else "")}
