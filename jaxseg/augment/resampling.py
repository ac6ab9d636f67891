"""Coordinates of a geometric transform, and every field of a sample resampled at them."""

import itertools
from collections.abc import Sequence

import jax.numpy as jnp

from jaxseg.batch import FIELDS, Array, Batch, Kind, kind


def space_of(sample: Batch) -> tuple[int, ...]:
  """The spatial size of a sample (no batch axis); raises ValueError if no field is spatial."""
  for field, value in sample.items():
    row = kind(field)
    if row.spatial:
      return tuple(value.shape[: value.ndim - row.channels])
  raise ValueError(
    f"sample: none of its fields ({', '.join(sample)}) is spatial; expected one of "
    f"{', '.join(name for name, row in FIELDS.items() if row.spatial)}."
  )


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
  return {field: x[window] if kind(field).spatial else x for field, x in sample.items()}


def affine_coordinates(
  matrix: Array, size: Sequence[int], patch: Sequence[int]
) -> tuple[Array, ...]:
  """Where each voxel of the output comes from: per axis an array (*patch) in input voxels.

  Args:
    matrix: (rank, rank), output offset from the centre -> input offset, in voxels.
    size: the input's size.
    patch: the output's size. The identity gives exactly the voxels of `centre_crop`.
  """
  rank = len(patch)
  middle = [(p - 1) / 2 for p in patch]
  offsets = [
    (jnp.arange(p) - m).reshape([-1 if axis == k else 1 for k in range(rank)])
    for axis, (p, m) in enumerate(zip(patch, middle, strict=True))
  ]
  start = crop_start(size, patch)
  # sums of broadcast products instead of a matrix product: exact for the identity on every
  # device, and XLA fuses them into the gathers
  return tuple(
    sum(
      (jnp.broadcast_to(matrix[i, j] * offsets[j], patch) for j in range(rank)),
      jnp.full(patch, start[i] + middle[i], jnp.float32),
    )
    for i in range(rank)
  )


def _padded(x: Array, row: Kind, rank: int) -> tuple[Array, list[int], list[int]]:
  """One voxel of padding on each side, space flattened; the padded size and its strides."""
  width = [(1, 1)] * rank + [(0, 0)] * (x.ndim - rank)
  size = [s + 2 for s in x.shape[:rank]]
  strides = [1] * rank
  for axis in reversed(range(rank - 1)):
    strides[axis] = strides[axis + 1] * size[axis + 1]
  outside = {"mode": "edge"} if row.pad is None else {"constant_values": row.pad}
  flat = jnp.pad(x, width, **outside).reshape(-1, *x.shape[rank:])
  return flat, size, strides


def _nearest(x: Array, coordinates: Sequence[Array], row: Kind) -> Array:
  flat, size, strides = _padded(x, row, len(coordinates))
  index = sum(
    jnp.clip(jnp.floor(c + 0.5).astype(jnp.int32) + 1, 0, s - 1) * stride
    for c, s, stride in zip(coordinates, size, strides, strict=True)
  )
  return flat.at[index].get(mode="promise_in_bounds")


def _linear(x: Array, coordinates: Sequence[Array], row: Kind) -> Array:
  flat, size, strides = _padded(x.astype(jnp.float32), row, len(coordinates))
  lower, upper_share = [], []
  for c, s in zip(coordinates, size, strict=True):
    # clamped into the padding, whose value then stands for all that lies outside
    c = jnp.clip(c + 1, 0, s - 1)
    floor = jnp.minimum(jnp.floor(c), s - 2)
    lower.append(floor.astype(jnp.int32))
    upper_share.append(c - floor)
  base = sum(index * stride for index, stride in zip(lower, strides, strict=True))
  out = 0.0
  for corner in itertools.product((0, 1), repeat=len(coordinates)):
    share = 1.0
    for bit, upper in zip(corner, upper_share, strict=True):
      share = share * (upper if bit else 1 - upper)
    step = sum(bit * stride for bit, stride in zip(corner, strides, strict=True))
    value = flat.at[base + step].get(mode="promise_in_bounds")
    out = out + value * share.reshape(share.shape + (1,) * (value.ndim - share.ndim))
  return out.astype(x.dtype)


def resample(sample: Batch, coordinates: Sequence[Array]) -> Batch:
  """Every spatial field at `coordinates` (per axis an array (*patch), in voxels of the sample).

  Linear or nearest by the field's kind, its padding value outside; integer fields are always
  taken from the nearest voxel, so that no label appears that wasn't there.
  """
  out = {}
  for field, x in sample.items():
    row = kind(field)
    if not row.spatial:
      out[field] = x
    elif row.order == 0 or not jnp.issubdtype(x.dtype, jnp.floating):
      out[field] = _nearest(x, coordinates, row)
    else:
      out[field] = _linear(x, coordinates, row)
  return out
