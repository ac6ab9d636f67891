"""Transforms that move voxels: mirroring, and rotation + scale in one resampling."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.augment.resampling import affine_coordinates, centre_crop, resample, space_of
from jaxseg.batch import Array, Batch, kind


def _exchange(sample: Batch, pairs: Sequence[tuple[int, int]]) -> Batch:
  """Swaps classes: values of integer labels, channels of the per-class maps."""
  out = dict(sample)
  for field, x in sample.items():
    row = kind(field)
    if not row.spatial or row.intensity:
      continue
    if row.channels:
      order = list(range(x.shape[-1]))
      for a, b in pairs:
        if max(a, b) >= len(order):
          raise ValueError(
            f"mirror: swap {(a, b)} names a class that field '{field}' with {len(order)} "
            "channels lacks; give pairs of class indices (LabelSpec.mirror_pairs)."
          )
        order[a], order[b] = b, a
      out[field] = x[..., jnp.asarray(order)]
    elif jnp.issubdtype(x.dtype, jnp.integer):  # floats without channels are weights
      swapped = x
      for a, b in pairs:
        swapped = jnp.where(x == a, b, jnp.where(x == b, a, swapped)).astype(x.dtype)
      out[field] = swapped
  return out


def mirror(
  key,
  sample: Batch,
  *,
  p: float = 0.5,
  axes: Sequence[int] | None = None,
  swap: Sequence[tuple[int, int]] = (),
  swap_axis: int = -1,
) -> Batch:
  """Mirrors each axis with probability `p`.

  Args:
    key: random key.
    sample: fields without batch axis.
    p: probability per axis.
    axes: the spatial axes that may be mirrored; None for all.
    swap: pairs of class indices (channels of soft labels) that exchange their names when
      `swap_axis` is mirrored, as left and right organs do.
    swap_axis: the left/right axis; -1 is x, the last spatial axis.

  Returns:
    The sample, every spatial field mirrored alike. Source: nnU-Net (arXiv 1809.10486).
  """
  rank = len(space_of(sample))
  chosen = range(rank) if axes is None else axes
  if any(not -rank <= axis < rank for axis in (*chosen, swap_axis)):
    raise ValueError(
      f"mirror: axes {tuple(chosen)} and swap_axis {swap_axis} must lie within the sample's "
      f"{rank} spatial axes."
    )
  drawn = jax.random.uniform(key, (rank,)) < p

  for axis in (a % rank for a in chosen):

    def flipped(fields, axis=axis):
      out = {f: jnp.flip(x, axis) if kind(f).spatial else x for f, x in fields.items()}
      return _exchange(out, swap) if swap and axis == swap_axis % rank else out

    sample = lax.cond(drawn[axis], flipped, lambda fields: fields, dict(sample))
  return sample


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


def spatial(
  key,
  sample: Batch,
  *,
  patch: Sequence[int] | None = None,
  rotation: float | Sequence[float] | None = None,
  p_rotation: float = 0.2,
  scale: tuple[float, float] = (0.7, 1.4),
  p_scale: float = 0.2,
  axes: str = "all",
) -> Batch:
  """Rotates and scales about the sample's centre, and crops to `patch`, in one resampling.

  Args:
    key: random key.
    sample: fields without batch axis, best larger than `patch` (`crop_size`): what lies outside
      the sample is padding.
    patch: the output's size; None for the sample's own.
    rotation: largest angle in degrees, drawn uniformly from both directions: one number, or in
      3D one per axis (z, y, x). None is nnU-Net's: 30 in 3D, 180 in 2D and in plane.
    p_rotation: probability of a rotation.
    scale: range of the sampling step relative to the voxel, drawn uniformly: as in nnU-Net,
      larger numbers make smaller objects.
    p_scale: probability of a change of scale.
    axes: "all"; or "inplane", which rotates about z and scales y and x only, for volumes with
      thick slices (nnU-Net's "dummy 2D").

  Returns:
    The sample at size `patch`. Rotation acts in millimetres where the sample has a `spacing`,
    else in voxels; `spacing` itself is kept: a scaled sample stands for a larger or smaller
    body, whose lengths (distance maps) grow or shrink with it. Images are linear, labels and
    weights nearest, by the fields' kinds. Without a draw, nothing is resampled.
    Source: nnU-Net (arXiv 1809.10486).
  """
  size = space_of(sample)
  rank = len(size)
  patch = size if patch is None else tuple(patch)
  largest = jnp.asarray(_maximal_angles(rank, rotation, axes))
  # one draw for all, because each costs compile time
  draw = jax.random.uniform(key, (3 + largest.size,))
  rotates, rescales = draw[0] < p_rotation, draw[1] < p_scale
  angles = jnp.where(rotates, (2 * draw[3:] - 1) * largest, 0.0)
  step = jnp.where(rescales, scale[0] + draw[2] * (scale[1] - scale[0]), 1.0)

  def moved(fields):
    steps = jnp.broadcast_to(step, (rank,))
    if axes == "inplane" and rank == 3:
      steps = steps.at[0].set(1.0)
    matrix = _rotation(rank, angles) * steps[None, :]
    if "spacing" in fields:
      spacing = fields["spacing"].astype(jnp.float32)
      if spacing.shape != (rank,):
        raise ValueError(
          f"spatial: field 'spacing' has shape {spacing.shape}, expected ({rank},) as the sample "
          f"has {rank} spatial axes."
        )
      matrix = matrix * (spacing[None, :] / spacing[:, None])
    out = resample(fields, affine_coordinates(matrix, size, patch))
    # in plane too: where slices are thick, what is nearest lies in the same one
    return {field: x / step if kind(field).length else x for field, x in out.items()}

  return lax.cond(
    rotates | rescales, moved, lambda fields: centre_crop(fields, patch), dict(sample)
  )


# nnU-Net enlarges for a sampling step of at most this; the rarer, smaller objects see padding
_LARGEST_STEP = 1 / 0.85


def crop_size(
  patch: Sequence[int],
  *,
  rotation: float | Sequence[float] | None = None,
  p_rotation: float = 0.2,
  scale: tuple[float, float] = (0.7, 1.4),
  p_scale: float = 0.2,
  axes: str = "all",
  spacing: Sequence[float] | None = None,
) -> tuple[int, ...]:
  """How much the sampler should crop, per axis in voxels, so that `spatial` sees no padding.

  Takes the options of `spatial`. As nnU-Net's initial patch, a compromise: each axis has room
  for the worst rotation about one axis at a time (angles above 90 degrees add nothing), and for
  a sampling step of 1 / 0.85 at most; rarer draws see padding in their corners.

  Args:
    patch: the final size in voxels.
    rotation, p_rotation, scale, p_scale, axes: see `spatial`.
    spacing: millimetres per axis, if the samples have a spacing.
  """
  rank = len(patch)
  unit = [1.0] * rank if spacing is None else list(spacing)
  half = [p * u for p, u in zip(patch, unit, strict=True)]
  widest = list(half)
  largest = _maximal_angles(rank, rotation, axes)
  for axis, angle in enumerate(largest if p_rotation > 0 else ()):
    i, j = (rank - 2, rank - 1) if axis == 0 else ((0, 2) if axis == 1 else (0, 1))
    for a, b in ((i, j), (j, i)):
      turn = min(angle, math.atan2(half[b], half[a]))
      widest[a] = max(widest[a], half[a] * math.cos(turn) + half[b] * math.sin(turn))
  step = min(max(scale[1], 1.0), _LARGEST_STEP) if p_scale > 0 else 1.0
  fixed = 0 if axes == "inplane" and rank == 3 else None
  return tuple(
    p if axis == fixed else max(p, math.ceil(round(w / u * step, 3)))
    for axis, (p, w, u) in enumerate(zip(patch, widest, unit, strict=True))
  )
