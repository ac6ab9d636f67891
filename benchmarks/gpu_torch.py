"""PyTorch's side of benchmarks/gpu.py: nnU-Net's plain 3D U-Net, forward, backward, SGD.

`python gpu_torch.py bfloat16|float32 [--tiny]`, by an interpreter that has torch and numpy.
Channels last, autocast (or TF32), torch.compile with cuDNN's benchmark. Prints JSON.
"""

import itertools
import json
import statistics
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

WIDTHS, PATCH, BATCH, CLASSES = (32, 64, 128, 256, 320, 320), 128, 2, 3
STEPS, SECONDS, WARM_UP = 30, 8.0, 3


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
  return nn.Sequential(
    nn.Conv3d(inputs, outputs, 3, stride, 1),
    nn.InstanceNorm3d(outputs, affine=True),
    nn.LeakyReLU(0.01, inplace=True),
  )


class PlainConvUNet(nn.Module):
  """Two convolutions a stage, strided down, transposed up, a head at every decoder stage."""

  def __init__(self, widths):
    super().__init__()
    stages, before = [], 1
    for i, width in enumerate(widths):
      first = convolution(before, width, 1 if i == 0 else 2)
      stages.append(nn.Sequential(first, convolution(width, width)))
      before = width
    self.encoder = nn.ModuleList(stages)
    pairs = list(itertools.pairwise(widths))
    self.ups = nn.ModuleList([nn.ConvTranspose3d(b, a, 2, 2) for a, b in pairs])
    self.decoder = nn.ModuleList(
      [nn.Sequential(convolution(2 * a, a), convolution(a, a)) for a, _ in pairs]
    )
    self.heads = nn.ModuleList([nn.Conv3d(a, CLASSES, 1) for a, _ in pairs])

  def forward(self, x):
    skips, outputs = [], []
    for stage in self.encoder:
      x = stage(x)
      skips.append(x)
    for i in reversed(range(len(self.ups))):
      x = self.decoder[i](torch.cat([self.ups[i](x), skips[i]], 1))
      outputs.append(self.heads[i](x))
    return outputs[::-1]


def loss_of(outputs, label):
  """Cross entropy and Dice without background at every head, halved from stage to stage."""
  total, weights = 0.0, [0.5**i for i in range(len(outputs))]
  weights[-1] = 0.0 if len(outputs) > 1 else 1.0
  for i, (logits, weight) in enumerate(zip(outputs, weights, strict=True)):
    if not weight:
      continue
    logits, target = logits.float(), label[:, :: 2**i, :: 2**i, :: 2**i]
    shares = logits.softmax(1)[:, 1:]
    truth = functional.one_hot(target, CLASSES).movedim(-1, 1)[:, 1:].float()
    axes = (0, 2, 3, 4)
    dice = (2 * (shares * truth).sum(axes) + 1e-5) / (shares.sum(axes) + truth.sum(axes) + 1e-5)
    total = total + weight * (functional.cross_entropy(logits, target) + 1 - dice.mean())
  return total / sum(weights)


def main():
  dtype, tiny = sys.argv[1], "--tiny" in sys.argv
  device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
  if device.type == "cpu" and not tiny:
    sys.exit("gpu_torch: PyTorch sees no GPU.")
  widths, patch = ((4, 8, 8), 16) if tiny else (WIDTHS, PATCH)
  torch.backends.cudnn.benchmark = True
  torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
  torch.manual_seed(0)
  net = PlainConvUNet(widths).to(device).to(memory_format=torch.channels_last_3d)
  parameters = sum(p.numel() for p in net.parameters())
  optimiser = torch.optim.SGD(
    net.parameters(), 1e-2, momentum=0.99, nesterov=True, weight_decay=3e-5
  )
  random = np.random.default_rng(0)
  space = (patch,) * 3
  image = torch.from_numpy(random.normal(size=(BATCH, 1, *space)).astype(np.float32)).to(device)
  image = image.to(memory_format=torch.channels_last_3d)
  label = torch.from_numpy(random.integers(0, CLASSES, (BATCH, *space))).to(device)
  # compiling for a CPU takes a compiler of C++, which proves nothing here
  compiled = torch.compile(net) if device.type == "cuda" else net

  def synchronised() -> float:
    if device.type == "cuda":
      torch.cuda.synchronize()
    return time.perf_counter()

  def step():
    optimiser.zero_grad(set_to_none=True)
    with torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
      outputs = compiled(image)
    loss = loss_of(outputs, label)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 12)
    optimiser.step()
    return loss

  begun = synchronised()
  step()
  first = synchronised() - begun
  for _ in range(WARM_UP):
    step()
  times = []
  while len(times) < STEPS and (len(times) < 5 or sum(times) < SECONDS):
    begun = synchronised()
    loss = step()
    times.append(synchronised() - begun)
  low, high = np.percentile(times, (10, 90))
  median = statistics.median(times)
  row = {
    "failed": None,
    "conditions": {
      "network": "PlainConvUNet, PyTorch",
      "parameters": parameters,
      "dtype": dtype if dtype == "bfloat16" else "float32 (TF32)",
      "patch": list(space),
      "batch": BATCH,
      "device_kind": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
      "torch": torch.__version__,
      "compiled": compiled is not net,
      "compile_seconds": first - median,
    },
    "training": {
      "step_seconds": {
        "median": median,
        "p10": float(low),
        "p90": float(high),
        "steps": len(times),
      },
      "each_step_seconds": [round(t, 7) for t in times],
      "images_per_second": BATCH / median,
      "voxels_per_second": BATCH * patch**3 / median,
      "loss": loss.item(),
    },
  }
  if device.type == "cuda":
    row["peak_memory_bytes"] = torch.cuda.max_memory_allocated()
  print(json.dumps(row))


if __name__ == "__main__":
  main()
