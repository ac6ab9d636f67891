"""Seeds or folds in one program beside one after the other: seconds, and the weights they end with.

python benchmarks/together.py [--seeds=0,1,2 | --fold=all] [--devices=1] [--member=1] [--steps=60]

Every command has an empty cache of compiled programs. The seconds are the whole command's, of the
wall and of all cores (which others on the machine change less); "compile" is the first step of each
training, as the loop tells it.
"""

import argparse
import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
SMALL = (
  "--config=configs/unet_phantom2d.py",
  "--config.network.widths=(8,16,32)",
  "--config.data.source.cases=20",
  "--config.data.source.size=(64,64)",
  "--config.data.patch=(64,64)",
  "--config.data.batch=4",
  "--config.evaluate.every=1000000",
  "--config.checkpoint_every=1000000",
)


def train(arguments, workdir, devices: int) -> tuple[str, float]:
  """What a command took in words, and its seconds of CPU."""
  with tempfile.TemporaryDirectory() as cache:
    environment = {
      **os.environ,
      "PYTHONPATH": str(ROOT),
      "JAX_COMPILATION_CACHE_DIR": cache,
      "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    begun, before = time.perf_counter(), cpu_seconds()
    ended = subprocess.run(
      [sys.executable, "train.py", *SMALL, *arguments, f"--workdir={workdir}"],
      cwd=ROOT,
      env=environment,
      capture_output=True,
      text=True,
      check=False,
    )
    seconds = time.perf_counter() - begun
  if ended.returncode:
    sys.exit(ended.stderr)
  compiled = [float(number) for number in re.findall(r"Compiled in (\d+) s", ended.stderr)]
  used = cpu_seconds() - before
  return f"{seconds:.1f} s, {used:.1f} s of CPU, compile {compiled} s", used


def cpu_seconds() -> float:
  """Of all commands that have ended."""
  used = resource.getrusage(resource.RUSAGE_CHILDREN)
  return used.ru_utime + used.ru_stime


def weights(folder: pathlib.Path) -> dict[str, np.ndarray]:
  from jaxseg.runs import checkpoint

  checkpoints = checkpoint.Checkpoints(folder)
  arrays = checkpoints.arrays(checkpoints.steps[0])
  return {name: np.asarray(array) for name, array in arrays.items() if "/params/" in name}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--seeds")
  parser.add_argument("--fold")
  parser.add_argument("--devices", type=int, default=1)
  parser.add_argument("--member", type=int, default=1)
  parser.add_argument("--steps", type=int, default=60)
  asked = parser.parse_args()
  runs = [f"--fold={asked.fold}"] if asked.fold else [f"--seeds={asked.seeds or '0,1,2'}"]
  runs.append(f"--config.steps={asked.steps}")
  with tempfile.TemporaryDirectory() as folder:
    home = pathlib.Path(folder)
    runs.append(f"--config.data.folder={home / 'prepared'}")
    # prepared beforehand: neither way has it in its seconds
    train([*runs[1:], "--config.steps=1"], home / "prepare", asked.devices)
    # one after the other: each on one device, as a run alone has it where members have theirs
    width = asked.devices if asked.member == 1 else 1
    told, one = train(runs, home / "one", width)
    print(f"one after the other: {told}")
    mesh = [] if asked.member == 1 else [f"--config.mesh.member={asked.member}"]
    told, both = train([*runs, "--together", *mesh], home / "together", asked.devices)
    print(f"together: {told}; CPU {both / one:.2f} of that")
    for run in sorted((home / "together").iterdir()):
      a, b = weights(run), weights(home / "one" / run.name)
      apart = max(float(np.abs(a[name] - b[name]).max()) for name in a)
      largest = max(float(np.abs(of).max()) for of in b.values())
      print(f"{run.name}: weights differ by at most {apart:.3g} of {largest:.3g}")


if __name__ == "__main__":
  main()
