"""Cutting boxes out of images and pasting them back, with static shapes under jit; rank-free.

A box is 2 * rank numbers on the last axis, the low corner, then the high one (z, y, x, z, y, x), in
voxels and half-open: voxel v is inside if its centre v + 1/2 lies in [low, high). A box of no size
stands for "no box" (padding of a static number of boxes).

Two pairs: `crop` and `paste` keep the voxels, in a window of a static size (`window` places it over
a box), so that pasting is the exact inverse; `crop_resized` and `paste_resized` sample any box at a
static number of points.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxseg import samples
from jaxseg.morphology import largest_component
from jaxseg.networks.blocks.options import per_axis


def whole_box(space: Sequence[int], dtype=jnp.int32):
  """The box of a whole image: (2 * rank,)."""
  return jnp.asarray([0] * len(space) + list(space), dtype)


def bounding_box(mask, *, margin: int | Sequence[int] = 0, divisor: int | Sequence[int] = 1):
  """The smallest box around each mask's voxels: (b, *space) bool -> (b, 2 * rank) int32.

  Args:
    mask: an empty one gives the whole image.
    margin: voxels added on each side, clamped to the image; one for all or one per axis.
    divisor: each side is then enlarged to a multiple of this, and the box shifted into the image;
      a side ends at the whole image.
  """
  mask, space = jnp.asarray(mask), mask.shape[1:]
  rank = len(space)
  margins, divisors = per_axis(margin, rank, "margin"), per_axis(divisor, rank, "divisor")
  lows, highs = [], []
  for axis, (n, m, d) in enumerate(zip(space, margins, divisors, strict=True), start=1):
    line = mask.any(tuple(other for other in range(1, rank + 1) if other != axis))
    low = jnp.maximum(jnp.argmax(line, 1) - m, 0)
    high = jnp.minimum(n - jnp.argmax(line[:, ::-1], 1) + m, n)
    side = -(-(high - low) // d) * d
    low = jnp.clip(low - (side - (high - low)) // 2, 0, jnp.maximum(n - side, 0))
    lows.append(low)
    highs.append(jnp.minimum(low + side, n))
  box = jnp.stack([*lows, *highs], -1).astype(jnp.int32)
  empty = ~mask.any(tuple(range(1, rank + 1)))
  return jnp.where(empty[:, None], whole_box(space)[None], box)


def keep_largest(masks):
  """Each mask's largest connected component: (b, *space) bool -> the same shape.

  Voxels that share a corner are connected. Of components of the same size the one that comes first
  in the order of storage is kept; an empty mask stays empty. No gradient.
  """
  return samples.each(largest_component, jnp.asarray(masks))


def inside(boxes, space: Sequence[int]):
  """Which voxels lie in each box: (..., 2 * rank) -> (..., *space) bool."""
  rank = len(space)
  found = jnp.ones(boxes.shape[:-1] + (1,) * rank, bool)
  for axis, n in enumerate(space):
    shape = [1] * rank
    shape[axis] = n
    centre = (jnp.arange(n) + 0.5).reshape((1,) * (boxes.ndim - 1) + tuple(shape))
    corner = boxes.reshape(*boxes.shape[:-1], *(1,) * rank, -1)
    found &= (corner[..., axis] <= centre) & (centre < corner[..., rank + axis])
  return found


def window(boxes, size: Sequence[int], space: Sequence[int]):
  """First voxel of a window of a static size over each box: (b, 2 * rank) -> (b, rank) int32.

  The window is centred on the box and shifted into the image, so that it covers every box that fits
  into it; of a larger box (such as the whole image) it covers the central part.
  """
  rank = len(space)
  free = jnp.asarray([[max(n - s, 0) for n, s in zip(space, size, strict=True)]], jnp.int32)
  start = (boxes[:, :rank] + boxes[:, rank:] - jnp.asarray([size], boxes.dtype)) // 2
  return jnp.clip(start.astype(jnp.int32), 0, free)


def crop(x, start, size: Sequence[int]):
  """Each sample's own window: x (b, *space, c), start (b, rank) -> (b, *size, c).

  A window larger than the image is filled up with zeros at its end.
  """
  x = _fill(x, size)

  def cut(x, start):
    return jax.lax.dynamic_slice(x, (*start, 0), (*size, x.shape[-1]))

  return jax.vmap(cut)(x, start)


def paste(patch, start, onto):
  """The inverse of `crop`: patch (b, *size, c), start (b, rank), onto (b, *space, c) -> as `onto`.

  What lies outside the window is `onto`'s.
  """
  space = onto.shape[1:-1]

  def put(onto, patch, start):
    return jax.lax.dynamic_update_slice(onto, patch.astype(onto.dtype), (*start, 0))

  filled = jax.vmap(put)(_fill(onto, patch.shape[1:-1]), patch, start)
  return filled[(slice(None), *(slice(n) for n in space))]


def _fill(x, size):
  """Zeros at the end of each axis of (b, *space, c) that is shorter than `size`."""
  pads = [(0, max(s - n, 0)) for n, s in zip(x.shape[1:-1], size, strict=True)]
  return jnp.pad(x, [(0, 0), *pads, (0, 0)])


def crop_resized(x, boxes, size: Sequence[int]):
  """Samples each box at a fixed number of points: x (b, *space, c), boxes (b, k, 2 * rank) float
  -> (b, k, *size, c).

  RoIAlign with one point per bin: the box is cut into `size` bins and the image is interpolated
  linearly at their centres; beyond the outermost voxel centres the edge is repeated, and nothing is
  smoothed where a box is larger than `size`. Differentiable in x, and in the boxes. Source:
  Mask R-CNN, arXiv 1703.06870.
  """
  rank = len(size)
  y = jnp.broadcast_to(jnp.asarray(x)[:, None], (*boxes.shape[:2], *x.shape[1:]))
  for axis, (n, bins) in enumerate(zip(x.shape[1:-1], size, strict=True)):
    low, high = boxes[..., axis, None], boxes[..., rank + axis, None]
    share = (jnp.arange(bins) + 0.5)[None, None] / bins
    y = _interpolate(y, low + share * (high - low) - 0.5, n)
  return y.astype(x.dtype)


def paste_resized(patches, boxes, onto):
  """Puts sampled boxes back: patches (b, k, *size, c), boxes (b, k, 2 * rank) float,
  onto (b, *space, c) -> as `onto`.

  Inside a box, its patch is interpolated linearly at the voxels' centres (the inverse of
  `crop_resized` for all that is linear between its points); where boxes overlap, the first counts.
  """
  space, rank = onto.shape[1:-1], onto.ndim - 2
  for i in reversed(range(boxes.shape[1])):
    y, box = patches[:, i : i + 1], boxes[:, i : i + 1]
    for axis, (n, bins) in enumerate(zip(space, patches.shape[2:-1], strict=True)):
      low, high = box[..., axis, None], box[..., rank + axis, None]
      share = ((jnp.arange(n) + 0.5)[None, None] - low) / jnp.maximum(high - low, 1e-3)
      y = _interpolate(y, share * bins - 0.5, bins)
    onto = jnp.where(inside(box[:, 0], space)[..., None], y[:, 0].astype(onto.dtype), onto)
  return onto


def _interpolate(y, at, n: int):
  """Linear interpolation of the first spatial axis, of n voxels, which becomes the last one.

  Shapes: y (b, k, n, *rest, c), at (b, k, points) -> (b, k, *rest, points, c). As a product with a
  banded matrix: accelerators are slow at gathers, above all at their gradients.
  """
  at = jnp.clip(at, 0, n - 1)[..., None]
  weights = jnp.maximum(1 - jnp.abs(at - jnp.arange(n, dtype=at.dtype)[None, None, None]), 0)
  precise = jax.lax.Precision.HIGHEST
  return jnp.einsum("bkpn,bkn...c->bk...pc", weights, y.astype(jnp.float32), precision=precise)
