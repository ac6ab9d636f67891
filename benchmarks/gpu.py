"""What an accelerator makes of nnU-Net's recipe: minutes to a score, volumes a second, memory.

Usage: python benchmarks/gpu_data.py            # on a machine with the data: hippocampus.npz
       python benchmarks/gpu.py hippocampus.npz [--steps 6000] [--tiny]

Needs jax, flax, optax, chex, scipy and numpy alone. Under ten minutes on one H200:

1. MSD hippocampus, fold 0, nnU-Net's own plan (PlainConvUNet 32-64-128-256, patch 40x56x40, batch
   7, SGD with Nesterov momentum, cross entropy + Dice, deep supervision, the whole augmentation):
   minutes until the mean Dice of the validation cases passes 0.88, and the Dice at the end.
2. The same step with and without augmentation: volumes a second, the augmentation's share.
3. 128^3, batch 2, six stages: the step, the augmentation alone (target 15 ms), peak memory.

Volumes lie on the device and a step is one program: sample, augment, forward, backward, update.
`--tiny` runs everything at toy sizes, to try the script on a CPU. Prints a table in Markdown.
"""

import argparse
import functools
import statistics
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxseg import augment, losses, methods
from jaxseg.augment.chains import batched
from jaxseg.build import bind
from jaxseg.networks import NETWORKS

FOREGROUND = 0.33  # nnU-Net's share of a batch
POINTS = 512  # foreground voxels kept per case


class Plan(NamedTuple):
  """Sizes of one experiment."""

  patch: tuple[int, ...]
  batch: int
  widths: tuple[int, ...]


HIPPOCAMPUS = Plan((40, 56, 40), 7, (32, 64, 128, 256))
LARGE = Plan((128, 128, 128), 2, (32, 64, 128, 256, 320, 320))
TINY = Plan((16, 24, 16), 2, (4, 8, 8))


def cases_of(path, few: int | None):
  """The file's volumes as lists, and the indices of training and validation."""
  with np.load(path) as file:
    stored = {name: file[name] for name in file.files}
  ends = np.cumsum(stored["shape"].prod(1))[:-1]
  images, labels = (
    [part.reshape(s) for part, s in zip(np.split(stored[n], ends), stored["shape"], strict=True)]
    for n in ("image", "label")
  )
  return images, labels, stored["training"][:few], stored["validation"][:few]


def store_of(images, labels, indices, margin) -> dict[str, jax.Array]:
  """Volumes of one size on the device, zeros around them, and foreground voxels of each."""
  shapes = np.array([labels[i].shape for i in indices])
  space = tuple(shapes.max(0) + 2 * np.array(margin))
  image = np.zeros((len(indices), *space, 1), np.float16)
  label = np.zeros((len(indices), *space), np.uint8)
  points, rng = np.zeros((len(indices), POINTS, 3), np.int32), np.random.default_rng(0)
  for row, i in enumerate(indices):
    inside = tuple(slice(m, m + n) for m, n in zip(margin, labels[i].shape, strict=True))
    image[row][inside], label[row][inside] = images[i][..., None], labels[i]
    points[row] = rng.choice(np.argwhere(labels[i] > 0), POINTS)
  arrays = {"image": image, "label": label, "points": points, "shape": shapes.astype(np.int32)}
  return jax.tree.map(jnp.asarray, arrays)


def sampler(plan: Plan, crop, margin):
  """(store, key, slots) -> crops, the last third of the batch around foreground."""
  patch, margin = (jnp.array(x, jnp.int32) for x in (plan.patch, margin))
  corner_to_patch = jnp.array([(c - p) // 2 for c, p in zip(crop, plan.patch, strict=True)])
  forced = round(plan.batch * (1 - FOREGROUND))

  def one(store, key, slot):
    which, where, point = jax.random.split(key, 3)
    case = jax.random.randint(which, (), 0, len(store["shape"]))
    shape = store["shape"][case]
    low, high = jnp.minimum(0, shape - patch), jnp.maximum(0, shape - patch)
    anywhere = jax.random.randint(where, (3,), low, high + 1)
    voxel = store["points"][case, jax.random.randint(point, (), 0, POINTS)]
    start = jnp.where(slot >= forced, jnp.clip(voxel - patch // 2, low, high), anywhere)
    start = start - corner_to_patch
    corner = (case, *(start + margin))
    image = lax.dynamic_slice(store["image"], (*corner, 0), (1, *crop, 1))[0]
    label = lax.dynamic_slice(store["label"], corner, (1, *crop))[0]
    inside = jnp.ones(crop, bool)
    for axis in range(3):
      at = start[axis] + lax.broadcasted_iota(jnp.int32, crop, axis)
      inside &= (at >= 0) & (at < shape[axis])
    return {
      "image": image.astype(jnp.float32),
      "label": label.astype(jnp.int32),
      "weight": inside.astype(jnp.float32),
      "spacing": jnp.ones(3),
    }

  def sample(store, key):
    slots = jnp.arange(plan.batch)
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(slots)
    return jax.vmap(functools.partial(one, store))(keys, slots)

  return sample


def chain_of(plan: Plan, on: bool):
  """(the whole of nnU-Net's augmentation or a crop, the size that it is fed)."""
  specs = augment.nnunet(3, plan.patch) if on else {}
  chain = {
    key: bind(augment.AUGMENTATIONS, {"name": key, **spec}, f"augment.{key}", patch=plan.patch)
    for key, spec in specs.items()
  }
  crop = plan.patch
  if "spatial" in chain:
    crop = augment.crop_size(spacing=(1.0,) * 3, **chain["spatial"].keywords)
  return batched(augment.chain(chain, plan.patch)), tuple(int(n) for n in crop)


def method_of(plan: Plan, dtype: str, steps: int):
  """nnU-Net's training of its plain U-Net."""
  strides = (1, *(2,) * (len(plan.widths) - 1))
  net = NETWORKS["plain_conv_unet"](classes=3, widths=plan.widths, strides=strides[1:], dtype=dtype)
  loss = losses.weighted_sum(
    {
      "cross_entropy": (1.0, losses.LOSSES["cross_entropy"]),
      "dice": (1.0, functools.partial(losses.LOSSES["dice"], include_background=False)),
    }
  )
  rate = optax.polynomial_schedule(1e-2, 0.0, 0.9, steps)
  tx = optax.chain(
    optax.clip_by_global_norm(12.0),
    optax.add_decayed_weights(3e-5),
    optax.sgd(rate, momentum=0.99, nesterov=True),
  )
  return methods.METHODS["supervised"](net, loss, tx, drop_last_head=True)


class Program(NamedTuple):
  """A compiled step and its arguments."""

  step: callable  # (state, store, number) -> (state, loss)
  draw: callable  # (store, number) -> batch
  method: object
  state: object
  store: dict


def program(plan: Plan, images, labels, indices, *, on=True, dtype="bfloat16", steps=1000):
  """One experiment, ready to step."""
  chain, crop = chain_of(plan, on)
  least = np.min([labels[i].shape for i in indices], 0)
  margin = tuple(
    int(max(0, p - n) + (c - p + 1) // 2) for c, p, n in zip(crop, plan.patch, least, strict=True)
  )
  store = store_of(images, labels, indices, margin)
  sample, method = sampler(plan, crop, margin), method_of(plan, dtype, steps)

  def draw(store, number):
    key = jax.random.fold_in(jax.random.key(0), number)
    return chain(jax.random.fold_in(key, 0), sample(store, jax.random.fold_in(key, 1)))

  def step(state, store, number):
    state, told = method.train_step(state, draw(store, number), jax.random.key(number))
    return state, told["loss"]

  state = jax.jit(lambda store: method.init(jax.random.key(1), draw(store, 0)))(store)
  return Program(jax.jit(step, donate_argnums=0), jax.jit(draw), method, state, store)


def seconds(call, *, repeats: int) -> float:
  """Median seconds of one of `repeats` calls in a row, of five rounds after the first."""
  rounds = []
  for _ in range(6):
    begun = time.perf_counter()
    for _ in range(repeats):
      out = call()
    jax.block_until_ready(out)
    rounds.append((time.perf_counter() - begun) / repeats)
  return statistics.median(rounds[1:])


def speed(run: Program, repeats: int) -> float:
  """Seconds per step."""
  box, number = [run.state], iter(range(10**9))

  def call():
    box[0], loss = run.step(box[0], run.store, next(number))
    return loss

  return seconds(call, repeats=repeats)


def dice(method, state, images, labels, indices, multiple: int, batch: int) -> float:
  """Mean Dice of both halves over whole cases, each zero-padded to one size."""
  space = np.max([labels[i].shape for i in indices], 0)
  space = tuple(int(-(-n // multiple) * multiple) for n in space)
  apply = jax.jit(lambda s, x: jnp.argmax(method.apply(s, {"image": x})["logits"], -1))
  scores = []
  for first in range(0, len(indices), batch):
    chosen = list(indices[first : first + batch])
    x = np.zeros((batch, *space, 1), np.float32)
    for row, i in enumerate(chosen):
      x[(row, *map(slice, labels[i].shape), 0)] = images[i]
    found = np.asarray(apply(state, x))
    for row, i in enumerate(chosen):
      guess = found[(row, *map(slice, labels[i].shape))]
      for k in (1, 2):
        a, b = guess == k, labels[i] == k
        scores.append(2 * (a & b).sum() / max(1, a.sum() + b.sum()))
  return float(np.mean(scores))


def learn(plan: Plan, data, *, steps: int, every: int, dtype: str) -> tuple[float | None, float]:
  """(minutes of training to 0.88 or None, Dice at the end); prints the curve."""
  images, labels, training, validation = data
  run = program(plan, images, labels, training, steps=steps, dtype=dtype)
  state, spent, reached = run.state, 0.0, None
  multiple = 2 ** (len(plan.widths) - 1)
  for first in range(0, steps, every):
    begun = time.perf_counter()
    for number in range(first, min(steps, first + every)):
      state, loss = run.step(state, run.store, number)
    loss = float(loss)
    spent += time.perf_counter() - begun
    score = dice(run.method, state, images, labels, validation, multiple, plan.batch)
    if score >= 0.88 and reached is None:
      reached = spent / 60
    print(
      f"step {first + every}: loss {loss:.3f}, Dice {score:.4f}, {spent / 60:.2f} min", flush=True
    )
  return reached, score


def peak_gib() -> str:
  stats = jax.devices()[0].memory_stats() or {}
  return f"{stats['peak_bytes_in_use'] / 2**30:.1f} GiB" if "peak_bytes_in_use" in stats else "-"


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("data")
  parser.add_argument("--steps", type=int, default=6000)
  parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"))
  parser.add_argument("--tiny", action="store_true")
  wanted = parser.parse_args()
  data = cases_of(wanted.data, 4 if wanted.tiny else None)
  small, large = (TINY, TINY) if wanted.tiny else (HIPPOCAMPUS, LARGE)
  repeats = 2 if wanted.tiny else 20
  rows = [
    ("device", jax.devices()[0].device_kind),
    ("jax", jax.__version__),
    ("compute", wanted.dtype),
  ]
  for name, plan in (("hippocampus", small), ("128^3", large)):
    times = {}
    for on in (False, True):
      # crops of the large plan reach far outside these volumes: a few of them fill the memory
      indices = data[2] if plan is small else data[2][:8]
      run = program(plan, *data[:2], indices, on=on, dtype=wanted.dtype)
      if on:
        numbers = iter(range(10**9))
        alone = seconds(lambda r=run, n=numbers: r.draw(r.store, next(n)), repeats=repeats)
      times[on] = speed(run, repeats)
      word = "with" if on else "without"
      rows.append((f"{name}, {word} augmentation: volumes/s", f"{plan.batch / times[on]:.1f}"))
    share = 1 - times[False] / times[True]
    rows.append((f"{name}: share of the step in augmentation", f"{100 * share:.0f} %"))
    rows.append((f"{name}: sampling + augmentation alone, ms a batch", f"{1e3 * alone:.1f}"))
    rows.append((f"{name}: peak memory so far", peak_gib()))
    print(rows[-5:], flush=True)
  steps = 4 if wanted.tiny else wanted.steps
  reached, last = learn(small, data, steps=steps, every=max(1, steps // 24), dtype=wanted.dtype)
  rows.append(("minutes to Dice 0.88", "not reached" if reached is None else f"{reached:.2f}"))
  rows.append((f"Dice after {steps} steps", f"{last:.4f}"))
  print("\n| | |\n|---|---|\n" + "\n".join(f"| {a} | {b} |" for a, b in rows))


if __name__ == "__main__":
  main()
