"""PyTorch's side of benchmarks/training_step.py, run by an interpreter that has torch and numpy."""

import itertools
import time

import numpy as np
import torch
from other_python import serve, task


def step(image, label, widths, classes, rate):
  """A function that makes one step. PyTorch has the channels before the space."""
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
      pairs = list(itertools.pairwise(widths))
      self.encoders = torch.nn.ModuleList([stage(1, widths[0]), *(stage(a, b) for a, b in pairs)])
      self.ups = torch.nn.ModuleList([up(b, a, 2, 2) for a, b in pairs])
      self.decoders = torch.nn.ModuleList([stage(2 * a, a) for a, _ in pairs])
      self.pool, self.head = pool(2), conv(widths[0], classes, 1, bias=False)

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
  optimiser = torch.optim.SGD(net.parameters(), rate)
  image = torch.from_numpy(np.ascontiguousarray(np.moveaxis(image, -1, 1)))
  label = torch.from_numpy(label.astype(np.int64))

  def run():
    optimiser.zero_grad()
    loss = torch.nn.functional.cross_entropy(net(image), label)
    loss.backward()
    optimiser.step()
    return loss.item()

  return run


def main():
  given = task()
  shape = given["shape"]
  rng = np.random.default_rng(0)
  image = rng.normal(size=(*shape, 1)).astype(np.float32)
  label = rng.integers(0, given["classes"], shape)
  run = step(image, label, given["widths"], given["classes"], given["rate"])

  def seconds():
    start = time.perf_counter()
    run()
    return time.perf_counter() - start

  serve(seconds)


if __name__ == "__main__":
  main()
