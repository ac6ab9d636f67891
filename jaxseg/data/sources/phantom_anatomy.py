"""The anatomy of a phantom: an abdomen of deformed ellipsoids, as a map of tissues.

Everything is drawn in body coordinates, (z, y, x) with -1..1 across the image, y growing to the
back; so one seed gives one anatomy, whatever the size, the spacing and the appearance.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

TISSUES = (
  "air", "fat", "muscle", "bone", "bowel", "liver", "vessel", "stomach", "kidney", "pelvis",
  "lesion",
)  # fmt: skip
AIR, FAT, MUSCLE, BONE, BOWEL, LIVER, VESSEL, STOMACH, KIDNEY, PELVIS, LESION = range(len(TISSUES))

LABELS = ("background", "body", "liver", "vessel", "stomach", "kidney", "lesion")
# tissue -> label: fat, muscle, bone and bowel are body; the renal pelvis belongs to the kidney
LABEL_OF_TISSUE = np.array([0, 1, 1, 1, 1, 2, 3, 4, 5, 5, 6], np.uint8)

# the sum of the squares of cubic B-spline weights, averaged over positions
_SPLINE_POWER = 0.479


def spline_weights(axes: Sequence[np.ndarray], knots: int) -> list[np.ndarray]:
  """Per axis (n, knots + 3) cubic B-spline weights of positions in -1..1 (clamped beyond)."""
  weights = []
  for positions in axes:
    place = np.clip((positions + 1) / 2, 0, 1).astype(np.float32) * np.float32(knots)
    x = np.abs(place[:, None] - np.arange(-1, knots + 2, dtype=np.float32)[None])
    near = 2 / 3 - x**2 + x**3 / 2
    weights.append(np.where(x < 1, near, np.where(x < 2, (2 - x) ** 3 / 6, 0)).astype(np.float32))
  return weights


def smooth_field(rng, weights: Sequence[np.ndarray]) -> np.ndarray:
  """A smooth random field of mean 0 and deviation about 1; bumps are 2 / knots wide."""
  rank = len(weights)
  field = rng.standard_normal([w.shape[1] for w in weights], np.float32)
  for matrix in weights:
    # contracts the first axis and appends the new one: the order is restored after `rank` turns
    field = np.tensordot(field, matrix, (0, 1))
  return field * np.float32(_SPLINE_POWER ** (-rank / 2))


class _Organ(NamedTuple):
  """An ellipsoid: centre, radii in body coordinates (z, y, x), turn in the (y, x) plane."""

  centre: tuple[float, float, float]
  radii: tuple[float, float, float]
  turn: float = 0.0
  ripple: float = 0.08  # relative unevenness of the surface
  jitter: float = 0.04  # deviation of the centre


# a column has no end in the field of view
_COLUMN = 9.0
_PLAN = {
  "body": _Organ((0.0, 0.0, 0.0), (2.6, 0.70, 0.88), ripple=0.03, jitter=0.0),
  "liver": _Organ((-0.05, -0.10, -0.33), (0.85, 0.34, 0.36), 0.5, ripple=0.10),
  "stomach": _Organ((-0.10, -0.20, 0.25), (0.65, 0.22, 0.29), -0.5, ripple=0.10),
  "kidney_r": _Organ((0.15, 0.22, -0.37), (0.50, 0.15, 0.115), 0.5, ripple=0.06, jitter=0.025),
  "kidney_l": _Organ((0.00, 0.20, 0.39), (0.50, 0.15, 0.115), -0.5, ripple=0.06, jitter=0.025),
  "spine": _Organ((0.0, 0.34, 0.0), (_COLUMN, 0.13, 0.15), ripple=0.08, jitter=0.01),
  "canal": _Organ((0.0, 0.45, 0.0), (_COLUMN, 0.045, 0.06), ripple=0.0, jitter=0.005),
  "aorta": _Organ((0.0, 0.145, 0.05), (_COLUMN, 0.075, 0.075), ripple=0.0, jitter=0.02),
}


class _Place(NamedTuple):
  """Where an organ came to lie: level < 1 inside, and its own coordinates in radii."""

  level: np.ndarray
  local: tuple[np.ndarray, ...]


def _turned(y, x, turn: float):
  cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
  return cos * y + sin * x, cos * x - sin * y


def _place(rng, organ: _Organ, points, weights) -> _Place:
  """Draws an organ; always the same number of random values, whatever the options."""
  rank = len(points)
  centre = np.array(organ.centre) + rng.normal(0, organ.jitter, 3)
  radii = np.array(organ.radii) * rng.uniform(0.9, 1.1) * rng.uniform(0.92, 1.08, 3)
  turn = organ.turn + rng.normal(0, 0.15)
  offsets = [p - np.float32(c) for p, c in zip(points, centre[-rank:], strict=True)]
  *above, y, x = offsets
  y, x = _turned(y, x, turn)
  local = tuple(q / np.float32(r) for q, r in zip((*above, y, x), radii[-rank:], strict=True))
  level = np.sqrt(sum(q * q for q in local))
  if organ.ripple > 0:
    level -= np.float32(organ.ripple) * smooth_field(rng, weights)
  return _Place(level, local)


def _vessels(rng, local) -> np.ndarray:
  """A forked, tapering, bent tube along the liver's x axis: level < 1 inside."""
  *above, y, x = local
  levels = []
  for slope in (rng.uniform(-0.25, 0.1), rng.uniform(0.5, 0.9)):
    bend, lift = rng.uniform(0.2, 0.5), rng.uniform(-0.3, 0.3)
    # both branches leave the same point near the hilum, at x = 0.6
    along = 0.6 - x
    across = y - np.float32(slope) * along + np.float32(bend) * along * (1.3 - along)
    square = across**2
    if above:
      square = square + (above[0] - np.float32(lift) * along) ** 2
    width = np.maximum(0.17 - 0.05 * along, 0.05)
    inside = (along > -0.2) & (along < 1.25)
    levels.append(np.where(inside, np.sqrt(square) / width, 9.0))
  return np.minimum(*levels)


def _bowel(rng, points, weights) -> np.ndarray:
  """Loops in the front middle, of the stomach's brightness: level < 1 inside."""
  rank = len(points)
  level = np.full(points[0].shape, 9.0, np.float32)
  for _ in range(9):
    centre = rng.uniform((-0.8, -0.35, -0.35), (0.8, 0.25, 0.5))
    radii = rng.uniform((0.1, 0.06, 0.06), (0.3, 0.12, 0.12))
    square = sum(
      ((p - np.float32(c)) / np.float32(r)) ** 2
      for p, c, r in zip(points, centre[-rank:], radii[-rank:], strict=True)
    )
    level = np.minimum(level, np.sqrt(square))
  return level - np.float32(0.2) * smooth_field(rng, weights)


def _lesions(rng, hosts: dict[str, _Place], weights, count: tuple[int, int], imbalance: float):
  """Small uneven balls deep in the liver, a quarter of them in a kidney: a mask."""
  rank = len(weights)
  mask = np.zeros(hosts["liver"].level.shape, bool)
  number = rng.integers(count[0], count[1] + 1)
  shrink = imbalance ** (-1 / rank)
  # a ball shows less of itself in a volume than its disc in a slice
  radii = (0.075, 0.13) if rank == 2 else (0.11, 0.18)
  for _ in range(number):
    name = rng.choice(["liver", "kidney_r", "kidney_l"], p=[0.76, 0.12, 0.12])
    host = _PLAN[name]
    direction = rng.normal(size=3)[-rank:]
    direction *= rng.uniform(0.2, 0.6) / np.linalg.norm(direction)
    radius = rng.uniform(*radii) * (1.0 if name == "liver" else 0.7) * shrink
    # the host's own coordinates are in radii: back to a ball in body coordinates
    square = sum(
      ((q - np.float32(d)) * np.float32(r / radius)) ** 2
      for q, d, r in zip(hosts[name].local, direction, host.radii[-rank:], strict=True)
    )
    uneven = np.sqrt(square) - np.float32(0.12) * smooth_field(rng, weights)
    mask |= (uneven < 1) & (hosts[name].level < 1)
  return mask


def tissue_map(
  rng,
  axes: Sequence[np.ndarray],
  *,
  scale_range: tuple[float, float] = (0.9, 1.1),
  lesions: tuple[int, int] = (1, 3),
  imbalance: float = 1.0,
) -> np.ndarray:
  """Draws one anatomy.

  Args:
    rng: NumPy generator.
    axes: per axis (z, y, x) or (y, x) the body coordinates of the voxels, -1..1 across the image.
    scale_range: range of the body's size relative to the image, uniform.
    lesions: radii and largest number of lesions.
    imbalance: divides the volume of each lesion.

  Returns:
    (*space) uint8, indices into TISSUES.
  """
  size = rng.uniform(*scale_range)
  scaled = [np.asarray(a, np.float32) / np.float32(size) for a in axes]
  mesh = np.meshgrid(*scaled, indexing="ij")
  coarse, middle, fine = (spline_weights(scaled, knots) for knots in (4, 5, 9))
  points = [m + np.float32(0.035) * smooth_field(rng, coarse) for m in mesh]
  place = {name: _place(rng, organ, points, middle) for name, organ in _PLAN.items()}
  level = {name: p.level for name, p in place.items()}
  vessels = _vessels(rng, place["liver"].local)
  bowel = _bowel(rng, points, fine)
  lesion = _lesions(rng, place, fine, lesions, imbalance)

  tissue = np.full(tuple(len(a) for a in axes), AIR, np.uint8)
  inside = level["body"] < 1
  # the abdominal wall follows the skin, thicker at the back
  back = np.float32(0.10) * np.clip(points[-2], 0, 1)
  wall = level["body"] < 0.90 + rng.uniform(-0.04, 0.03)
  cavity = level["body"] + back < 0.78 + rng.uniform(-0.04, 0.04)
  tissue[inside] = FAT
  tissue[wall] = MUSCLE
  tissue[cavity] = FAT
  tissue[cavity & (bowel < 1)] = BOWEL
  # neighbours that overlap share a boundary where their levels are equal, so that they touch
  lowest = np.ones_like(level["body"])
  for name, kind in (
    ("liver", LIVER),
    ("stomach", STOMACH),
    ("kidney_r", KIDNEY),
    ("kidney_l", KIDNEY),
  ):
    nearer = level[name] < lowest
    tissue[nearer & (level["body"] < 0.82)] = kind
    lowest = np.minimum(lowest, level[name])
  tissue[(tissue == KIDNEY) & (lowest < 0.42)] = PELVIS
  tissue[(tissue == LIVER) & (vessels < 1) & (level["liver"] < 0.9)] = VESSEL
  # the host's voxels only: a lesion doesn't cross into the neighbour
  tissue[lesion & np.isin(tissue, (LIVER, VESSEL, KIDNEY, PELVIS))] = LESION
  tissue[inside & (level["spine"] < 1)] = BONE
  tissue[inside & (level["canal"] < 1)] = FAT
  tissue[inside & (level["aorta"] < 1)] = VESSEL
  return tissue
