"""Transforms of a whole batch: they mix each sample with the one in the next slot.

`(key, batch, *, options) -> batch`, after the samples' own transforms. The numbers are drawn for
the global batch, so that the number of devices doesn't change them.
"""

import jax
import jax.numpy as jnp

from jaxseg.augment.draws import checked_probability
from jaxseg.augment.regions import box_mask
from jaxseg.batch import Array, Batch, kind


def _refuse_maps(name: str, batch: Batch) -> None:
  """Maps of a label's surroundings are not those of a mixed label."""
  for field in batch:
    row = kind(field)
    if row.spatial and row.pad is None:
      raise ValueError(
        f"{name}: field '{field}' cannot be mixed as labels are; leave out {name} or the loss that "
        f"needs '{field}'."
      )


def _checked(name: str, batch: Batch, p: float, alpha: float) -> int:
  checked_probability(f"{name}.p", p)
  if alpha <= 0:
    raise ValueError(f"{name}.alpha: {alpha} must be positive.")
  _refuse_maps(name, batch)
  return next(iter(batch.values())).shape[0]


def _partner(x: Array) -> Array:
  return jnp.roll(x, -1, 0)


def _spread(x: Array, ndim: int) -> Array:
  return x.reshape(x.shape + (1,) * (ndim - x.ndim))


def mixup(key, batch: Batch, *, classes: int, p: float = 0.2, alpha: float = 0.2) -> Batch:
  """Blends each drawn sample with the next: images, and labels as soft labels.

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
  count = _checked("mixup", batch, p, alpha)
  drawing, sharing = jax.random.split(key)
  share = jax.random.beta(sharing, alpha, alpha, (count,))
  share = jnp.where(jax.random.uniform(drawing, (count,)) < p, jnp.maximum(share, 1 - share), 1.0)

  def blended(x, own, other):
    return _spread(own, x.ndim) * x + _spread(other, x.ndim) * _partner(x)

  out = {field: x for field, x in batch.items() if field != "label"}
  if "label" in batch and "soft_label" not in batch:
    out["soft_label"] = jax.nn.one_hot(batch["label"], classes, dtype=jnp.float32)
  for field, x in out.items():
    if kind(field).intensity or field == "prior":
      out[field] = blended(x.astype(jnp.float32), share, 1 - share).astype(x.dtype)
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
  """Pastes a box of the next sample into each drawn one: image, label, weight, prior alike.

  A segmentation's labels are pasted voxel by voxel and stay as hard as they were.

  Args:
    key: random key.
    batch: fields with batch axis.
    p: probability of each sample.
    alpha: of the distribution Beta(alpha, alpha) of the share of the patch that stays; 1 is
      uniform. The box has the proportions of the patch, and its centre lies anywhere in it.

  Source: Yun et al. (arXiv 1905.04899); for segmentation French et al. (1906.01916).
  """
  count = _checked("cutmix", batch, p, alpha)
  spatial = {field: x for field, x in batch.items() if kind(field).spatial}
  field, x = next(iter(spatial.items()))
  space = x.shape[1 : x.ndim - kind(field).channels]
  rank = len(space)
  drawing, sharing, placing = jax.random.split(key, 3)
  share = jax.random.beta(sharing, alpha, alpha, (count,))
  width = jnp.where(jax.random.uniform(drawing, (count,)) < p, (1 - share) ** (1 / rank), -1.0)
  centre = jax.random.uniform(placing, (count, rank))
  widths = jnp.broadcast_to(width[:, None], (count, rank))
  inside = jax.vmap(lambda c, w: box_mask(space, c, w))(centre, widths)
  pasted = {
    field: jnp.where(_spread(inside, x.ndim), _partner(x), x) for field, x in spatial.items()
  }
  return {**batch, **pasted}
