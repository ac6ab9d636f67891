"""What a GPU makes of nnU-Net's recipe, beside PyTorch: one call of at most eight minutes.

Usage: python benchmarks/gpu_data.py            # on a machine with the data: hippocampus.npz
       python benchmarks/gpu.py [hippocampus.npz] [--budget 460] [--output gpu.json] [--tiny]

Needs jax, flax, optax, chex, orbax-checkpoint, numpy, scipy, scikit-image, jinja2 and tqdm; PyTorch
for its rows. Rows, in their order of worth (`ROWS`): the training step of nnU-Net's plain 3D U-Net
at 128^3, batch 2, six stages, with its augmentation and without; the same step in PyTorch
(channels-last, autocast, torch.compile); minutes to a Dice of 0.88 on MSD hippocampus; a large case
by sliding windows; the hippocampus step; float32; the residual encoder; MedNeXt. Each has a limit
of seconds and fails alone; what no longer fits into the budget is told as not measured. A process
keeps JAX for its rows (`gpu_rows.py`), PyTorch's have one each (`gpu_torch.py`).

Prints a table in Markdown and writes the rows as `jaxseg benchmark` does. `--tiny` runs everything
at toy sizes on a CPU in minutes, as a proof of the script.
"""

import argparse
import json
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import time

import gpu_table

HERE = pathlib.Path(__file__).parent
# row -> its limit in seconds
ROWS = {
  "128, bfloat16, augmented": 130,
  "128, bfloat16": 90,
  "128, bfloat16, PyTorch": 90,
  "Dice 0.88 on hippocampus": 180,
  "512x512x400 by windows of 128": 80,
  "hippocampus, bfloat16, augmented": 70,
  "128, float32": 80,
  "128, float32, PyTorch": 70,
  "128, ResEnc, bfloat16": 110,
  "128, MedNeXt, bfloat16": 110,
  "hippocampus, bfloat16": 60,
}
# how much longer toy rows may take on a CPU that other work shares
_PATIENCE = 10
# seconds under which no row is begun, and those that starting JAX may take
_LEAST, _START = 20, 60


class Rows:
  """The process that measures JAX's rows; a new one where a row took too long."""

  def __init__(self, arguments, folder: pathlib.Path):
    self._command = [sys.executable, str(HERE / "gpu_rows.py"), str(folder), *arguments]
    self._process = None

  def measure(self, name: str, limit: float) -> dict:
    started = self._process is None or self._process.poll() is not None
    if started:
      self._begin()
    try:
      self._process.stdin.write(f"{name}\n")
      self._process.stdin.flush()
      answer = self._answers.get(timeout=limit + (_START if started else 0))
    except queue.Empty:
      self.end()
      return {"failed": f"took more than its {limit:.0f} s"}
    except BrokenPipeError:
      answer = None
    if answer is None:
      self.end()
      return {"failed": "its process ended early; see its messages"}
    return json.loads(answer)

  def _begin(self) -> None:
    # PyTorch's rows need some of the device's memory, too
    environment = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.6", **os.environ}
    paths = [str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    self._process = subprocess.Popen(
      self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    self._answers = queue.Queue()
    reading = (self._process.stdout, self._answers)
    threading.Thread(target=_forward, args=reading, daemon=True).start()

  def end(self) -> None:
    if self._process is not None:
      self._process.kill()
      self._process.wait()
      self._process = None


def _forward(lines, answers: queue.Queue) -> None:
  """What a row's process prints: its result is marked, all else is for people."""
  for line in lines:
    if line.startswith("RESULT "):
      answers.put(line.removeprefix("RESULT "))
    else:
      print(f"  {line.rstrip()}", file=sys.stderr, flush=True)
  answers.put(None)


def torch_row(python: str, name: str, limit: float, tiny: bool) -> dict:
  """A row of PyTorch's, in a process of its own."""
  command = [python, str(HERE / "gpu_torch.py"), name.split(", ")[1], *(["--tiny"] * tiny)]
  try:
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=limit, check=False)
  except subprocess.TimeoutExpired:
    return {"failed": f"took more than its {limit:.0f} s"}
  lines = ended.stdout.strip().splitlines()
  if ended.returncode or not lines:
    return {"failed": f"PyTorch's process ended with status {ended.returncode}; see its messages"}
  return json.loads(lines[-1])


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  add = parser.add_argument
  add("data", nargs="?", help="hippocampus.npz of gpu_data.py; else volumes that are made up")
  add("--budget", type=float, help="seconds for everything (default: 460, of --tiny 4600)")
  add("--output", type=pathlib.Path, default=pathlib.Path("gpu.json"))
  add("--torch", default=sys.executable, metavar="PYTHON", help="one that has torch")
  add("--only", nargs="+", choices=ROWS, metavar="ROW")
  add("--tiny", action="store_true")
  wanted = parser.parse_args()
  if wanted.data and not pathlib.Path(wanted.data).is_file():
    parser.error(f"{wanted.data}: no such file; python benchmarks/gpu_data.py makes it")
  patience = _PATIENCE if wanted.tiny else 1
  budget = wanted.budget or 460 * patience
  begun, rows = time.monotonic(), []
  with tempfile.TemporaryDirectory() as folder:
    flags = [*(["--tiny"] * wanted.tiny), *(["--data", wanted.data] if wanted.data else [])]
    jax_rows = Rows(flags, pathlib.Path(folder))
    machine = None
    try:
      for name in wanted.only or ROWS:
        left = budget - (time.monotonic() - begun)
        print(f"{name} ({left:.0f} s left)", file=sys.stderr, flush=True)
        started, limit = time.monotonic(), min(left, ROWS[name] * patience)
        if left < _LEAST:
          values = {"failed": "not measured: no time was left"}
        elif name.endswith("PyTorch"):
          values = torch_row(wanted.torch, name, limit, wanted.tiny)
        else:
          values = jax_rows.measure(name, limit)
        machine = values.pop("machine", machine)
        seconds = round(time.monotonic() - started, 1)
        rows.append(
          {"label": name, "overrides": [], "identity": "", "failed": None, "wall_seconds": seconds}
          | values
        )
        # whatever happens next, what was measured is kept
        gpu_table.write(wanted.output, machine, rows)
    finally:
      jax_rows.end()
  print(gpu_table.markdown(machine, rows, tiny=wanted.tiny))
  print(f"\n{time.monotonic() - begun:.0f} s; rows as JSON: {wanted.output}")


if __name__ == "__main__":
  main()
