"""Boxes as labels: of a class only the box around it is known, of Target.maps["box"].

The map is (b, *space, k), 1 inside a class's box. A box that reaches the border of the patch may go
on beyond it: what its class must be inside then is not known, and is asked for no more.

Source: Kervadec et al. 2020, 2004.06816; log barriers: Kervadec et al. 2019, 1904.04205.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.batch import Array, Target
from jaxseg.losses import voxels

_PENALTIES = ("log_barrier", "squared")


def box_emptiness(logits: Array, target: Target, *, sigmoid: bool = False) -> jax.Array:
  """-ln(1 - p) of each class outside of its boxes, mean over these voxels and classes.

  The background has no box and no say, unless `sigmoid` makes every channel a region.

  Args:
    logits: (b, *space, k), any float dtype; the sums are float32.
    target: its map "box"; what has no weight and is in no box says nothing.
    sigmoid: k independent channels (regions) instead of k exclusive classes.

  Returns:
    A float32 scalar.
  """
  logits, box = _boxes(logits, target, "box_emptiness", sigmoid=sigmoid)
  outside = 1 - box
  if target.weight is not None:
    # inside a box of one class another's emptiness is known, though labels are not
    known = jnp.where(target.weight > 0, 1.0, 0.0)[..., None]
    outside = outside * jnp.maximum(known, box.max(-1, keepdims=True))
  losses = -voxels.log_complements(logits, sigmoid=sigmoid)
  losses, outside = _foreground(losses, outside, sigmoid=sigmoid)
  return voxels.weighted_mean(outside * losses, outside)


def box_tightness(
  logits: Array,
  target: Target,
  *,
  width: int = 1,
  penalty: str = "log_barrier",
  sharpness: float = 5.0,
  growth: float = 1.0,
  every: int = 1000,
  sigmoid: bool = False,
) -> jax.Array:
  """A box touches its object on all sides: each section of it holds at least a voxel.

  Sections across an axis are lines in 2D and planes in 3D. Of each `width` neighbouring ones, which
  at the box's end may be fewer, the sum of p is at least their number; what is lacking is
  penalised, mean over these bands, axes, classes and samples. A band whose sections the patch may
  have cut doesn't count.

  Args:
    logits, target, sigmoid: as of `box_emptiness`; the background has no box.
    width: sections of a band.
    penalty: "squared", max(0, z)^2 of what is lacking; or "log_barrier" (1904.04205), with t the
      sharpness -ln(-z) / t up to z = -1/t^2, and from there on the straight line that continues it.
    sharpness, growth, every: t of the barrier is sharpness * growth ^ (step // every).

  Returns:
    A float32 scalar.
  """
  if width < 1:
    raise ValueError(f"box_tightness: width is {width}; expected 1 or more.")
  logits, box = _boxes(logits, target, "box_tightness", sigmoid=sigmoid)
  t = _sharpness(penalty, sharpness, growth, every, target.step, "box_tightness")
  inside = box * voxels.probabilities(logits, sigmoid=sigmoid)
  inside, box = _foreground(inside, box, sigmoid=sigmoid)
  space = range(1, box.ndim - 1)
  cut = [_touches(box, axis) for axis in space]
  total = count = jnp.zeros((), jnp.float32)
  for axis in space:
    others = tuple(other for other in space if other != axis)
    # (b, sections, k)
    held, there = inside.sum(others), jnp.where(box.sum(others) > 0, 1.0, 0.0)
    whole = jnp.ones_like(there[:, :1])
    for other in others:
      whole = whole * (1 - cut[other - 1][:, None])
    need, got = (_bands(x, width) for x in (there, held))
    valid = whole * there
    total += (valid * _penalised(need - got, penalty, t)).sum()
    count += valid.sum()
  return total / jnp.where(count > 0, count, 1)


def box_size(
  logits: Array,
  target: Target,
  *,
  bounds: Sequence[float] = (0.3, 0.95),
  penalty: str = "log_barrier",
  sharpness: float = 5.0,
  growth: float = 1.0,
  every: int = 1000,
  sigmoid: bool = False,
) -> jax.Array:
  """The share of a box that its class fills lies within bounds, mean over boxes and both bounds.

  The share is sum p over the box over its voxels. Of several boxes of a class in a sample it is
  that of all; boxes that the patch may have cut don't count.

  Args:
    bounds: lowest and highest share.
    logits, target and the other options: as of `box_tightness`.

  Returns:
    A float32 scalar.
  """
  if len(bounds) != 2 or not 0 <= bounds[0] < bounds[1] <= 1:
    raise ValueError(
      f"box_size: bounds are {tuple(bounds)}; expected two shares, 0 <= low < high <= 1."
    )
  logits, box = _boxes(logits, target, "box_size", sigmoid=sigmoid)
  t = _sharpness(penalty, sharpness, growth, every, target.step, "box_size")
  inside = box * voxels.probabilities(logits, sigmoid=sigmoid)
  inside, box = _foreground(inside, box, sigmoid=sigmoid)
  space = tuple(range(1, box.ndim - 1))
  size = box.sum(space)
  valid = jnp.where(size > 0, 1.0, 0.0)
  for axis in space:
    valid = valid * (1 - _touches(box, axis))
  share = inside.sum(space) / jnp.where(size > 0, size, 1)
  low, high = (_penalised(z, penalty, t) for z in (bounds[0] - share, share - bounds[1]))
  count = 2 * valid.sum()
  return (valid * (low + high)).sum() / jnp.where(count > 0, count, 1)


def _boxes(logits, target, loss: str, *, sigmoid: bool):
  """float32 logits and boxes (b, *space, k)."""
  logits, _, _ = voxels.prepare(logits, target, sigmoid=sigmoid)
  if "box" not in target.maps:
    raise ValueError(
      f"{loss}: the batch has no 'box'; name what gives it (config.data.fields.box), or put it in "
      "Target.maps['box']."
    )
  box = jnp.asarray(voxels.named_map(target, "box", tuple(logits.shape), loss), jnp.float32)
  return logits, box


def _foreground(*arrays, sigmoid: bool):
  return (voxels.foreground(x, include_background=False, sigmoid=sigmoid) for x in arrays)


def _touches(box, axis: int):
  """(b, k): whether a box has a voxel at either end of an axis, beyond which it may go on."""
  ends = jnp.maximum(jnp.take(box, 0, axis), jnp.take(box, box.shape[axis] - 1, axis))
  return jnp.where(ends.max(tuple(range(1, ends.ndim - 1))) > 0, 1.0, 0.0)


def _bands(sections, width: int):
  """(b, n, k) -> sums of each section with the next ones, `width` in all, as far as there are."""
  padded = jnp.pad(sections, ((0, 0), (0, width - 1), (0, 0)))
  return sum(padded[:, i : i + sections.shape[1]] for i in range(width))


def _sharpness(penalty: str, sharpness, growth, every: int, step, loss: str):
  if penalty not in _PENALTIES:
    raise ValueError(f"{loss}: penalty '{penalty}' is unknown; choices: {', '.join(_PENALTIES)}.")
  if not (sharpness > 0 and growth > 0 and np.isfinite([sharpness, growth]).all() and every > 0):
    raise ValueError(
      f"{loss}: sharpness {sharpness}, growth {growth}, every {every}; expected numbers above 0."
    )
  return sharpness * jnp.asarray(growth, jnp.float32) ** (step // every)


def _penalised(z, penalty: str, t):
  """What is paid for z > 0, and with a barrier before that."""
  if penalty == "squared":
    return jax.nn.relu(z) ** 2
  near = z > -1 / t**2
  # whichever isn't taken must be finite for its gradient's sake
  barrier = -jnp.log(jnp.where(near, 1.0, -z)) / t
  return jnp.where(near, t * z - jnp.log(1 / t**2) / t + 1 / t, barrier)
