"""DeepEdit: one network that segments by itself, and corrects what a user clicks."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg.interaction import simulate
from jaxseg.interaction.prompts import NONE
from jaxseg.losses import Loss
from jaxseg.method import Method
from jaxseg.methods.labelled import supervision
from jaxseg.methods.prompted import Turns, User, prompted, prompts_of

# of DeepGrow's, one Gaussian map for each class; DeepEdit's network sees no earlier answer
PROMPTS = {"points": {"name": "gaussian", "sigma": 2.0}}


def deepedit(
  network: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  *,
  prompts: Mapping[str, Any] = PROMPTS,
  clicks: int = 3,
  automatic: float = 0.5,
  most: int = 10,
  head_decay: float = 0.5,
  sigmoid: bool = False,
) -> Method:
  """Automatic segmentation and clicks in one network (Diaz-Pinto et al. 2022, 2203.12362).

  A user clicks each class that is there, then looks at the answer `clicks` times, the j-th time,
  from 0, with probability 1 - j / `clicks`, and clicks into the error of every class. Of all clicks
  those of some classes stay: classes in a random order, until there are as many clicks as was drawn
  from 1 to `most`. The share `automatic` of the samples sees none of it, each sample drawn by
  itself: MONAI 1.6's `Interaction` draws once for a batch, and empties its first sample alone.

  Args:
    network: one whose size of output is the input's.
    loss: (logits, Target) -> scalar.
    optimiser: an Optax transformation.
    prompts: what the network sees, see `interaction.encoding`.
    clicks: how often the user looks, MONAI's inner iterations.
    automatic: share of the samples, 1 - MONAI's `deepgrow_probability`.
    most: clicks that may stay.
    head_decay: see `supervised`.
    sigmoid: labels are regions, which is refused.
  """
  of = prompts_of(prompts, "deepedit", sigmoid=sigmoid, points="gaussian")
  classes = network.classes
  every = jnp.arange(classes, dtype=jnp.int32)

  def begin(key, truth, weight):
    at_click, at_some = jax.random.split(key)
    user = simulate.nothing(truth.shape, classes=classes, points=classes * (clicks + 1))
    points, there = simulate.click_of_each(at_click, weight > 0, truth, classes=classes)
    return some(at_some, simulate.with_points(user, points, every, there))

  def correct(key, user, truth, weight, logits):
    at_click, at_chance, at_some = jax.random.split(key, 3)
    looks = jax.random.uniform(at_chance) < 1 - user.turn / clicks
    user = simulate.next_turn(user, of.decay)
    wrong = (weight > 0) & (simulate.decided(logits) != truth)
    points, there = simulate.click_of_each(at_click, wrong, truth, classes=classes)
    more = some(at_some, simulate.with_points(user, points, every, there))
    return jax.tree.map(lambda a, b: jnp.where(looks, a, b), more, user)

  def some(key, user):
    """The clicks of some classes."""
    at_order, at_number = jax.random.split(key)
    order = jax.random.permutation(at_order, classes)
    index = user.prompts.point_class
    counts = (index[:, None] == order[None]).sum(0)
    before = jnp.cumsum(counts) - counts
    stays = before < jax.random.randint(at_number, (), 1, most + 1)
    # by class, not in that order
    stays = jnp.zeros(classes, bool).at[order].set(stays)
    index = jnp.where(stays[jnp.maximum(index, 0)], index, NONE)
    return user._replace(prompts=user.prompts._replace(point_class=index))

  return prompted(
    network,
    supervision(loss, decay=head_decay),
    optimiser,
    User(begin, correct),
    of,
    turns=Turns(clicks, drawn=False, automatic=automatic),
  )
