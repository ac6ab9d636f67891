"""Coordinates of a geometric transform, and every field of a sample resampled at them."""

import itertools
from collections.abc import Sequence

import jax.numpy as jnp

from jaxseg.batch import Array, Batch, Kind, by_kind, space_of


def crop_start(size: Sequence[int], patch: Sequence[int]) -> tuple[int, ...]:
  """First voxel of the centre crop of `patch` in `size`; raises ValueError if it doesn't fit."""
  if len(size) != len(patch) or any(p > s for s, p in zip(size, patch, strict=False)):
    raise ValueError(
      f"patch {tuple(patch)} doesn't fit into a sample of {tuple(size)} voxels; let the sampler "
      "crop (and pad) at least the patch."
    )
  return tuple((s - p) // 2 for s, p in zip(size, patch, strict=True))


def centre_crop(sample: Batch, patch: Sequence[int]) -> Batch:
  """The centre `patch` of every spatial field."""
  size = space_of(sample)
  window = tuple(
    slice(start, start + p) for start, p in zip(crop_start(size, patch), patch, strict=True)
  )
  return by_kind(lambda row, x: x[window] if row.spatial else x, sample)


def affine_coordinates(
  matrix: Array,
  size: Sequence[int],
  patch: Sequence[int],
  displacement: Sequence[Array | None] | None = None,
) -> tuple[Array, ...]:
  """Where each voxel of the output comes from: per axis an array (*patch) in input voxels.

  Args:
    matrix: (rank, rank), output offset from the centre -> input offset, in voxels.
    size: the input's size.
    patch: the output's size. The identity gives exactly the voxels of `centre_crop`.
    displacement: per axis an array (*patch) in voxels, added to the output's offsets before the
      matrix acts, or None for none.
  """
  rank = len(patch)
  middle = [(p - 1) / 2 for p in patch]
  offsets = []
  for axis, (p, m) in enumerate(zip(patch, middle, strict=True)):
    shape = [-1 if axis == k else 1 for k in range(rank)]
    offset = jnp.broadcast_to((jnp.arange(p) - m).reshape(shape), patch)
    moved = None if displacement is None else displacement[axis]
    offsets.append(offset if moved is None else offset + moved)
  start = crop_start(size, patch)
  # sums of broadcast products instead of a matrix product: exact for the identity on every
  # device, and XLA fuses them into the gathers
  return tuple(
    sum(
      (matrix[i, j] * offsets[j] for j in range(rank)),
      jnp.full(patch, start[i] + middle[i], jnp.float32),
    )
    for i in range(rank)
  )


def _rows(x: Array, rank: int) -> tuple[Array, list[int]]:
  """Space flattened, and how far apart neighbours along each axis are in it."""
  strides = [1] * rank
  for axis in reversed(range(rank - 1)):
    strides[axis] = strides[axis + 1] * x.shape[axis + 1]
  return x.reshape(-1, *x.shape[rank:]), strides


def _at(flat: Array, index: Array, inside: Array, row: Kind) -> Array:
  """The values at `index`, the field's padding where that is not inside."""
  values = jnp.asarray(flat).at[index].get(mode="promise_in_bounds")
  if row.pad is None:  # the index is that of the nearest voxel inside
    return values
  # padding the field itself would write all of it for a patch that sees a part
  inside = inside.reshape(inside.shape + (1,) * (values.ndim - inside.ndim))
  return jnp.where(inside, values, jnp.asarray(row.pad, values.dtype))


def _nearest(x: Array, coordinates: Sequence[Array], row: Kind) -> Array:
  flat, strides = _rows(x, len(coordinates))
  index, inside = 0, True
  for c, s, stride in zip(coordinates, x.shape, strides, strict=False):
    voxel = jnp.floor(c + 0.5).astype(jnp.int32)
    index = index + jnp.clip(voxel, 0, s - 1) * stride
    inside = inside & (voxel >= 0) & (voxel < s)
  return _at(flat, index, inside, row)


def _corners(x: Array, coordinates: Sequence[Array], row: Kind) -> list[tuple[Array, Array]]:
  """(value, share) of each voxel around the coordinates; the shares add up to 1."""
  flat, strides = _rows(x, len(coordinates))
  ends = []  # per axis of the lower and the upper voxel: its place in `flat`, inside, its share
  for c, s, stride in zip(coordinates, x.shape, strides, strict=False):
    # clamped to one voxel outside, whose value stands for all that lies there
    c = jnp.clip(c + 1, 0, s + 1)
    floor = jnp.minimum(jnp.floor(c), s)
    lower, upper_share = floor.astype(jnp.int32) - 1, c - floor
    ends.append(
      (
        (jnp.maximum(lower, 0) * stride, lower >= 0, 1 - upper_share),
        (jnp.minimum(lower + 1, s - 1) * stride, lower < s - 1, upper_share),
      )
    )
  corners = []
  for corner in itertools.product(*ends):
    index, inside, share = 0, True, 1.0
    for place, within, part in corner:
      index, inside, share = index + place, inside & within, share * part
    corners.append((_at(flat, index, inside, row), share))
  return corners


def _linear(x: Array, coordinates: Sequence[Array], row: Kind) -> Array:
  out = 0.0
  for value, share in _corners(x.astype(jnp.float32), coordinates, row):
    out = out + value * share.reshape(share.shape + (1,) * (value.ndim - share.ndim))
  return out.astype(x.dtype)


def _majority(x: Array, coordinates: Sequence[Array], row: Kind) -> Array:
  """The argmax of the linearly interpolated one-hot maps, of however many classes.

  Only the labels of the corners can win, so their shares are compared and no map is made.
  """
  corners = _corners(x, coordinates, row)
  best, most = corners[0][0], jnp.full(coordinates[0].shape, -1.0)
  for value, _ in corners:
    votes = sum(jnp.where(other == value, share, 0.0) for other, share in corners)
    best, most = jnp.where(votes > most, value, best), jnp.maximum(votes, most)
  return best


def resample(sample: Batch, coordinates: Sequence[Array], *, majority: bool = False) -> Batch:
  """Every spatial field at `coordinates` (per axis an array (*patch), in voxels of the sample).

  Linear or nearest by the field's kind, its padding value outside. Integer fields never show a
  label that wasn't there: they are taken from the nearest voxel or, with `majority`, by the
  argmax of their linearly interpolated one-hot maps.
  """

  def at(row: Kind, x: Array) -> Array:
    if not row.spatial:
      return x
    if jnp.issubdtype(x.dtype, jnp.floating) and row.order == 1:
      return _linear(x, coordinates, row)
    if majority and row.classes and not row.channels:
      return _majority(x, coordinates, row)
    return _nearest(x, coordinates, row)

  return by_kind(at, sample)
