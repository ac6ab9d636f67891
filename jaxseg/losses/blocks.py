"""Sums over voxels, on a CPU block by block, so that what lies between stays in its cache.

XLA's CPU compiler does not repeat an exponential inside a fusion: the arrays between logits and
sums are each written and read. Losses ask for their sums by `sums`; those asked for inside one
`jointly` are made in one pass, and so is their gradient, which computes a block again.
"""

import contextlib
import contextvars
import math
from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp

from jaxseg.batch import Array, Target
from jaxseg.networks.blocks.acceleration import by_platform

# of a block: 5 MB for five classes, which a shared cache holds; smaller ones leave cores idle
VOXELS = 65536
LARGE = 2**22  # logits from which on the arrays between no longer fit a cache

Sums = Callable[[Array, Target], tuple[jax.Array, ...]]

_WHOLE = contextvars.ContextVar("whole", default=False)
_PASS = contextvars.ContextVar("pass", default=None)


@contextlib.contextmanager
def whole(on: bool) -> Iterator[None]:
  """Losses traced inside make no blocks: of a batch over several devices, these would gather it."""
  token = _WHOLE.set(on or _WHOLE.get())
  try:
    yield
  finally:
    _WHOLE.reset(token)


class _Pass:
  """One pass over a loss's terms: first it notes the sums they ask for, then it gives them.

  Attributes:
    arrays: logits, labels and weight that the sums must be of.
    functions: the sums asked for, in their order.
    known: their values; None while they are noted.
  """

  def __init__(self, logits: Array, target: Target, known=None):
    self.arrays = (logits, target.labels, target.weight)
    self.functions: list[Sums] = []
    self.known = known

  def sums(self, function: Sums, arrays) -> tuple[jax.Array, ...]:
    self.functions.append(function)
    if self.known is None:
      return function(arrays[0], Target(*arrays[1:]))
    return self.known[len(self.functions) - 1]


def sums(function: Sums, logits: Array, target: Target) -> tuple[jax.Array, ...]:
  """`function(logits, target)`, of which a sum over the first axis is asked for in the end.

  Args:
    function: (logits (m, *space, k), Target) -> arrays (m, ...), sums over each one's voxels. It
      reads labels and weight of the target alone, takes any m and space, and holds no array that
      is differentiated.
    logits: (b, *space, k).
    target: on the same grid.

  Returns:
    Arrays (n, ...), n a multiple of b, in the order of the samples: sums of equally many parts of
    each. On other platforms, whose compilers fuse, and of small logits n is b.
  """
  arrays, current = (logits, target.labels, target.weight), _PASS.get()
  if current and all(a is b for a, b in zip(arrays, current.arrays, strict=True)):
    return current.sums(function, arrays)
  return _sums([function], *arrays)[0]


def jointly(
  terms: Sequence[Callable[[Array, Target], jax.Array]], logits: Array, target: Target
) -> list[jax.Array]:
  """[term(logits, target)], the sums over blocks that several of them ask for in one pass."""

  def values(of: _Pass, logits, target):
    token = _PASS.set(of)
    try:
      return [term(logits, target) for term in terms]
    finally:
      _PASS.reset(token)

  if len(terms) < 2 or _block(logits, target.labels, target.weight) is None:
    return [term(logits, target) for term in terms]
  noted = []

  def note(logits, labels, weight):
    inside = target._replace(labels=labels, weight=weight)
    noted.append(_Pass(logits, inside))
    return values(noted[0], logits, inside)

  arrays = (logits, target.labels, target.weight)
  jax.eval_shape(note, *arrays)
  known = _sums(noted[0].functions, *arrays) if noted[0].functions else []
  return values(_Pass(logits, target, known), logits, target)


def _sums(functions: Sequence[Sums], logits, labels, weight) -> list[tuple[jax.Array, ...]]:
  arrays, block = (logits, labels, weight), _block(logits, labels, weight)

  def plain(logits, labels, weight):
    return [function(logits, Target(labels, weight)) for function in functions]

  def by_blocks(*arrays):
    # without an axis of size 1, for which XLA would copy the logits
    parts = jax.tree.map(lambda x: x.reshape(-1, block, *x.shape[logits.ndim - 1 :]), arrays)

    # computed again backward, where nothing but the arrays themselves is read
    @jax.checkpoint
    def one(part):
      return jax.tree.map(lambda x: x[0], plain(*jax.tree.map(lambda x: x[None], part)))

    return jax.lax.scan(lambda carry, part: (carry, one(part)), None, parts)[1]

  def as_many(*arrays):
    """The samples' sums as those of their first blocks."""
    rest = math.prod(logits.shape[1:-1]) // block - 1
    return jax.tree.map(
      lambda x: jnp.pad(x[:, None], ((0, 0), (0, rest), *((0, 0),) * (x.ndim - 1))).reshape(
        -1, *x.shape[1:]
      ),
      plain(*arrays),
    )

  return plain(*arrays) if block is None else by_platform(*arrays, cpu=by_blocks, plain=as_many)


def _block(logits, labels, weight) -> int | None:
  """Voxels of a block: the largest divisor of a sample's up to VOXELS; None for no blocks."""
  space, shape = tuple(logits.shape[:-1]), tuple(logits.shape)
  # what doesn't fit is refused in words by the loss itself
  fits = tuple(labels.shape) in (space, shape) and (weight is None or tuple(weight.shape) == space)
  if _WHOLE.get() or not fits or math.prod(shape) < LARGE:
    return None
  voxels = math.prod(space[1:])
  # a far smaller one would take too many turns
  return next((n for n in range(VOXELS, VOXELS // 4, -1) if voxels % n == 0), None)
