"""Seconds that HD95, ASSD and NSD of a large CT-like case take.

  python benchmarks/surface_metrics.py            # 200 x 512 x 512, 5 organs of up to 2M voxels

The organs are ellipsoids, the prediction the same ones shifted and wavy. Prints the seconds of the
stages (wall and processor) and the scores. Needs 2 GB of memory and no accelerator.
"""

import argparse
import time

import numpy as np

from jaxseg import metrics

SPACING = (2.0, 0.8, 0.8)
# centre and semi-axes of each organ, as shares of the case's sides
ORGANS = (
  ((0.30, 0.30, 0.28), (0.250, 0.19, 0.19)),
  ((0.70, 0.30, 0.72), (0.250, 0.19, 0.19)),
  ((0.40, 0.75, 0.30), (0.150, 0.15, 0.12)),
  ((0.60, 0.75, 0.75), (0.100, 0.10, 0.10)),
  ((0.50, 0.52, 0.50), (0.050, 0.04, 0.04)),
)


def organs(shape, shift: float = 0.0, waves: float = 0.0) -> np.ndarray:
  """Ellipsoids as classes 1 to 5, each moved by `shift` voxels and rippled by a share `waves`."""
  out = np.zeros(shape, np.uint8)
  for c, (centre, semi) in enumerate(ORGANS, start=1):
    box, along = [], []
    for n, at, radius in zip(shape, centre, semi, strict=True):
      low = max(int(n * (at - 1.3 * radius) - abs(shift)), 0)
      high = min(int(n * (at + 1.3 * radius) + abs(shift)) + 1, n)
      box.append(slice(low, high))
      along.append((np.arange(low, high) - n * at - shift) / (n * radius))
    z, y, x = np.ix_(*along)
    radius = np.sqrt(z**2 + y**2 + x**2)
    ripple = 1 + waves * np.sin(9 * z) * np.cos(7 * y + 5 * x)
    out[tuple(box)][radius < ripple] = c
  return out


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--shape", type=int, nargs=3, default=(200, 512, 512))
  parser.add_argument("--shift", type=float, default=3.0, help="voxels along every axis")
  parser.add_argument("--waves", type=float, default=0.05, help="share of the radius")
  given = parser.parse_args()
  label = organs(given.shape)
  prediction = organs(given.shape, given.shift, given.waves)
  print("voxels", np.bincount(label.reshape(-1))[1:].tolist())

  started = time.perf_counter(), time.process_time()

  def stage(name: str) -> None:
    nonlocal started
    now = time.perf_counter(), time.process_time()
    wall, cpu = (b - a for a, b in zip(started, now, strict=True))
    print(f"{name:<20}{wall:8.2f} s wall{cpu:8.2f} s processor")
    started = time.perf_counter(), time.process_time()

  masks = metrics.class_masks(prediction, label, classes=len(ORGANS) + 1)
  stage("masks")
  surfaces = metrics.surface_distances(masks, SPACING)
  stage("surface distances")
  chosen = {name: metrics.METRICS[name] for name in ("hd95", "assd", "nsd")}
  values = {name: metric(surfaces) for name, metric in chosen.items()}
  stage("hd95 assd nsd")
  scored = metrics.score(chosen, prediction, label, classes=len(ORGANS) + 1, spacing=SPACING)
  stage("score, all of it")
  for name, value in scored.items():
    np.testing.assert_array_equal(value, values[name])
    print(f"{name:<6}", np.round(value[1:], 4).tolist())


if __name__ == "__main__":
  main()
