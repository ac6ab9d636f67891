"""Points, scribbles, boxes and lassos of a user in a volume, each in channels of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg.interaction import simulate
from jaxseg.losses import Loss
from jaxseg.method import Method
from jaxseg.methods import marking
from jaxseg.methods.labelled import supervision
from jaxseg.methods.prompted import Turns, User, prompted, prompts_of

# of two classes seven channels: the mask before, boxes and lassos, points, scribbles
PROMPTS = {
  "points": {"name": "ball", "radius": 4},
  "boxes": "all",
  "strokes": "apart",
  "thickness": 2.0,
  "previous": "mask",
  "decay": 0.98,
}


def nninteractive(
  network: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  *,
  prompts: Mapping[str, Any] = PROMPTS,
  turns: int = 3,
  kinds: Sequence[str] = marking.KINDS,
  automatic: float = 0.1,
  head_decay: float = 0.5,
  sigmoid: bool = False,
) -> Method:
  """A network that takes all kinds of prompts, as nnInteractive (Isensee et al. 2025, 2503.08373).

  The user marks an object in one of `kinds`: a point inside of it, or in one plane of a volume a
  scribble, a box or a lasso; then, 0 to `turns` times, looks at the answer and marks its largest
  error in the same ways: what is wrongly foreground as background. Older marks fade by
  `prompts.decay` each turn. The maps and their constants are nnInteractive's; its trainer is not
  public, so that what is drawn, and how often, is this method's own.

  Args:
    network: one whose size of output is the input's; nnInteractive's is `resenc_unet`.
    loss: (logits, Target) -> scalar.
    optimiser: an Optax transformation.
    prompts: what the network sees, see `interaction.encoding`.
    turns: at most so many corrections, the same number for a batch.
    kinds: of `marking.KINDS`, each as likely.
    automatic: share of the samples that are shown nothing.
    head_decay: see `supervised`.
    sigmoid: labels are regions, which is refused.
  """
  needed = {"points": "ball", "boxes": "all", "strokes": "apart"}
  of = prompts_of(prompts, "nninteractive", sigmoid=sigmoid, **needed)
  marking.check_kinds(kinds, "nninteractive: kinds")
  classes = network.classes
  room = classes - 1 + turns

  def draw(key, region, point):
    thickness = max(round(of.thickness), 1)
    return marking.draw(key, region, point, kinds=kinds, thickness=thickness)

  def begin(key, truth, weight):
    options = {"points": room, "boxes": room, "drawn": ("strokes", "prompt_box")}
    user = simulate.nothing(truth.shape, classes=classes, **options)
    objects = jnp.arange(1, classes, dtype=jnp.int32)

    def of_object(key, index):
      at_point, at_draw = jax.random.split(key)
      region = (weight > 0) & (truth == index)
      return draw(at_draw, region, marking.centre(at_point, region)), region.any()

    drawn, there = jax.vmap(of_object)(jax.random.split(key, classes - 1), objects)
    return marking.put(user, drawn, objects, there, kinds=kinds)

  def correct(key, user, truth, weight, logits):
    at_click, at_draw = jax.random.split(key)
    user = simulate.next_turn(user, of.decay)
    click = simulate.largest_error(at_click, truth, logits, weight)
    wrong = (weight > 0) & (simulate.decided(logits) != truth)
    drawn = draw(at_draw, wrong & (truth == click.of_class), click.point)
    drawn, (_, of_class, there) = jax.tree.map(lambda x: x[None], (drawn, tuple(click)))
    return marking.put(user, drawn, of_class, there, kinds=kinds)

  return prompted(
    network,
    supervision(loss, decay=head_decay),
    optimiser,
    User(begin, correct),
    of,
    turns=Turns(turns, automatic=automatic),
  )
