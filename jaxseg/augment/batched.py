"""A one-sample transform mapped over a batch, with the same draw on any number of devices."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxseg.augment.chain import Transform
from jaxseg.batch import Batch


def batched(
  transform: Transform, mesh: jax.sharding.Mesh | None = None, *, axis: str = "batch"
) -> Callable[[jax.Array, Batch], Batch]:
  """`(key, sample) -> sample` as `(key, batch) -> batch`.

  The sample in slot i of the global batch gets the key `fold_in(key, i)`, so that the number of
  devices doesn't change the draw. `lax.map`, not vmap: a random branch that isn't drawn costs
  nothing.

  Args:
    transform: what to do with one sample.
    mesh: the mesh over whose `axis` the batch is split; None for one device. Each device maps
      its own samples: a plain `lax.map` over a sharded axis would gather the batch.
    axis: the mesh axis of the batch.
  """

  def mapped(key, slots, batch):
    return lax.map(
      lambda item: transform(jax.random.fold_in(key, item[0]), item[1]), (slots, batch)
    )

  if mesh is not None:
    spec = jax.P(axis)
    # samples are independent and the key is replicated: nothing varies that shouldn't, and the
    # transforms need no marks on the constants that their branches return
    mapped = jax.shard_map(
      mapped, mesh=mesh, in_specs=(jax.P(), spec, spec), out_specs=spec, check_vma=False
    )

  def apply(key, batch: Batch) -> Batch:
    slots = jnp.arange(next(iter(batch.values())).shape[0])
    return mapped(key, slots, batch)

  return apply
