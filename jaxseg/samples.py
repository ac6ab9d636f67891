"""What is done sample by sample: each device does it for the samples that it holds.

A loop over samples that are split over devices would gather the batch, and a loop that ends when
all samples are ready would ask the other devices in every turn. On CPUs such a question may even
meet another one of the same program out of turn, so that both wait until XLA ends the process: what
asks the others, as batch statistics do, stands in no loop and no branch there.
"""

import contextlib
import contextvars
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp

AXIS = "batch"
_MESH = contextvars.ContextVar("mesh", default=None)


@contextlib.contextmanager
def split_over(mesh: jax.sharding.Mesh | None) -> Iterator[None]:
  """What is traced inside works on batches split over the mesh's axis `batch`; None: over none."""
  token = _MESH.set(mesh)
  try:
    yield
  finally:
    _MESH.reset(token)


def on_own_device(
  function: Callable,
  mesh: jax.sharding.Mesh | None,
  *,
  shared: int = 0,
  axis: str = AXIS,
  whole: bool = True,
) -> Callable:
  """`function(*shared, *samples)`, called by each device with its own part of the samples.

  Samples must be independent, and what is random in them told apart by what they are given.

  Args:
    function: positional arguments -> a tree of arrays with a leading axis of samples.
    mesh: over whose `axis` the samples are split; None for one device. Where the program is already
      one device's along some axes (of several members), what is left of its mesh stands for it.
    shared: that many leading arguments are the same on all devices.
    axis: the mesh's axis of samples, which must divide their number.
    whole: each device has its samples whole; else other axes of the mesh may split them.
  """
  if mesh is None:
    return function
  around = jax.sharding.get_abstract_mesh()
  mesh = mesh if around.empty else around
  manual = jax.sharding.AxisType.Manual
  free = {a for a, kind in zip(mesh.axis_names, mesh.axis_types, strict=True) if kind != manual}

  def local(*arguments):
    specs = tuple(jax.P() if i < shared else jax.P(axis) for i in range(len(arguments)))
    # samples are independent: nothing varies that shouldn't, and constants of branches need no mark
    return jax.shard_map(
      function,
      mesh=mesh,
      in_specs=specs,
      out_specs=jax.P(axis),
      axis_names=free if whole else {axis},
      check_vma=False,
    )(*arguments)

  return local


def each(function: Callable, *arrays):
  """`jax.vmap(function)(*arrays)`; loops of each device end when its own samples are ready."""
  mesh = _MESH.get()
  count = 1 if mesh is None else mesh.shape[AXIS]
  mapped = jax.vmap(function)
  if count == 1 or len(arrays[0]) % count:
    return mapped(*arrays)
  return on_own_device(mapped, mesh)(*arrays)


def mesh() -> jax.sharding.Mesh | None:
  """That of `split_over`, for what is not traced before it has been left."""
  return _MESH.get()


def summed(function: Callable, mesh: jax.sharding.Mesh | None, *arrays):
  """`function(*arrays)`, a sum over samples: each device adds up its own, whatever its loops."""
  count = 1 if mesh is None else mesh.shape[AXIS]
  if count == 1 or len(arrays[0]) % count:
    return function(*arrays)
  return on_own_device(lambda *own: function(*own)[None], mesh)(*arrays).sum(0)


def together_on_cpus() -> bool:
  """Whether several CPUs share what is traced: a loop that asks them all must be unrolled."""
  mesh = _MESH.get()
  if mesh is None or mesh.size == 1:
    return False
  abstract = isinstance(mesh, jax.sharding.AbstractMesh)
  return (jax.default_backend() if abstract else mesh.devices.flat[0].platform) == "cpu"


def either(condition: jax.Array, true: Callable, false: Callable, *operands):
  """`jax.lax.cond`; several CPUs compute both sides, because in a branch they must not ask."""
  if not together_on_cpus():
    return jax.lax.cond(condition, true, false, *operands)
  return jax.tree.map(lambda *of: jnp.where(condition, *of), true(*operands), false(*operands))


def in_turn(function: Callable, carry, items):
  """`jax.lax.scan`; several CPUs have it unrolled, because in a loop they must not ask."""
  return jax.lax.scan(function, carry, items, unroll=together_on_cpus())


def joined(*parts: jax.Array) -> jax.Array:
  """Batches (n_i, ...) as one of all their samples, (sum of n_i, ...).

  They take turns, as often as their numbers have a common divisor: where that many or fewer devices
  share each batch, every device joins what it holds, and nothing is sent. See `apart`.
  """
  turns = math.gcd(*(len(part) for part in parts))
  woven = jnp.concatenate([_in_turns(part, turns) for part in parts], 1)
  return woven.reshape(-1, *parts[0].shape[1:])


def apart(batch: jax.Array, counts: Sequence[int]) -> list[jax.Array]:
  """The batches that `joined` made one, by the numbers of their samples."""
  turns = math.gcd(*counts)
  ends = list(itertools.accumulate(count // turns for count in counts[:-1]))
  parts = jnp.split(_in_turns(batch, turns), ends, 1)
  return [part.reshape(-1, *batch.shape[1:]) for part in parts]


def _in_turns(batch, turns: int):
  return batch.reshape(turns, -1, *batch.shape[1:])
