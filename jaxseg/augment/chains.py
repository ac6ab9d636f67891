"""Several transforms as one, of a sample and of a batch."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg import samples
from jaxseg.augment.geometry import spatial
from jaxseg.augment.order import AUGMENTATIONS, MIXTURES
from jaxseg.augment.resampling import centre_crop
from jaxseg.batch import Batch, space_of

Transform = Callable[[jax.Array, Batch], Batch]

_ORDER = (*AUGMENTATIONS.values(), *MIXTURES.values())


class Element(Mapping):
  """One sample of a batch, whose fields are cut out of it where they are read.

  A branch of `lax.cond` that reads it copies what it needs; a sample cut out before would be copied
  whole for either branch.
  """

  def __init__(self, batch: Batch, index: jax.Array):
    self._batch, self._index = batch, index

  def __getitem__(self, field: str):
    return jax.tree.map(
      lambda x: lax.dynamic_index_in_dim(x, self._index, keepdims=False), self._batch[field]
    )

  def __iter__(self) -> Iterator[str]:
    return iter(self._batch)

  def __len__(self) -> int:
    return len(self._batch)


def _function(step: Transform) -> Callable:
  return getattr(step, "func", step)  # what a functools.partial binds


def _position(step: Transform) -> int:
  function = _function(step)
  return _ORDER.index(function) if function in _ORDER else len(_ORDER)


def chain(
  transforms: Mapping[str, Transform] | Sequence[Transform], patch: Sequence[int] | None = None
) -> Transform:
  """Composes transforms into one `(key, sample) -> sample`.

  Args:
    transforms: `(key, sample) -> sample`, options bound. A sequence is applied as it stands; a
      mapping in the order of `AUGMENTATIONS` (others after them), because the named sub-dicts of
      a config have none: ml_collections sorts them by name. Each transform gets a key of its own,
      the chain's folded with its position.
    patch: size of the result: whatever is still larger (no `spatial` cropped it) is cropped
      around its centre. None keeps the size.

  Returns:
    The composed transform; it raises ValueError where the sample is smaller than `patch`. With a
    `patch`, options out of range raise here.
  """
  steps = _ordered(transforms)

  def apply(key, sample: Batch) -> Batch:
    for position, step in enumerate(steps):
      sample = step(jax.random.fold_in(key, position), sample)
    if patch is not None and space_of(sample) != tuple(patch):
      sample = centre_crop(sample, patch)
    return sample

  # `spatial` itself takes what it needs out of a batch
  apply.crops = bool(steps) and _function(steps[0]) is spatial
  if patch is not None:
    _try(apply, tuple(patch))
  return apply


def mixture(transforms: Mapping[str, Transform] | Sequence[Transform]) -> Transform:
  """Composes transforms of a batch into one `(key, batch) -> batch`; see `chain`.

  Its key may be that of the samples' transforms: `batched` folds that with the slots 0, 1, ...,
  this with the largest numbers that there are.
  """
  steps = _ordered(transforms)

  def apply(key, batch: Batch) -> Batch:
    for position, step in enumerate(steps):
      batch = step(jax.random.fold_in(key, 2**32 - 1 - position), batch)
    return batch

  if steps:
    _try(apply, (2, 8, 8))
  return apply


def _ordered(transforms) -> list[Transform]:
  if isinstance(transforms, Mapping):
    return sorted(transforms.values(), key=_position)
  return list(transforms)


def _try(apply: Transform, shape: tuple[int, ...]) -> None:
  """Traces a transform, so that it tells of a bad option before any data are read."""
  fields = {
    "image": jax.ShapeDtypeStruct((*shape, 1), jnp.float32),
    "label": jax.ShapeDtypeStruct(shape, jnp.int32),
  }
  jax.eval_shape(apply, jax.random.key(0), fields)


def batched(
  transform: Transform, mesh: jax.sharding.Mesh | None = None, *, axis: str = "batch"
) -> Callable[[jax.Array, Batch], Batch]:
  """`(key, sample) -> sample` as `(key, batch) -> batch`.

  The sample in slot i of the global batch gets the key `fold_in(key, i)`, so that the number of
  devices doesn't change the draw. `lax.map`, not vmap: a random branch that isn't drawn costs
  nothing.

  Args:
    transform: what to do with one sample.
    mesh: the mesh over whose `axis` the batch is split; None for one device.
    axis: the mesh axis of the batch.
  """

  whole = (lambda sample: sample) if getattr(transform, "crops", False) else dict

  def mapped(key, slots, batch):
    def one(item):
      slot, index = item
      return transform(jax.random.fold_in(key, slot), whole(Element(batch, index)))

    return lax.map(one, (slots, jnp.arange(slots.shape[0])))

  mapped = samples.on_own_device(mapped, mesh, shared=1, axis=axis)

  def apply(key, batch: Batch) -> Batch:
    slots = jnp.arange(next(iter(batch.values())).shape[0])
    return mapped(key, slots, batch)

  return apply
