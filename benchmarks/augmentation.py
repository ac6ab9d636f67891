"""nnU-Net's whole augmentation: jaxseg beside batchgeneratorsv2, on CPU, one thread each.

Usage: taskset -c 0 python benchmarks/augmentation.py [--torch PYTHON] [--rounds 60]

Patches of 40x56x40, 64^3 and 128^2 with one channel and three classes, cut out as large as each
asks for. Both sides draw with nnU-Net's probabilities. They take turns in blocks of 8 samples, so
that other work on the machine hits both alike. PYTHON is an interpreter that has
batchgeneratorsv2 and torch (pip install batchgeneratorsv2 torch); without it jaxseg is timed
alone. Printed, as Markdown: the median over the blocks of milliseconds a sample, and their ratio
(samples a second per core are its inverse).
"""

import argparse
import os
import statistics
import time

from other_python import Worker, serve, task

PATCHES = ((40, 56, 40), (64, 64, 64), (128, 128))
BLOCK = 8


def settings(patch):
  """The options of nnU-Net's `get_training_transforms` that depend on the patch."""
  largest = 180.0 if len(patch) == 2 else 30.0
  return {"largest": largest, "axes": tuple(range(len(patch)))}


def sample_of(size, numpy, seed):
  """A smooth image with three nested classes."""
  random = numpy.random.default_rng(seed)
  grid = numpy.meshgrid(*[numpy.linspace(-1, 1, n) for n in size], indexing="ij")
  distance = numpy.sqrt(sum(g**2 for g in grid))
  label = (distance < 0.5).astype("int32") + (distance < 0.25)
  image = label + 0.2 * random.normal(size=size)
  return image.astype("float32"), label.astype("int32")


def reference(patch):
  """A function that augments one sample with batchgeneratorsv2; runs in the worker."""
  import numpy as np
  import torch
  from batchgeneratorsv2.transforms.intensity import brightness, contrast, gamma, gaussian_noise
  from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
  from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
  from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
  from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
  from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
  from batchgeneratorsv2.transforms.utils.random import RandomTransform

  torch.set_num_threads(1)
  told = settings(patch)
  angle = float(np.deg2rad(told["largest"]))
  spread = contrast.BGContrast

  def gammas(inverted):
    return gamma.GammaTransform(
      gamma=spread((0.7, 1.5)),
      p_invert_image=inverted,
      synchronize_channels=False,
      p_per_channel=1,
      p_retain_stats=1,
    )

  steps = [
    SpatialTransform(
      patch,
      patch_center_dist_from_border=0,
      random_crop=False,
      p_elastic_deform=0,
      p_rotation=0.2,
      rotation=(-angle, angle),
      p_scaling=0.2,
      scaling=(0.7, 1.4),
      p_synchronize_scaling_across_axes=1,
      bg_style_seg_sampling=False,
    ),
    RandomTransform(
      gaussian_noise.GaussianNoiseTransform((0, 0.1), p_per_channel=1, synchronize_channels=True),
      0.1,
    ),
    RandomTransform(
      GaussianBlurTransform(
        (0.5, 1.0),
        synchronize_channels=False,
        synchronize_axes=False,
        p_per_channel=0.5,
        benchmark=True,
      ),
      0.2,
    ),
    RandomTransform(
      brightness.MultiplicativeBrightnessTransform(
        spread((0.75, 1.25)), synchronize_channels=False, p_per_channel=1
      ),
      0.15,
    ),
    RandomTransform(
      contrast.ContrastTransform(
        spread((0.75, 1.25)), preserve_range=True, synchronize_channels=False, p_per_channel=1
      ),
      0.15,
    ),
    RandomTransform(
      SimulateLowResolutionTransform(
        (0.5, 1.0),
        synchronize_channels=False,
        synchronize_axes=True,
        ignore_axes=None,
        allowed_channels=None,
        p_per_channel=0.5,
      ),
      0.25,
    ),
    RandomTransform(gammas(1), 0.1),
    RandomTransform(gammas(0), 0.3),
    MirrorTransform(told["axes"]),
  ]
  chain = ComposeTransforms(steps)

  def augment(image, label):
    # nnU-Net's loader hands over arrays of its own: the transforms write into them
    with torch.no_grad():
      given = {
        "image": torch.from_numpy(image.copy())[None],
        "segmentation": torch.from_numpy(label.astype("int16"))[None],
      }
      return chain(**given)

  return augment


def work(patch, size):
  """The worker's part: a block is augmented, its seconds a sample are told."""
  import numpy as np

  augment = reference(patch)
  samples = [sample_of(size, np, seed) for seed in range(BLOCK)]

  def block():
    start = time.perf_counter()
    for image, label in samples:
      augment(image, label)
    return (time.perf_counter() - start) / BLOCK

  serve(block)


def ours(patch):
  """(a function that augments a block and returns its seconds a sample, the size it is fed)."""
  import jax
  import numpy as np

  from jaxseg import augment
  from jaxseg.augment.chains import batched
  from jaxseg.build import bind

  told = settings(patch)
  specs = augment.nnunet(len(patch), patch)
  assert specs["spatial"]["rotation"] == told["largest"]
  steps = {
    key: bind(augment.AUGMENTATIONS, {"name": key, **spec}, f"augment.{key}", patch=patch)
    for key, spec in specs.items()
  }
  size = augment.crop_size(**steps["spatial"].keywords)
  act = jax.jit(batched(augment.chain(steps, patch)))
  samples = [sample_of(size, np, seed) for seed in range(BLOCK)]
  images, labels = (np.stack(part) for part in zip(*samples, strict=True))
  batch = jax.device_put({"image": images[..., None], "label": labels})
  number = 0

  def run():
    nonlocal number
    number += 1
    key = jax.random.key(number)
    start = time.perf_counter()
    jax.block_until_ready(act(key, batch))
    return (time.perf_counter() - start) / BLOCK

  return run, size


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--torch", help="interpreter with batchgeneratorsv2")
  parser.add_argument("--rounds", type=int, default=60, help="blocks of each, per patch")
  parser.add_argument("--patches", type=int, nargs="+", default=range(len(PATCHES)))
  wanted = parser.parse_args()
  print("| patch | fed | jaxseg, ms a sample | batchgeneratorsv2 | ratio of medians | of means |")
  print("|---|---|---|---|---|---|")
  for patch in (PATCHES[i] for i in wanted.patches):
    act, size = ours(patch)
    told = {"patch": patch, "size": size}
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    other = Worker(wanted.torch, __file__, told, **threads) if wanted.torch else None
    for _ in range(3):
      act(), other and other()
    times = [(act(), other() if other else float("nan")) for _ in range(wanted.rounds)]
    if other:
      other.close()
    columns = [[1e3 * t for t in column] for column in zip(*times, strict=True)]
    median = [statistics.median(column) for column in columns]
    mean = [statistics.fmean(column) for column in columns]
    row = ["x".join(map(str, patch)), "x".join(map(str, size)), *(f"{t:.2f}" for t in median)]
    row += [f"{column[1] / column[0]:.2f}" for column in (median, mean)]
    print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
  if given := task():
    work(tuple(given["patch"]), tuple(given["size"]))
  else:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    one = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {one}"
    main()
