"""A method with two views, one of them optional, and the stream that it needs: tests know it."""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg import batch as batch_module
from jaxseg.augment.views import View
from jaxseg.losses import Loss, consistency
from jaxseg.losses.voxels import probabilities
from jaxseg.method import Method, State, descend, forward, learner
from jaxseg.methods import labelled
from jaxseg.methods.needs import Needs
from jaxseg.schedules import Schedule

NEEDS = Needs(streams=("unlabelled",))


def steady(
  network: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  strong: View,
  weak: View | None = None,
  *,
  consistency_weight: float | Schedule = 0.1,
  sigmoid: bool = False,
) -> Method:
  """Two views of the unlabelled images are to look the same to a network."""
  supervision = labelled.supervision(loss)

  def init(key, batch):
    step = jnp.zeros((), jnp.int32)
    return State(step, {"network": learner(network, optimiser, key, batch["image"])})

  def train_step(state, batch, key):
    current = state.learners["network"]
    ours, theirs, noise = jax.random.split(key, 3)
    first = batch["unlabelled"] if weak is None else weak(ours, batch["unlabelled"])
    second = strong(theirs, batch["unlabelled"])["image"]

    def objective(params):
      x = labelled.images(batch, first)
      out, stats = forward(network, params, current.stats, x, key=noise, update_stats=True)
      known, rest = labelled.parts(out, batch)
      other, _ = forward(network, params, current.stats, second, key=noise, update_stats=True)
      pair = (probabilities(of["logits"], sigmoid=sigmoid) for of in (rest, other))
      apart = consistency.squared_difference(*pair)
      factor = labelled.value(consistency_weight, state.step)
      total = supervision(known, batch_module.target(batch, state.step)) + factor * apart
      return total, (stats, {"consistency": apart})

    updated, metrics = descend(optimiser, current, objective)
    return state.replace(step=state.step + 1, learners={"network": updated}), metrics

  def apply(state, batch):
    current = state.learners["network"]
    return forward(network, current.params, current.stats, batch["image"])[0]

  return Method(init, train_step, apply)
