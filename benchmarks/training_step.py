"""The training step of one U-Net in jaxseg beside PyTorch, on CPU, in one run.

Usage: python benchmarks/training_step.py [--rank 2 3] [--pairs 5]

Both build the same network (widths 32-64-128-256, two convolutions a stage, batch norm, ReLU,
max-pooling, transposed convolutions) and time forward, backward and SGD, one step of each in turn,
so that other work on the machine hits both alike. Printed: the median seconds of each and the
median of the ratios of neighbouring steps (below 1: jaxseg is faster).
"""

import argparse
import os
import statistics
import sys
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax

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


def torch_step(torch, image, label):
  """The same in PyTorch, whose arrays have the channels before the space."""
  rank = image.ndim - 2
  conv, norm, up, pool = (
    getattr(torch.nn, f"{name}{rank}d")
    for name in ("Conv", "BatchNorm", "ConvTranspose", "MaxPool")
  )

  def stage(inputs, outputs):
    layers = []
    for channels in (inputs, outputs):
      layers += [conv(channels, outputs, 3, padding=1, bias=False), norm(outputs)]
      layers += [torch.nn.ReLU(inplace=True)]
    return torch.nn.Sequential(*layers)

  class Net(torch.nn.Module):
    def __init__(self):
      super().__init__()
      pairs = list(itertools.pairwise(WIDTHS))
      self.encoders = torch.nn.ModuleList([stage(1, WIDTHS[0]), *(stage(a, b) for a, b in pairs)])
      self.ups = torch.nn.ModuleList([up(b, a, 2, 2) for a, b in pairs])
      self.decoders = torch.nn.ModuleList([stage(2 * a, a) for a, _ in pairs])
      self.pool, self.head = pool(2), conv(WIDTHS[0], CLASSES, 1, bias=False)

    def forward(self, x):
      skips = []
      for encoder in self.encoders[:-1]:
        skips.append(encoder(x))
        x = self.pool(skips[-1])
      x = self.encoders[-1](x)
      for i in reversed(range(len(skips))):
        x = self.decoders[i](torch.cat([skips[i], self.ups[i](x)], 1))
      return self.head(x)

  net = Net()
  optimiser = torch.optim.SGD(net.parameters(), RATE)
  image = torch.from_numpy(np.ascontiguousarray(np.moveaxis(image, -1, 1)))
  label = torch.from_numpy(label.astype(np.int64))

  def run():
    optimiser.zero_grad()
    loss = torch.nn.functional.cross_entropy(net(image), label)
    loss.backward()
    optimiser.step()
    return loss.item()

  return run


def seconds(run):
  start = time.perf_counter()
  run()
  return time.perf_counter() - start


def compare(torch, rank, pairs):
  """Prints one line for one rank and returns the ratio."""
  rng = np.random.default_rng(0)
  image = rng.normal(size=(*INPUTS[rank], 1)).astype(np.float32)
  label = rng.integers(0, CLASSES, INPUTS[rank]).astype(np.int32)
  ours, theirs = jaxseg_step(image, label), torch_step(torch, image, label)
  compile_seconds = seconds(ours)
  for run in (theirs, ours, theirs):
    run()
  times = [(seconds(ours), seconds(theirs)) for _ in range(pairs)]
  ratio = statistics.median(a / b for a, b in times)
  own, other = (statistics.median(column) for column in zip(*times, strict=True))
  print(
    f"{rank}D {INPUTS[rank]}: jaxseg {own:.2f} s, PyTorch {other:.2f} s, ratio {ratio:.2f} "
    f"(median of {pairs} pairs; jaxseg compiled in {compile_seconds:.0f} s)",
    flush=True,
  )
  return ratio


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--rank", type=int, nargs="+", default=[2, 3], choices=[2, 3])
  parser.add_argument("--pairs", type=int, default=5)
  arguments = parser.parse_args()
  try:
    import torch
  except ImportError:
    sys.exit(
      "This benchmark compares with PyTorch, which jaxseg doesn't need: install it by "
      "`pip install torch==2.13.0 --extra-index-url https://download.pytorch.org/whl/cpu`."
    )
  print(
    f"jax {jax.__version__}, torch {torch.__version__}, {os.cpu_count()} cores, "
    f"{torch.get_num_threads()} PyTorch threads"
  )
  for rank in arguments.rank:
    compare(torch, rank, arguments.pairs)


if __name__ == "__main__":
  main()
