"""The training step of one U-Net in jaxseg beside PyTorch, on CPU, in one run.

Usage: python benchmarks/training_step.py [--torch PYTHON] [--rank 2 3] [--pairs 5]

PYTHON is an interpreter that has torch and numpy (pip install torch==2.13.0 --extra-index-url
https://download.pytorch.org/whl/cpu); by default the one that runs this.

Both build the same network (widths 32-64-128-256, two convolutions a stage, batch norm, ReLU,
max-pooling, transposed convolutions) and time forward, backward and SGD, one step of each in turn,
so that other work on the machine hits both alike. Printed: the median seconds of each and the
median of the ratios of neighbouring steps (below 1: jaxseg is faster).
"""

import argparse
import os
import pathlib
import statistics
import sys
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
import optax
from other_python import Worker

from jaxseg import method
from jaxseg.networks import UNet

WIDTHS, CLASSES, RATE = (32, 64, 128, 256), 3, 0.01
INPUTS = {2: (4, 256, 256), 3: (1, 64, 64, 64)}


def jaxseg_step(image, label):
  """A function that makes one training step and returns the loss; compiles in the first call."""
  net, tx = UNet(classes=CLASSES, widths=WIDTHS, up="transpose"), optax.sgd(RATE)

  @jax.jit
  def step(learner, image, label):
    def objective(params):
      outputs, stats = method.forward(net, params, learner.stats, image, update_stats=True)
      # by one-hot: optax's loss for integer labels scatters, which XLA does serially on CPU
      truth = jax.nn.one_hot(label, CLASSES)
      losses = optax.softmax_cross_entropy(outputs["logits"], truth)
      return jnp.mean(losses), (stats, {})

    return method.descend(tx, learner, objective)

  learner = jax.jit(lambda key, image: method.learner(net, tx, key, image))(
    jax.random.key(0), image
  )
  image, label = jnp.asarray(image), jnp.asarray(label)

  def run():
    nonlocal learner
    learner, metrics = step(learner, image, label)
    return float(metrics["loss"])

  return run


def seconds(run):
  start = time.perf_counter()
  run()
  return time.perf_counter() - start


def compare(python, rank, pairs):
  """Prints one line for one rank."""
  shape = INPUTS[rank]
  rng = np.random.default_rng(0)
  image = rng.normal(size=(*shape, 1)).astype(np.float32)
  label = rng.integers(0, CLASSES, shape).astype(np.int32)
  told = {"shape": shape, "widths": WIDTHS, "classes": CLASSES, "rate": RATE}
  theirs = Worker(python, str(pathlib.Path(__file__).with_name("training_step_torch.py")), told)
  theirs()
  ours = jaxseg_step(image, label)
  compile_seconds = seconds(ours)
  ours(), theirs()
  times = [(seconds(ours), theirs()) for _ in range(pairs)]
  theirs.close()
  ratio = statistics.median(a / b for a, b in times)
  own, other = (statistics.median(column) for column in zip(*times, strict=True))
  print(
    f"{rank}D {shape}: jaxseg {own:.2f} s, PyTorch {other:.2f} s, ratio {ratio:.2f} "
    f"(median of {pairs} pairs; jaxseg compiled in {compile_seconds:.0f} s)",
    flush=True,
  )


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--torch", default=sys.executable, help="interpreter with torch and numpy")
  parser.add_argument("--rank", type=int, nargs="+", default=[2, 3], choices=[2, 3])
  parser.add_argument("--pairs", type=int, default=5)
  arguments = parser.parse_args()
  print(f"jax {jax.__version__}, {os.cpu_count()} cores")
  for rank in arguments.rank:
    compare(arguments.torch, rank, arguments.pairs)


if __name__ == "__main__":
  main()
