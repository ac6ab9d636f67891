"""Seeds or folds in one program beside one after the other: seconds, and the weights they end with.

python benchmarks/together.py [--seeds=0,1,2 | --fold=all] [--devices=1] [--member=1] [--steps=60]

Every training is a process of its own with an empty cache of compiled programs. The seconds are the
whole command's; "compile" is the first step of each program, as the loop tells it.
"""

import argparse
import os
import pathlib
import re
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


def train(arguments, workdir, devices: int) -> tuple[float, list[float]]:
  """Wall seconds of a training, and of the first step of each of its programs."""
  with tempfile.TemporaryDirectory() as cache:
    environment = {
      **os.environ,
      "PYTHONPATH": str(ROOT),
      "JAX_COMPILATION_CACHE_DIR": cache,
      "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }
    begun = time.perf_counter()
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
  return seconds, [float(number) for number in re.findall(r"Compiled in (\d+) s", ended.stderr)]


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
    one, compiled = train(runs, home / "one", width)
    mesh = (
      ["--together"]
      if asked.member == 1
      else ["--together", f"--config.mesh.member={asked.member}"]
    )
    both, program = train([*runs, *mesh], home / "together", asked.devices)
    print(f"one after the other  {one:7.1f} s, compile {compiled} s")
    print(f"together             {both:7.1f} s, compile {program} s, ratio {both / one:.2f}")
    for run in sorted((home / "together").iterdir()):
      a, b = weights(run), weights(home / "one" / run.name)
      apart = max(float(np.abs(a[name] - b[name]).max()) for name in a)
      largest = max(float(np.abs(of).max()) for of in b.values())
      print(f"{run.name}: weights differ by at most {apart:.3g} of {largest:.3g}")


if __name__ == "__main__":
  main()
