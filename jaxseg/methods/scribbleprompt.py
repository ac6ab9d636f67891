"""ScribblePrompt: boxes, clicks and scribbles, and the logits before, in a few channels."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg.interaction import scribbles, simulate
from jaxseg.losses import Loss
from jaxseg.method import Method
from jaxseg.methods import marking
from jaxseg.methods.labelled import supervision
from jaxseg.methods.prompted import Turns, User, prompted, prompts_of

# of two classes: logits, box of the foreground, and clicks among the scribbles of both
PROMPTS = {
  "points": {"name": "disk", "radius": 0.0},
  "boxes": "foreground",
  "strokes": "points",
  "previous": "logits",
}


def scribbleprompt(
  network: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  *,
  prompts: Mapping[str, Any] = PROMPTS,
  answers: int = 5,
  most: int = 3,
  thickness: int = 1,
  jitter: float = 5.0,
  automatic: float = 0.0,
  head_decay: float = 0.5,
  sigmoid: bool = False,
) -> Method:
  """Training with simulated scribbles, clicks and boxes (Wong et al. 2023, 2312.07381).

  The user begins with a box, clicks or scribbles, or several of them, all seven combinations alike;
  then corrects each answer by clicks or by scribbles where it is wrong. The network learns from all
  of its answers, and sees all marks and the logits before. Lines, centre lines and contours are
  broken and warped, see `interaction.scribbles`; those of a volume lie in one of its planes.

  Args:
    network: one whose size of output is the input's; the paper's is `scribble_unet`.
    loss: (logits, Target) -> scalar; the paper's is focal + Dice.
    optimiser: an Optax transformation.
    prompts: what the network sees, see `interaction.encoding`.
    answers: of the network for each step of the optimiser.
    most: clicks at a time.
    thickness: of scribbles in voxels.
    jitter: a box's sides lie up to so many voxels outside.
    automatic: share of the samples whose first answer is made without marks, and corrected then, as
      in a session that begins with the automatic segmentation; the paper's is 0.
    head_decay: see `supervised`.
    sigmoid: labels are regions, which is refused.
  """
  needed = {"points": "disk", "boxes": "foreground", "strokes": "points"}
  of = prompts_of(prompts, "scribbleprompt", sigmoid=sigmoid, **needed)
  classes = network.classes
  every = jnp.arange(classes, dtype=jnp.int32)

  def begin(key, truth, weight):
    at_kinds, at_box, at_click, at_scribble = jax.random.split(key, 4)
    # corrections come later: of each class `most` clicks, then `most` a turn
    room = classes * most + (answers - 1) * most
    options = {"points": room, "boxes": classes - 1, "drawn": ("strokes",)}
    user = simulate.nothing(truth.shape, classes=classes, **options)
    kinds = jax.random.randint(at_kinds, (), 1, 8)
    box, click, scribble = ((kinds >> i) % 2 == 1 for i in range(3))
    masks = of_each(weight > 0, truth)
    there = masks.any(tuple(range(1, masks.ndim)))

    def box_of(key, mask):
      return jnp.stack(marking.box_around(key, mask, jitter=jitter))

    boxes = jax.vmap(box_of)(jax.random.split(at_box, classes - 1), masks[1:])
    user = simulate.with_boxes(user, boxes, every[1:], there[1:] & box)
    points, clicked = jax.vmap(clicks)(jax.random.split(at_click, classes), masks, every)
    clicked = (clicked & there[:, None] & click).reshape(-1)
    of_class = jnp.repeat(every, most)
    user = simulate.with_points(user, points.reshape(-1, truth.ndim), of_class, clicked)
    return scribbled(at_scribble, user, masks, scribble)

  def correct(key, user, truth, weight, logits):
    at_kind, at_place, at_number, at_scribble = jax.random.split(key, 4)
    user = simulate.next_turn(user, of.decay)
    wrong = (weight > 0) & (simulate.decided(logits) != truth)
    by_scribble = jax.random.bernoulli(at_kind)
    points = simulate.somewhere(at_place, wrong, most)
    there = marking.number_of(at_number, most) & wrong.any() & ~by_scribble
    user = simulate.with_points(user, points, truth[tuple(points.T)], there)
    return scribbled(at_scribble, user, of_each(wrong, truth), by_scribble)

  def of_each(mask, truth):
    """(classes, *space) bool: a mask's voxels of each class."""
    return mask[None] & (truth[None] == every.reshape(-1, *[1] * truth.ndim))

  def clicks(key, mask, index):
    """Points of one class, and which of them are there."""
    at_number, at_place, at_centre, at_which = jax.random.split(key, 4)
    # the foreground is clicked at least once
    number = jax.random.randint(at_number, (), jnp.minimum(index, 1), most + 1)
    points = simulate.somewhere(at_place, mask, most)
    centre = marking.centre(at_centre, mask)
    first = jnp.where(jax.random.bernoulli(at_which), centre, points[0])
    return jnp.concatenate([first[None], points[1:]]), jnp.arange(most) < number

  def scribbled(key, user, masks, there):
    """With a scribble of each class, in its mask."""

    def of_class(key, mask):
      at_point, at_draw = jax.random.split(key)
      point = simulate.somewhere(at_point, mask, 1)[0]
      return scribbles.in_a_plane(at_draw, draw, mask, point)

    drawn = jax.vmap(of_class)(jax.random.split(key, classes), masks)
    return simulate.with_drawn(user, "strokes", drawn, every, jnp.full(classes, there))

  def draw(key, mask):
    return scribbles.scribble(key, mask, thickness=thickness)

  return prompted(
    network,
    supervision(loss, decay=head_decay),
    optimiser,
    User(begin, correct),
    of,
    turns=Turns(answers - 1, each=True, automatic=automatic),
  )
