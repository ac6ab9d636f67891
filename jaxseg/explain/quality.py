"""How good a map is: deletion and insertion, and whether it points at what is labelled."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.batch import Array
from jaxseg.explain.baselines import BASELINES
from jaxseg.explain.target import Apply
from jaxseg.networks.blocks.options import choice
from jaxseg.networks.blocks.posterior import posterior


class Curve(NamedTuple):
  """Confidence in the target against the share of voxels that are covered, or shown.

  Attributes:
    shares, confidence: (steps + 1,).
    area: under the curve, by trapezoids.
  """

  shares: np.ndarray
  confidence: np.ndarray

  @property
  def area(self) -> float:
    return float(np.trapezoid(self.confidence, self.shares))


@functools.partial(jax.jit, static_argnames=("apply", "regions"))
def _confidence(apply: Apply, params, image, cover, inside, target, regions: bool):
  mixed = jnp.where(inside[None, ..., None], image, cover)
  logits = apply(params, mixed)["logits"].astype(jnp.float32)
  shares = posterior(logits, "sigmoid" if regions else "softmax")
  own = jnp.maximum(target, 0)  # without what it takes from other classes
  return (shares * own).sum() / own.sum()


def order(values: Array) -> np.ndarray:
  """(*space) -> the rank of each voxel, the highest value first; equals in random order.

  A map that is 0 in most places would otherwise be judged by where its array begins.
  """
  flat = np.asarray(values, np.float64).ravel()
  random = np.random.default_rng(0).permutation(flat.size)
  by_value = random[np.argsort(-flat[random], kind="stable")]
  ranks = np.empty(flat.size, np.int64)
  ranks[by_value] = np.arange(flat.size)
  return ranks.reshape(np.shape(values))


def deletion(
  apply: Apply,
  params,
  image,
  target,
  values: Array,
  *,
  regions: bool = False,
  steps: int = 20,
  baseline: str = "mean",
) -> Curve:
  """Covers the voxels with the highest values first: a low area is a good map.

  Petsiuk et al., RISE, arXiv 1806.07421. Confidence is the mean probability of the target's class
  over the target's voxels.

  Args:
    apply, params, image, target: as every method's, of one window.
    values: (*space) the map.
    regions: scores are of regions, each by a sigmoid.
    steps: in which the whole image is covered.
    baseline: what it is covered by, a name of `baselines.BASELINES`.
  """
  return _curve(apply, params, image, target, values, regions, steps, baseline, hide=True)


def insertion(
  apply: Apply,
  params,
  image,
  target,
  values: Array,
  *,
  regions: bool = False,
  steps: int = 20,
  baseline: str = "blur",
) -> Curve:
  """Shows the voxels with the highest values first: a high area is a good map; as `deletion`."""
  return _curve(apply, params, image, target, values, regions, steps, baseline, hide=False)


def _curve(apply, params, image, target, values, regions, steps, baseline, *, hide) -> Curve:
  choice(baseline, BASELINES, "deletion and insertion: baseline")
  image = jnp.asarray(image)
  cover, ranks = BASELINES[baseline](image), order(values)
  counts = np.round(np.linspace(0, ranks.size, steps + 1)).astype(np.int64)
  points = []
  for count in counts:
    inside = ranks >= count if hide else ranks < count
    points.append(float(_confidence(apply, params, image, cover, inside, target, regions)))
  return Curve(counts / ranks.size, np.array(points))


class Pointing(NamedTuple):
  """Whether the highest value lies in the label, and the share of the positive values there."""

  hit: bool
  energy: float


def pointing(values: Array, label: Array, *, tolerance: int = 0) -> Pointing:
  """The pointing game (Zhang et al., arXiv 1608.00507), and the share of a map in the label.

  Args:
    values: (*space) the map; what is below 0 counts as 0 for the share (Wang et al., Score-CAM).
    label: (*space) bool.
    tolerance: voxels along each axis that the highest value may lie outside.

  A map that is nowhere positive points at nothing. Raises ValueError for an empty label.
  """
  values, label = np.asarray(values, np.float64), np.asarray(label, bool)
  if not label.any():
    raise ValueError("pointing: the label has no voxel of the class; give one that has.")
  positive = np.maximum(values, 0)
  if not positive.any():
    return Pointing(False, 0.0)
  at = np.unravel_index(np.argmax(values), values.shape)
  near = tuple(slice(max(0, i - tolerance), i + tolerance + 1) for i in at)
  return Pointing(bool(label[near].any()), float(positive[label].sum() / positive.sum()))
