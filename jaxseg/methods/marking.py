"""How a simulated user marks a region: by a point, a scribble, a box or a lasso."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxseg.batch import Array
from jaxseg.interaction import scribbles, simulate
from jaxseg.interaction.simulate import Interactions

POINT, SCRIBBLE, BOX, LASSO = "point", "scribble", "box", "lasso"
KINDS = (POINT, SCRIBBLE, BOX, LASSO)


def check_kinds(kinds: Sequence[str], who: str) -> None:
  """Raises ValueError for a kind that there is not, and for none at all."""
  unknown = [kind for kind in kinds if kind not in KINDS]
  if unknown or not kinds:
    raise ValueError(
      f"{who}: {unknown[0] if unknown else tuple(kinds)!r}; expected some of {', '.join(KINDS)}."
    )


def number_of(key: jax.Array, most: int) -> jax.Array:
  """(most,) bool: the first 1 to `most` of them."""
  return jnp.arange(most) < jax.random.randint(key, (), 1, most + 1)


def centre(key: jax.Array, mask: Array) -> jax.Array:
  """A voxel at least half as deep in the mask as any, (rank,) int32; any, where it is empty."""
  depth = simulate.depth(mask)
  return simulate.somewhere(key, mask & (depth > depth.max() / 2), 1)[0]


def box_around(key: jax.Array, mask: Array, *, jitter: float) -> tuple[jax.Array, jax.Array]:
  """The first voxel of a mask's box and the one after its last, each up to `jitter` wider."""
  lows, highs = [], []
  for axis, n in enumerate(mask.shape):
    along = mask.any(tuple(a for a in range(mask.ndim) if a != axis))
    lows.append(jnp.argmax(along))
    highs.append(n - jnp.argmax(along[::-1]))
  low, high = jnp.stack(lows), jnp.stack(highs)
  wider = jax.random.uniform(key, (2, mask.ndim), maxval=jitter + 1).astype(jnp.int32)
  return jnp.maximum(low - wider[0], 0), jnp.minimum(high + wider[1], jnp.array(mask.shape))


class Drawn(NamedTuple):
  """A mark of each kind for one region, and which of them is made.

  Attributes:
    kind: () int32, the place in the kinds that were asked for.
    point: (rank,) int32.
    box: (2, rank) int32, the first voxel and the one after the last.
    scribble, lasso: (*space) bool.
  """

  kind: Array
  point: Array
  box: Array
  scribble: Array
  lasso: Array


def draw(
  key: jax.Array,
  region: Array,
  point: Array,
  *,
  kinds: Sequence[str] = KINDS,
  thickness: int = 2,
  jitter: float = 2.0,
) -> Drawn:
  """A mark of a (*space) region in one of `kinds`, each as likely.

  Args:
    key: random key.
    region: bool, what is to be marked.
    point: (rank,) int32, a voxel of it: the point itself, and where a volume's plane lies.
    kinds: of KINDS.
    thickness: of scribbles.
    jitter: of boxes in images, see `box_around`; those in volumes lie in a plane, and are tight.
  """
  at_kind, at_draw = jax.random.split(key)
  plane = scribbles.in_a_plane(at_draw, lambda _, mask: mask, region, point)
  ends = box_around(at_draw, plane, jitter=0.0 if region.ndim == 3 else jitter)

  def draw_scribble(key, mask):
    return scribbles.scribble(key, mask, thickness=thickness)

  scribble = scribbles.in_a_plane(at_draw, draw_scribble, region, point)
  lasso = scribbles.in_a_plane(at_draw, scribbles.lasso, region, point)
  kind = jax.random.randint(at_kind, (), 0, len(kinds))
  return Drawn(kind, point, jnp.stack(ends), scribble, lasso)


def put(
  user: Interactions, of: Drawn, of_class: Array, there: Array, *, kinds: Sequence[str] = KINDS
) -> Interactions:
  """What is marked, and n further marks, stacked, of (n,) classes, (n,) bool which are there."""
  now = {kind: there & (of.kind == number) for number, kind in enumerate(kinds)}
  if POINT in now:
    user = simulate.with_points(user, of.point, of_class, now[POINT])
  if BOX in now:
    user = simulate.with_boxes(user, of.box, of_class, now[BOX])
  if SCRIBBLE in now:
    user = simulate.with_drawn(user, "strokes", of.scribble, of_class, now[SCRIBBLE])
  if LASSO in now:
    user = simulate.with_drawn(user, "prompt_box", of.lasso, of_class, now[LASSO])
  return user
