"""Rotation, scale, shear and elastic deformation in one resampling."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.augment.deformation import displacement_field
from jaxseg.augment.draws import checked_probability, checked_range, within
from jaxseg.augment.resampling import affine_coordinates, centre_crop, resample
from jaxseg.batch import Array, Batch, by_kind, space_of

ELASTIC = ("grid", "smooth")


def _maximal_angles(rank: int, rotation, axes: str) -> tuple[float, ...]:
  """Largest angle in radians about each rotation axis: one in 2D, about (z, y, x) in 3D."""
  if axes not in ("all", "inplane"):
    raise ValueError(f"spatial: axes '{axes}' is unknown; choices: all, inplane.")
  if rank not in (2, 3):
    raise ValueError(f"spatial: expected a 2D or 3D sample, got {rank} spatial axes.")
  single = rank == 2 or axes == "inplane"
  if rotation is None:
    rotation = 180.0 if single else 30.0
  angles = tuple(rotation) if isinstance(rotation, Sequence) else (rotation,) * (1 if single else 3)
  if len(angles) != (1 if single else 3) or any(a < 0 for a in angles):
    raise ValueError(
      f"spatial: rotation {rotation} must be one non-negative angle in degrees"
      + ("." if single else ", or one per axis (z, y, x).")
    )
  return tuple(math.radians(a) for a in angles)


def _rotation(rank: int, angles: Array) -> Array:
  """(rank, rank): one in-plane angle, or rotations about x, then y, then z."""
  matrix = jnp.eye(rank)
  for axis in range(angles.shape[0]):
    i, j = (rank - 2, rank - 1) if axis == 0 else ((0, 2) if axis == 1 else (0, 1))
    cos, sin = jnp.cos(angles[axis]), jnp.sin(angles[axis])
    single = jnp.eye(rank).at[i, i].set(cos).at[j, j].set(cos).at[i, j].set(-sin).at[j, i].set(sin)
    matrix = jnp.matmul(matrix, single, precision="highest")
  return matrix


class Elastic(NamedTuple):
  """How far and how smoothly an elastic deformation moves, checked.

  Attributes:
    how: "grid" or "smooth".
    control: control points per axis of the grid.
    sigma: width in voxels of the Gaussian that smooths noise.
    displacement: standard deviation in voxels of the finest axis.
  """

  how: str
  control: int
  sigma: float
  displacement: float


def _elastic(how: str, control: int, sigma: float, displacement: float) -> Elastic:
  if how not in ELASTIC:
    raise ValueError(f"spatial.elastic: '{how}' is unknown; choices: {', '.join(ELASTIC)}.")
  if control < 2 or sigma <= 0 or displacement < 0:
    raise ValueError(
      f"spatial: an elastic deformation needs control >= 2, sigma > 0 and displacement >= 0, got "
      f"{control}, {sigma} and {displacement}."
    )
  return Elastic(how, control, sigma, displacement)


def _displacements(key, patch, elastic: Elastic, unit: Array, inplane: bool) -> list[Array | None]:
  """Per axis (*patch) in voxels, of equal length in millimetres; none along z in plane."""
  rank = len(patch)
  moving = range(1, rank) if inplane and rank == 3 else range(rank)
  space = [patch[axis] for axis in moving]
  how = {"sigma": elastic.sigma}
  if elastic.how == "grid":
    how = {"control": (elastic.control,) * len(space)}
  out: list[Array | None] = [None] * rank
  for axis in moving:
    field = displacement_field(jax.random.fold_in(key, axis), space, **how)
    # thick slices move together: one field for all
    field = jnp.broadcast_to(field.reshape((1,) * (rank - len(space)) + field.shape), patch)
    out[axis] = field * (elastic.displacement * unit.min() / unit[axis])
  return out


def spatial(
  key,
  sample: Batch,
  *,
  patch: Sequence[int] | None = None,
  rotation: float | Sequence[float] | None = None,
  p_rotation: float = 0.2,
  scale: tuple[float, float] = (0.7, 1.4),
  p_scale: float = 0.2,
  shear: float = 0.1,
  p_shear: float = 0.0,
  elastic: str = "grid",
  p_elastic: float = 0.0,
  control: int = 3,
  sigma: float = 8.0,
  displacement: float = 10.0,
  axes: str = "all",
  label: str = "nearest",
) -> Batch:
  """Turns, scales, shears, deforms and crops to `patch`, all in one resampling.

  Args:
    key: random key.
    sample: fields without batch axis, best larger than `patch` (`crop_size`): what lies outside
      the sample is padding.
    patch: the output's size; None for the sample's own.
    rotation: largest angle in degrees about the sample's centre, drawn uniformly from both
      directions: one number, or in 3D one per axis (z, y, x). None is nnU-Net's: 30 in 3D, 180
      in 2D and in plane.
    p_rotation: probability of a rotation.
    scale: range of the sampling step relative to the voxel, drawn uniformly: as in nnU-Net,
      larger numbers make smaller objects.
    p_scale: probability of a change of scale.
    shear: largest shear, as displacement per distance, drawn uniformly from both directions for
      each pair of axes.
    p_shear: probability of a shear.
    elastic: "grid": normal displacements at control points, interpolated by cubic convolution
      (U-Net, arXiv 1505.04597: 3 points per axis, deviation 10); "smooth": noise smoothed by a
      Gaussian (Simard et al. 2003, whose 29x29 digits had sigma 4 and alpha 34: a deviation of
      1.4 pixels).
    p_elastic: probability of an elastic deformation.
    control: control points per axis, of "grid".
    sigma: width of the Gaussian in voxels, of "smooth".
    displacement: standard deviation of each component of the displacement, in voxels of the
      finest axis.
    axes: "all"; or "inplane", which turns about z and moves y and x only, for volumes with thick
      slices (nnU-Net's "dummy 2D").
    label: how integer labels are taken: "nearest"; or "majority", nnU-Net's argmax of linearly
      interpolated one-hot maps.

  Returns:
    The sample at size `patch`. Angles and shears act in millimetres where the sample has a
    `spacing`, else in voxels; `spacing` itself is kept: a scaled sample stands for a larger or
    smaller body, whose lengths (distance maps) grow or shrink with it; shear and elastic
    deformation leave the values of distance maps alone, which are then near, not exact. Images
    are linear and weights nearest, by the fields' kinds. Without a draw, nothing is resampled.
    Source: nnU-Net (arXiv 1809.10486).
  """
  size = space_of(sample)
  rank = len(size)
  patch = size if patch is None else tuple(patch)
  for name, p in (("rotation", p_rotation), ("scale", p_scale), ("shear", p_shear)):
    checked_probability(f"spatial.p_{name}", p)
  checked_probability("spatial.p_elastic", p_elastic)
  if label not in ("nearest", "majority"):
    raise ValueError(f"spatial.label: '{label}' is unknown; choices: nearest, majority.")
  if shear < 0:
    raise ValueError(f"spatial.shear: {shear} must not be negative.")
  bounds = checked_range("spatial.scale", scale, least=1e-3)
  soft = _elastic(elastic, control, sigma, displacement)
  largest = jnp.asarray(_maximal_angles(rank, rotation, axes))
  inplane = axes == "inplane" and rank == 3
  pairs = [(i, j) for i in range(int(inplane), rank) for j in range(i + 1, rank)]
  # one draw for all, because each costs compile time
  draw = jax.random.uniform(key, (5 + largest.size + len(pairs),))
  rotates, rescales = draw[0] < p_rotation, draw[1] < p_scale
  shears, deforms = draw[3] < p_shear, draw[4] < p_elastic
  angles = jnp.where(rotates, (2 * draw[5 : 5 + largest.size] - 1) * largest, 0.0)
  step = jnp.where(rescales, within(draw[2], bounds), 1.0)
  shearing = jnp.where(shears, (2 * draw[5 + largest.size :] - 1) * shear, 0.0)

  def moved(fields):
    steps = jnp.broadcast_to(step, (rank,))
    if inplane:
      steps = steps.at[0].set(1.0)
    matrix = _rotation(rank, angles) * steps[None, :]
    if p_shear > 0:
      upper = jnp.eye(rank).at[tuple(zip(*pairs, strict=True))].set(shearing)
      matrix = jnp.matmul(matrix, upper, precision="highest")
    unit = jnp.ones(rank)
    if "spacing" in fields:
      unit = fields["spacing"].astype(jnp.float32)
      if unit.shape != (rank,):
        raise ValueError(
          f"spatial: field 'spacing' has shape {unit.shape}, expected ({rank},) as the sample "
          f"has {rank} spatial axes."
        )
      matrix = matrix * (unit[None, :] / unit[:, None])
    at = functools.partial(affine_coordinates, matrix, size, patch)
    if p_elastic > 0:
      fresh = jax.random.fold_in(key, 1)
      coordinates = lax.cond(
        deforms, lambda: at(_displacements(fresh, patch, soft, unit, inplane)), at
      )
    else:
      coordinates = at()
    out = resample(fields, coordinates, majority=label == "majority")
    # in plane too: where slices are thick, what is nearest lies in the same one
    return by_kind(lambda row, x: x / step if row.length else x, out)

  drawn = rotates | rescales | shears | deforms
  # both branches read the sample themselves: of an `Element` a crop then copies a patch alone
  return lax.cond(drawn, lambda: moved(dict(sample)), lambda: centre_crop(dict(sample), patch))


# nnU-Net enlarges for a sampling step of at most this; the rarer, smaller objects see padding
_LARGEST_STEP = 1 / 0.85


def crop_size(
  patch: Sequence[int],
  *,
  rotation: float | Sequence[float] | None = None,
  p_rotation: float = 0.2,
  scale: tuple[float, float] = (0.7, 1.4),
  p_scale: float = 0.2,
  shear: float = 0.1,
  p_shear: float = 0.0,
  p_elastic: float = 0.0,
  displacement: float = 10.0,
  axes: str = "all",
  spacing: Sequence[float] | None = None,
  **others,
) -> tuple[int, ...]:
  """How much the sampler should crop, per axis in voxels, so that `spatial` sees no padding.

  Takes the options of `spatial`. As nnU-Net's initial patch, a compromise: each axis has room
  for the worst rotation about one axis at a time (angles above 90 degrees add nothing), for a
  sampling step of 1 / 0.85 at most, for the whole shear, and for one standard deviation of the
  elastic displacement on either side; rarer draws see padding in their corners.

  Args:
    patch: the final size in voxels.
    rotation, p_rotation, scale, p_scale, shear, p_shear, p_elastic, displacement, axes: see
      `spatial`.
    spacing: millimetres per axis, if the samples have a spacing.
    others: the options of `spatial` that need no room.
  """
  del others
  rank = len(patch)
  first = int(axes == "inplane" and rank == 3)  # an axis before it never moves
  unit = [1.0] * rank if spacing is None else list(spacing)
  body = [p * u for p, u in zip(patch, unit, strict=True)]
  if p_elastic > 0:
    reach = 2 * displacement * min(unit)
    body = [b + reach * (axis >= first) for axis, b in enumerate(body)]
  if p_shear > 0:
    body = [b + shear * sum(body[axis + 1 :]) * (axis >= first) for axis, b in enumerate(body)]
  widest = list(body)
  largest = _maximal_angles(rank, rotation, axes)
  for axis, angle in enumerate(largest if p_rotation > 0 else ()):
    i, j = (rank - 2, rank - 1) if axis == 0 else ((0, 2) if axis == 1 else (0, 1))
    for a, b in ((i, j), (j, i)):
      turn = min(angle, math.atan2(body[b], body[a]))
      widest[a] = max(widest[a], body[a] * math.cos(turn) + body[b] * math.sin(turn))
  step = min(max(scale[1], 1.0), _LARGEST_STEP) if p_scale > 0 else 1.0
  return tuple(
    p if axis < first else max(p, math.ceil(round(w / u * step, 3)))
    for axis, (p, w, u) in enumerate(zip(patch, widest, unit, strict=True))
  )
