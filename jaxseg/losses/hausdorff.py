"""Hausdorff loss: errors weighed by how far they lie from a border."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxseg.batch import Array, Target
from jaxseg.losses import voxels
from jaxseg.morphology import distance_transform


def hausdorff(
  logits: Array,
  target: Target,
  *,
  mode: str = "distance",
  alpha: float = 2.0,
  erosions: int = 10,
  unit: str = "mm",
  include_background: bool = False,
  class_weights: Sequence[float] | None = None,
  sigmoid: bool = False,
) -> jax.Array:
  """Hausdorff loss: mean of (p - g)^2 times a power of how far the error lies from a border.

  "distance" multiplies by d_p^alpha + d_g^alpha: the distances of a voxel to the borders of the
  prediction (p > 1/2) and of the truth, 0 throughout where either is empty or everywhere. They
  are made on the device, exactly, and carry no gradient. "erosion" needs none: errors that
  survive k erosions count k^alpha times; cheaper for volumes, but sees only errors of p of more
  than about 0.7, and up to `erosions` voxels deep.

  Args:
    logits: (b, *space, k), any float dtype.
    target: labels (b, *space) int, or (b, *space, k) soft or region labels; optional weight:
      ignored voxels are neither inside nor outside of an object. Optional spacing.
    mode: "distance" or "erosion".
    alpha: the power; 2 is the paper's.
    erosions: with "erosion", how many.
    unit: "mm" measures with the target's spacing where it has one, "voxel" never does.
    include_background: False leaves out class 0. With `sigmoid` every channel is a region of its
      own, and none is left out.
    class_weights: k factors of the classes' losses, before their mean (MONAI's); None means 1.
    sigmoid: k independent channels (regions) instead of k exclusive classes. A single channel is
      class 1 of integer labels.

  Returns:
    A float32 scalar: the mean over the classes and over the voxels of the batch that are not
    ignored.

  Source: Karimi and Salcudean 2019, 1904.10030; values as MONAI's HausdorffDTLoss.
  """
  for what, value, choices in (
    ("mode", mode, ("distance", "erosion")),
    ("unit", unit, ("mm", "voxel")),
  ):
    if value not in choices:
      raise ValueError(f"hausdorff: {what} is '{value}'; choices: {', '.join(choices)}.")
  logits, truth, weight = voxels.prepare(logits, target, sigmoid=sigmoid)
  scores = voxels.probabilities(logits, sigmoid=sigmoid)
  errors = (scores - truth) ** 2
  if mode == "erosion":
    values = _survivors(jnp.where(weight > 0, errors, 0), erosions, alpha)
  else:
    spacing = _spacing(target, logits, unit)
    fields = (_border_distance(x > 0.5, weight > 0, spacing) for x in (scores, truth))
    values = errors * sum(voxels.power(field, alpha) for field in fields)
  return voxels.class_mean(
    values,
    weight,
    include_background=include_background,
    class_weights=class_weights,
    sigmoid=sigmoid,
  )


def _spacing(target: Target, logits, unit: str):
  """(b, rank) size of the voxels, 1 where they have none."""
  expected = (logits.shape[0], logits.ndim - 2)
  if unit == "voxel" or target.spacing is None:
    return jnp.ones(expected)
  if tuple(target.spacing.shape) != expected:
    raise ValueError(
      f"hausdorff: the target's spacing has shape {tuple(target.spacing.shape)}; expected "
      f"{expected}, (batch, rank)."
    )
  return jnp.asarray(target.spacing, jnp.float32)


def _border_distance(inside, counted, spacing):
  """Distance of every voxel to the nearest one across a class's border; 0 where it has none."""

  def across(inside, counted, spacing):
    to_outside = distance_transform(~inside & counted, spacing)
    to_inside = distance_transform(inside & counted, spacing)
    return jnp.where(inside, to_outside, to_inside)

  by_class = jax.vmap(across, in_axes=(-1, None, None), out_axes=-1)
  distance = jax.vmap(by_class)(inside, counted[..., 0], spacing)
  return jnp.where(jnp.isfinite(distance), distance, 0)


def _survivors(errors, erosions: int, alpha: float):
  """Sum over k of k^alpha times what is left of the errors after k soft erosions.

  One erosion averages a voxel with its face neighbours, takes off 1/2 and doubles: a whole error
  amid whole errors stays one.
  """
  axes = range(1, errors.ndim - 1)

  def erode(state, weight):
    errors, total = state
    mean = (errors + sum(_neighbours(errors, axis) for axis in axes)) / (2 * len(axes) + 1)
    errors = 2 * jax.nn.relu(mean - 0.5)
    return (errors, total + weight * errors), None

  # a loop, as XLA would compute an unrolled chain's neighbours again for each of their readers
  weights = jnp.arange(1, erosions + 1, dtype=jnp.float32) ** alpha
  return jax.lax.scan(erode, (errors, jnp.zeros_like(errors)), weights)[0][1]


def _neighbours(values, axis: int):
  """Sum of the two neighbours along an axis, 0 beyond the border."""
  width = [(1, 1) if a == axis else (0, 0) for a in range(values.ndim)]
  padded, size = jnp.pad(values, width), values.shape[axis]
  before = jax.lax.slice_in_dim(padded, 0, size, axis=axis)
  return before + jax.lax.slice_in_dim(padded, 2, size + 2, axis=axis)
