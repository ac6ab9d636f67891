"""Transforms of a whole batch: they mix each sample with the one in the next slot.

`(key, batch, *, options) -> batch`, after the samples' own transforms. The numbers are drawn for
the global batch, so that the number of devices doesn't change them.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from jaxseg.augment.draws import checked_probability
from jaxseg.augment.regions import box_mask
from jaxseg.batch import Array, Batch, Kind, by_kind, kind, space_of


def _check(name: str, batch: Batch, mixes: Callable[[Kind], bool]) -> None:
  """Raises ValueError for a field of which no mixture is right."""
  for field, x in batch.items():
    if isinstance(x, Mapping):
      _check(name, x, mixes)
    elif kind(field).per_channel or (kind(field).spatial and not mixes(kind(field))):
      raise ValueError(
        f"{name}: field '{field}' cannot be mixed as labels are; leave out {name} or what needs "
        f"'{field}'."
      )


def _checked_options(name: str, p: float, alpha: float) -> None:
  checked_probability(f"{name}.p", p)
  if alpha <= 0:
    raise ValueError(f"{name}.alpha: {alpha} must be positive.")


def _partner(x: Array) -> Array:
  return jnp.roll(x, -1, 0)


def _spread(x: Array, ndim: int) -> Array:
  return x.reshape(x.shape + (1,) * (ndim - x.ndim))


def _apart(row: Kind, x: Array, mixed: Array) -> Array:
  """(b,) indices of samples, some of which are mixed with the next."""
  return jnp.where(mixed & (x != _partner(x)), row.apart, x)


def mixup(key, batch: Batch, *, classes: int, p: float = 0.2, alpha: float = 0.2) -> Batch:
  """Blends each drawn sample with the next: images, scores, masks, and labels as soft labels.

  Args:
    key: random key.
    batch: fields with batch axis.
    classes: number of classes of an integer `label`.
    p: probability of each sample.
    alpha: of the share's distribution Beta(alpha, alpha); the larger half is the sample's own.

  Returns:
    The batch, its `label` replaced by `soft_label` (b, *space, classes) in float32. Where one of
    the two is ignored (weight 0), the other's label stands alone, with its share as weight.
    Source: Zhang et al. (arXiv 1710.09412).
  """
  _checked_options("mixup", p, alpha)
  labelled = {field: batch[field] for field in ("label", "soft_label", "weight") if field in batch}
  others = {field: x for field, x in batch.items() if field not in labelled}
  _check("mixup", others, lambda row: row.blends or row.unites)
  count = len(jax.tree.leaves(batch)[0])
  drawing, sharing = jax.random.split(key)
  share = jax.random.beta(sharing, alpha, alpha, (count,))
  share = jnp.where(jax.random.uniform(drawing, (count,)) < p, jnp.maximum(share, 1 - share), 1.0)

  def blended(x, own, other):
    return _spread(own, x.ndim) * x + _spread(other, x.ndim) * _partner(x)

  def with_partner(row, x):
    if row.apart is not None:
      return _apart(row, x, share < 1)
    if row.unites:
      return jnp.where(_spread(share, x.ndim) < 1, jnp.maximum(x, _partner(x)), x)
    return blended(x.astype(jnp.float32), share, 1 - share).astype(x.dtype) if row.blends else x

  out = {**by_kind(with_partner, others), **labelled}
  label = out.pop("label", None)
  if label is not None and "soft_label" not in out:
    out["soft_label"] = jax.nn.one_hot(label, classes, dtype=jnp.float32)
  weight = batch.get("weight")
  if weight is None:
    own, other = share, 1 - share
  else:
    own = _spread(share, weight.ndim) * weight
    other = _spread(1 - share, weight.ndim) * _partner(weight)
    out["weight"] = (own + other).astype(weight.dtype)
    total = jnp.maximum(own + other, 1e-7)
    own, other = own / total, other / total
  if "soft_label" in out:
    # an ignored voxel keeps its label, which counts for nothing, rather than have none
    if weight is not None:
      own = jnp.where(out["weight"] > 0, own, 1.0)
    out["soft_label"] = blended(out["soft_label"], own, other)
  return out


def cutmix(key, batch: Batch, *, p: float = 0.2, alpha: float = 1.0) -> Batch:
  """Pastes a box of the next sample into each drawn one, in every spatial field alike.

  A segmentation's labels are pasted voxel by voxel and stay as hard as they were.

  Args:
    key: random key.
    batch: fields with batch axis.
    p: probability of each sample.
    alpha: of the distribution Beta(alpha, alpha) of the share of the patch that stays; 1 is
      uniform. The box has the proportions of the patch, and its centre lies anywhere in it.

  Source: Yun et al. (arXiv 1905.04899); for segmentation French et al. (1906.01916).
  """
  _checked_options("cutmix", p, alpha)
  # maps of a label's surroundings are not those of a mixed label
  _check("cutmix", batch, lambda row: row.pad is not None)
  space = space_of(batch)[1:]
  count, rank = len(jax.tree.leaves(batch)[0]), len(space)
  drawing, sharing, placing = jax.random.split(key, 3)
  share = jax.random.beta(sharing, alpha, alpha, (count,))
  width = jnp.where(jax.random.uniform(drawing, (count,)) < p, (1 - share) ** (1 / rank), -1.0)
  centre = jax.random.uniform(placing, (count, rank))
  widths = jnp.broadcast_to(width[:, None], (count, rank))
  inside = jax.vmap(lambda c, w: box_mask(space, c, w))(centre, widths)

  def pasted(row, x):
    if row.apart is not None:
      return _apart(row, x, inside.any(tuple(range(1, inside.ndim))))
    return jnp.where(_spread(inside, x.ndim), _partner(x), x) if row.spatial else x

  return by_kind(pasted, batch)
