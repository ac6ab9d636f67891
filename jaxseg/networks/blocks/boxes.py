"""Boxes of detectors: overlap, coding relative to reference boxes, non-maximum suppression.

Boxes are (..., 2 * rank) float, the low corner, then the high one, half-open, in voxels.
"""

import jax
import jax.numpy as jnp


def centre_and_size(boxes):
  """(..., 2 * rank) -> (..., rank) centres and (..., rank) sizes."""
  low, high = jnp.split(jnp.asarray(boxes, jnp.float32), 2, -1)
  return (low + high) / 2, high - low


def iou(a, b):
  """Intersection over union of every pair: (..., n, 2 * rank), (..., m, 2 * rank) -> (..., n, m).

  Two boxes of no size have 0.
  """
  a, b = jnp.asarray(a, jnp.float32)[..., :, None, :], jnp.asarray(b, jnp.float32)[..., None, :, :]
  (a_low, a_high), (b_low, b_high) = jnp.split(a, 2, -1), jnp.split(b, 2, -1)
  shared = jnp.maximum(jnp.minimum(a_high, b_high) - jnp.maximum(a_low, b_low), 0).prod(-1)
  union = (a_high - a_low).prod(-1) + (b_high - b_low).prod(-1) - shared
  return jnp.where(union > 0, shared / jnp.where(union > 0, union, 1), 0)


def encode(boxes, references):
  """Offsets that lead from reference boxes to boxes: two (..., 2 * rank) -> (..., 2 * rank).

  The centre's shift in units of the reference's size, then the logarithm of the sizes' ratio.
  Source: R-CNN, arXiv 1311.2524; Faster R-CNN, arXiv 1506.01497.
  """
  centre, size = centre_and_size(boxes)
  origin, unit = centre_and_size(references)
  return jnp.concatenate([(centre - origin) / unit, jnp.log(size / unit)], -1)


def decode(offsets, references, *, largest: float = 8.0):
  """The inverse of `encode`: two (..., 2 * rank) -> (..., 2 * rank).

  `largest` bounds the logarithm of the sizes' ratio, so that an untrained head gives finite boxes.
  """
  shift, growth = jnp.split(offsets.astype(jnp.float32), 2, -1)
  origin, unit = centre_and_size(references)
  centre, size = origin + shift * unit, unit * jnp.exp(jnp.minimum(growth, largest))
  return jnp.concatenate([centre - size / 2, centre + size / 2], -1)


def nms(boxes, scores, *, limit: int, threshold: float = 0.0, overlap: float = 0.5):
  """Non-maximum suppression of one image's boxes, with static shapes (`vmap` it over a batch).

  Going down the scores, a box is kept if its score exceeds `threshold` and its intersection over
  union with every box kept before is at most `overlap`.

  Args:
    boxes, scores: (n, 2 * rank), (n,); the cost grows with n^2: give it the top-k candidates.
    limit: number of boxes that are returned.

  Returns:
    Boxes (limit, 2 * rank) and scores (limit,), best first, filled up with zeros.
  """
  n = len(scores)
  scores, order = jax.lax.top_k(scores, n)
  boxes = boxes[order]
  rivals = iou(boxes, boxes) > overlap

  def visit(i, keep):
    beaten = (keep & rivals[i] & (jnp.arange(n) < i)).any()
    return keep.at[i].set(keep[i] & ~beaten)

  keep = jax.lax.fori_loop(0, n, visit, scores > threshold)
  _, best = jax.lax.top_k(jnp.where(keep, scores, -jnp.inf), min(limit, n))
  kept = keep[best]
  boxes = jnp.where(kept[:, None], boxes[best], 0)
  scores = jnp.where(kept, scores[best], 0)
  missing = max(limit - n, 0)
  return jnp.pad(boxes, ((0, missing), (0, 0))), jnp.pad(scores, (0, missing))
