"""Losses whose shape is a few numbers, to be searched: surrogates of metrics (Auto Seg-Loss).

A metric counts with AND, OR and XOR of hard masks. Here the prediction is soft, and each operation
bends it by a curve g of its own on [0, 1]: AND(p, y) = g(p) y, OR(p, y) = g(p) + y - g(p) y. The
curve keeps the truth table, g(0) = 0 and g(1) = 1, and rises; where all are the identity the
surrogate is the soft metric. Source: Li et al. 2021, 2010.07930.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxseg.batch import Array, Target
from jaxseg.losses import voxels
from jaxseg.morphology import largest_along

# how many curves a metric has: of AND and of OR; of these two of the mask and of what erosion
# leaves of it
CURVES = {"dice": 2, "iou": 2, "boundary_iou": 2, "boundary_f1": 4}
_CLASSES = ("dice", "iou")
# least share of the way between two control points: one on another makes the slope infinite
_APART = 1e-2


def identity(metric: str = "dice", *, pieces: int = 2) -> tuple[float, ...]:
  """The theta by which a surrogate is the soft metric: where a search starts."""
  points = 2 * pieces - 1
  curve = [1 / (2 * pieces - point) for point in range(points) for _ in "xy"]
  return tuple(curve * CURVES[metric])


def control_points(theta: Sequence[float]) -> tuple[tuple[float, float], ...]:
  """The points of one curve, (0, 0) and (1, 1) among them, from 2 (2 pieces - 1) numbers.

  Each number is how far a point lies on the way from the one before it to 1, along x and y in
  turn: so that the curve rises. One nearer to 0 or 1 than 0.01 acts as that.
  """
  points, point = [(0.0, 0.0)], (0.0, 0.0)
  for x, y in zip(theta[::2], theta[1::2], strict=True):
    shares = (min(max(float(share), _APART), 1 - _APART) for share in (x, y))
    point = tuple(a + share * (1 - a) for a, share in zip(point, shares, strict=True))
    points.append(point)
  return (*points, (1.0, 1.0))


def curve(values: Array, theta: Sequence[float]) -> jax.Array:
  """g(values), for values from 0 to 1: quadratic Bezier pieces through `control_points`."""
  points = control_points(theta)
  out = None
  for (x0, y0), (x1, y1), (x2, y2) in zip(points[:-2:2], points[1:-1:2], points[2::2], strict=True):
    # from the far end, so that it is 1 there however short the piece
    share = jnp.clip(1 - (x2 - values) / (x2 - x0), 0, 1)
    middle = (x1 - x0) / (x2 - x0)
    # the root of the quadratic that has no difference of like numbers
    least = min(middle, 1 - middle) ** 2
    root = jnp.sqrt(jnp.maximum(middle**2 + (1 - 2 * middle) * share, least))
    t = share / (middle + root)
    y = y0 + 2 * t * (1 - t) * (y1 - y0) + t**2 * (y2 - y0)
    # a piece that begins where single precision knows nothing below 1 still ends at its end
    out = y if out is None else jnp.where((values > x0) | (values >= x2), y, out)
  return out


def surrogate(
  logits: Array,
  target: Target,
  *,
  theta: Sequence[float] | None = None,
  metric: str = "dice",
  width: int = 5,
  include_background: bool = True,
  batch: bool = True,
  sigmoid: bool = False,
) -> jax.Array:
  """1 - a surrogate of a metric, whose shape `theta` tells; mean over classes.

  "dice" is 2 AND / (AND + OR) and "iou" AND / OR, of sums over voxels; "boundary_iou" is the same
  IoU within `width` voxels of the true boundaries; "boundary_f1" the harmonic mean of how much of
  the predicted boundary lies within `width` of the true one and the other way round, the boundary
  of a soft mask being XOR(p, erosion of p) = OR - AND. A class that is absent and not predicted
  has loss 0; of "boundary_f1" one without a true boundary.

  Args:
    logits: (b, *space, k), any float dtype; the sums are float32.
    target: labels (b, *space) int, or (b, *space, k) soft or region labels; optional weight.
    theta: numbers from 0 to 1, 2 (2 pieces - 1) for each of the curves of `CURVES`: 12 of two
      pieces and two curves; see `control_points`. None is `identity`, the soft metric.
    metric: a name in `CURVES`.
    width: of the boundaries' surroundings, in voxels.
    include_background: False leaves out class 0. With `sigmoid` none is left out.
    batch: one value per class over the whole batch, instead of one per sample.
    sigmoid: k independent channels (regions) instead of k exclusive classes.

  Returns:
    A float32 scalar.
  """
  curves = _curves(theta, metric)
  if width < 0:
    raise ValueError(f"surrogate: width is {width}; expected 0 or more voxels.")
  prediction, truth, weight = voxels.prepare(logits, target, sigmoid=sigmoid)
  prediction = voxels.probabilities(prediction, sigmoid=sigmoid)
  sums = functools.partial(voxels.class_sums, batch=batch)
  if metric == "boundary_f1":
    losses, counts = _boundary_f1(prediction, truth, weight, curves, width, sums)
    # of a class without a boundary nothing is known
    scale = counts.size / jnp.maximum(counts.sum(), 1)
    losses = losses * counts * scale
  else:
    if metric == "boundary_iou":
      edges = _dilated(_edge(truth, weight), width, weight)
      near = voxels.foreground(edges, include_background=include_background, sigmoid=sigmoid)
      weight = weight * (near.max(-1, keepdims=True) > 0.5)
    shared = sums(weight * curve(prediction, curves[0]) * truth)
    bent = curve(prediction, curves[1])
    union = sums(weight * (bent + truth - bent * truth))
    if metric == "dice":
      shared, union = 2 * shared, shared + union
    losses = voxels.dissimilarity(shared + _SMOOTH, union + _SMOOTH)
  return voxels.class_mean(
    losses, class_weights=None, include_background=include_background, sigmoid=sigmoid
  )


# as of `dice`: 0 of a class that is absent and not predicted
_SMOOTH = 1e-5


def _curves(theta: Sequence[float] | None, metric: str) -> list[Sequence[float]]:
  """The numbers of each curve; raises ValueError where they are no thetas of the metric."""
  if metric not in CURVES:
    raise ValueError(f"surrogate: metric is '{metric}'; expected one of {', '.join(CURVES)}.")
  number, theta = CURVES[metric], identity(metric) if theta is None else tuple(theta)
  each = len(theta) // number
  if not theta or len(theta) % number or each % 4 != 2:
    sizes = ", ".join(str(number * 2 * (2 * pieces - 1)) for pieces in (1, 2, 3))
    raise ValueError(
      f"surrogate: theta has {len(theta)} numbers; expected {sizes}, ... for 1, 2, 3 pieces of the "
      f"{number} curves of {metric}."
    )
  if not all(0 <= value <= 1 for value in theta):
    raise ValueError(f"surrogate: theta is {theta}; expected numbers from 0 to 1.")
  return [theta[first : first + each] for first in range(0, len(theta), each)]


def _boundary_f1(prediction, truth, weight, curves, width: int, sums):
  """Losses by class, and which classes have a true boundary."""
  true_edge = _edge(truth, weight)
  eroded = _eroded(prediction, weight)
  first, second, third, fourth = (
    curve(of, theta) for of, theta in zip((prediction, eroded) * 2, curves, strict=True)
  )
  # XOR is OR - AND; curves that differ could leave less than nothing
  edge = jnp.maximum(third + fourth - third * fourth - first * second, 0)
  near_truth, near_edge = _dilated(true_edge, width, weight), _dilated(edge, width, weight)
  predicted, true = sums(weight * edge), sums(weight * true_edge)
  precision = (sums(weight * edge * near_truth) + _SMOOTH) / (predicted + _SMOOTH)
  recall = (sums(weight * true_edge * near_edge) + _SMOOTH) / (true + _SMOOTH)
  return 1 - 2 * precision * recall / (precision + recall), (true > 0).astype(jnp.float32)


def _edge(truth, weight):
  """What erosion takes from the true masks."""
  return truth - jnp.minimum(truth, _eroded(truth, weight))


def _eroded(values, weight):
  """The least of the voxels around; what is ignored or beyond the image counts as inside."""
  return 1 - _largest_around(jnp.where(weight > 0, 1 - values, 0), 1)


def _dilated(values, width: int, weight):
  return _largest_around(jnp.where(weight > 0, values, 0), width)


def _largest_around(values, reach: int):
  """(b, *space, k) -> the largest within `reach` voxels along all axes, itself among them."""
  # a maximum over a cube is one over each axis in turn
  for axis in range(1, values.ndim - 1):
    values = largest_along(values, axis, size=2 * reach + 1, padding=(reach, reach))
  return values
