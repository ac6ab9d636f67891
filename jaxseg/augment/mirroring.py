"""Mirroring, which moves voxels and may exchange the names of left and right."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.augment.draws import checked_axes, checked_probability
from jaxseg.augment.resampling import space_of
from jaxseg.batch import Batch, kind


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
  checked_probability("mirror.p", p)
  chosen = () if axes == () else checked_axes("mirror.axes", axes, rank)
  (named,) = checked_axes("mirror.swap_axis", (swap_axis,), rank)
  drawn = jax.random.uniform(key, (rank,)) < p

  for axis in chosen:

    def flipped(fields, axis=axis):
      out = {f: jnp.flip(x, axis) if kind(f).spatial else x for f, x in fields.items()}
      return _exchange(out, swap) if swap and axis == named else out

    sample = lax.cond(drawn[axis], flipped, lambda fields: fields, dict(sample))
  return sample
