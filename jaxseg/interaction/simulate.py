"""A simulated user: what one has marked so far, and where one clicks, at random, in training.

All of one sample, under jit and vmap, with static sizes. The truth is (*space) int32 classes;
voxels of weight 0 are of no class, and nobody marks them. `next_click` is the rule that evaluation
has, too.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxseg.batch import Array, Batch
from jaxseg.interaction.encoding import Encoding, show
from jaxseg.interaction.next_click import Click, next_click
from jaxseg.interaction.prompts import NONE, Prompts
from jaxseg.morphology import distance_transform


class Interactions(NamedTuple):
  """What a user has marked in one image.

  Attributes:
    prompts: points and boxes, as many as there is room for.
    made: of points and of boxes the turn in which each was made, (n,) and (m,) int32.
    drawn: "strokes", "prompt_box" -> (*space, classes) float32, as of `encoding.show`.
    turn: () int32, how often the user has looked at an answer.
  """

  prompts: Prompts
  made: tuple[Array, Array]
  drawn: Mapping[str, Array]
  turn: Array


def nothing(
  space: Sequence[int],
  *,
  classes: int,
  points: int = 0,
  boxes: int = 0,
  drawn: Sequence[str] = (),
) -> Interactions:
  """No marks yet, and room for so many; `drawn` names the fields that are painted."""
  rank = len(space)

  def none(room, *shape, dtype=jnp.float32):
    return jnp.zeros((room, *shape), dtype), jnp.full(room, NONE, jnp.int32)

  prompts = Prompts(*none(points, rank), *none(boxes, 2, rank, dtype=jnp.int32), *none(0, 2, rank))
  maps = {field: jnp.zeros((*space, classes), jnp.float32) for field in drawn}
  made = jnp.zeros(points, jnp.int32), jnp.zeros(boxes, jnp.int32)
  return Interactions(prompts, made, maps, jnp.int32(0))


def next_turn(user: Interactions, decay: float = 1.0) -> Interactions:
  """The same marks, one turn older: what was drawn is `decay` times as strong."""
  drawn = {field: decay * of for field, of in user.drawn.items()}
  return user._replace(turn=user.turn + 1, drawn=drawn)


def with_points(user: Interactions, points: Array, of_class: Array, there: Array) -> Interactions:
  """With (n, rank) more points of (n,) classes, (n,) bool which count, as far as there is room."""
  old, (made, boxes) = user.prompts, user.made
  at = _places(old.point_class, there)
  prompts = old._replace(
    points=_put(old.points, at, points), point_class=_put(old.point_class, at, of_class)
  )
  return user._replace(prompts=prompts, made=(jnp.where(at.any(1), user.turn, made), boxes))


def with_boxes(user: Interactions, boxes: Array, of_class: Array, there: Array) -> Interactions:
  """With (n, 2, rank) more boxes, first voxels and those after the last, as `with_points`."""
  old, (points, made) = user.prompts, user.made
  at = _places(old.box_class, there)
  prompts = old._replace(
    boxes=_put(old.boxes, at, boxes), box_class=_put(old.box_class, at, of_class)
  )
  return user._replace(prompts=prompts, made=(points, jnp.where(at.any(1), user.turn, made)))


def _places(index, there):
  """(room, n) bool: which of n new prompts gets which place, the first free ones."""
  empty = index == NONE
  free, number = jnp.cumsum(empty), jnp.cumsum(there)
  return empty[:, None] & there[None] & (free[:, None] == number[None])


def _put(old, at, new):
  """(room, ...) values, with those of n new prompts at their places."""
  new = jnp.asarray(new, old.dtype)[jnp.argmax(at, 1)]
  return jnp.where(at.any(1).reshape(-1, *[1] * (old.ndim - 1)), new, old)


def with_drawn(
  user: Interactions, field: str, masks: Array, of_class: Array, there: Array
) -> Interactions:
  """With (n, *space) masks painted as `field`, of (n,) classes, (n,) bool which count."""
  old = user.drawn[field]
  own = (jnp.arange(old.shape[-1])[None] == of_class[:, None]) & there[:, None]
  each = own.reshape(len(own), *[1] * (masks.ndim - 1), -1)
  new = (masks[..., None] & each).any(0).astype(jnp.float32)
  return user._replace(drawn={**user.drawn, field: jnp.maximum(old, new)})


def hidden(user: Interactions, hide: Array) -> Interactions:
  """The same if not `hide`, else without a mark: the network is to find all by itself."""
  prompts = {
    name: jnp.where(hide, NONE, getattr(user.prompts, name))
    for name in ("point_class", "box_class", "stroke_class")
  }
  drawn = {field: jnp.where(hide, 0.0, of) for field, of in user.drawn.items()}
  return user._replace(prompts=user.prompts._replace(**prompts), drawn=drawn)


def sight(of: Encoding, user: Interactions, image: Array, *, classes: int) -> Batch:
  """The fields that show a network these marks; "previous" is empty. See `encoding.show`."""
  ages = (*(user.turn - made for made in user.made), jnp.zeros(0, jnp.int32))
  space = image.shape[:-1]
  return show(of, user.prompts, space, classes=classes, image=image, ages=ages, drawn=user.drawn)


def decided(logits: Array, *, threshold: float = 0.5) -> jax.Array:
  """(..., classes) logits -> int32 classes; of two, the second where its share is above that."""
  if logits.shape[-1] == 2:
    share = jax.nn.softmax(jnp.asarray(logits, jnp.float32), -1)
    return (share[..., 1] > threshold).astype(jnp.int32)
  return logits.argmax(-1).astype(jnp.int32)


def depth(mask: Array) -> jax.Array:
  """How far each voxel of a (*space) mask lies from all others; outside of the image is outside."""
  return distance_transform(~jnp.pad(mask, 1))[(slice(1, -1),) * mask.ndim]


def somewhere(key: jax.Array, mask: Array, number: int) -> jax.Array:
  """(number, rank) int32: voxels of a (*space) mask, drawn one by one; any, where it is empty."""
  order = jnp.cumsum(mask.reshape(-1), dtype=jnp.int32)
  at = (jax.random.uniform(key, (number,)) * order[-1]).astype(jnp.int32)
  # the product of the largest number below 1 may be rounded up
  at = jnp.minimum(at, order[-1] - 1)
  flat = jnp.minimum(jnp.searchsorted(order, at, side="right"), mask.size - 1)
  return jnp.stack(jnp.unravel_index(flat, mask.shape), -1).astype(jnp.int32)


def first_clicks(
  key: jax.Array,
  truth: Array,
  weight: Array,
  *,
  classes: int,
  most: int = 24,
  decline: float = 0.8,
  inner: float = 0.9,
  margin: int = 3,
  border: float = 0.5,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """RITM's clicks at the beginning: at least one into every class that is there, but class 0.

  i more clicks are `decline`^i as likely as none, up to `most` of a class. With probability `inner`
  a class is clicked `margin` voxels inside of its edge, if more than ten voxels are; of the clicks
  into class 0 the share `border` lies close to the others, a tenth of their size away.

  Returns (classes * most, rank) points, (classes * most,) classes, and which of them are there.

  Source: RITM's `MultiPointSampler`, 2102.06583, with balls for its squares.
  """
  rank = truth.ndim
  known = weight > 0
  others = known & (truth > 0)
  around = distance_transform(others)
  reach = jnp.ceil(0.1 * others.sum().astype(jnp.float32) ** (1 / rank))
  close = known & (truth == 0) & (around <= jnp.maximum(reach, 1))

  def of_class(key, index):
    counts, sides, first, second = jax.random.split(key, 4)
    mask, background = known & (truth == index), index == 0
    inside = mask & (distance_transform(~mask) > margin)
    special = jnp.where(background, close, jnp.where(inside.sum() > 10, inside, mask))
    options = jnp.arange(most + 1) * jnp.log(decline)
    # of the foreground from 1, of the background from 0
    options = jnp.where(background | (jnp.arange(most + 1) < most), options, -jnp.inf)
    number = jax.random.categorical(counts, options) + jnp.where(background, 0, 1)
    once, each = jax.random.uniform(sides, ()), jax.random.uniform(sides, (most,))
    there = special.any() & jnp.where(background, each < border, once < inner)
    points = (somewhere(of, place, most) for of, place in ((first, special), (second, mask)))
    points = jnp.where(there[:, None], *points)
    return points, (jnp.arange(most) < number) & mask.any()

  keys = jax.random.split(key, classes)
  points, there = jax.vmap(of_class)(keys, jnp.arange(classes))
  of_class = jnp.repeat(jnp.arange(classes, dtype=jnp.int32), most)
  return points.reshape(-1, rank), of_class, there.reshape(-1)


def click_of_each(
  key: jax.Array, wrong: Array, truth: Array, *, classes: int
) -> tuple[jax.Array, jax.Array]:
  """Of each class a voxel that it should have, where `wrong`: (classes, rank), and which have any.

  A voxel at the depth d of its class's error is drawn with a probability in proportion to
  exp(d) - 1: DeepEdit's rule, with Euclidean distances for its chessboard's.
  """

  def of_class(key, index):
    error = wrong & (truth == index)
    inside = depth(error)
    # log(exp(d) - 1), which of large d is d
    odds = inside + jnp.log(-jnp.expm1(-jnp.maximum(inside, 0.5)))
    drawn = jax.random.gumbel(key, (error.size,)).reshape(error.shape)
    at = jnp.argmax(jnp.where(error, odds + drawn, -jnp.inf))
    return jnp.stack(jnp.unravel_index(at, error.shape)).astype(jnp.int32), error.any()

  return jax.vmap(of_class)(jax.random.split(key, classes), jnp.arange(classes))


def largest_error(
  key: jax.Array, truth: Array, logits: Array, weight: Array, *, threshold: float = 0.5
) -> Click:
  """Where a user clicks next in training, see `next_click`."""
  said = decided(logits, threshold=threshold)
  return next_click(truth, said, classes=logits.shape[-1], weight=weight, key=key)
