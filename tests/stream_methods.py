"""A method of a few lines that is fed from two streams: supervised, and sure of the unlabelled."""

import functools

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg.batch import target
from jaxseg.losses import Loss
from jaxseg.method import Method, State, descend, forward, learner


def confident(
  network: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  *,
  stream: str = "rest",
  weight: float = 0.1,
) -> Method:
  """The supervised loss, plus the entropy of what the network says of a further stream."""

  def init(key, batch):
    return State(
      jnp.zeros((), jnp.int32), {"network": learner(network, optimiser, key, batch["image"])}
    )

  def train_step(state, batch, key):
    current = state.learners["network"]

    def objective(params):
      run = functools.partial(forward, network, params, key=key, update_stats=True)
      outputs, stats = run(current.stats, batch["image"])
      unsure, _ = run(current.stats, batch[stream]["image"])
      share = jax.nn.softmax(unsure["logits"])
      entropy = -jnp.mean(jnp.sum(share * jnp.log(share + 1e-7), -1))
      supervised = loss(outputs["logits"], target(batch, state.step))
      return supervised + weight * entropy, (stats, {"entropy": entropy})

    updated, metrics = descend(optimiser, current, objective)
    return state.replace(step=state.step + 1, learners={"network": updated}), metrics

  def apply(state, batch):
    current = state.learners["network"]
    return forward(network, current.params, current.stats, batch["image"])[0]

  return Method(init, train_step, apply)
