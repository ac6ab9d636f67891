"""Supervised training: one network, one optimiser, one loss; deep supervision if it has heads."""

from collections.abc import Sequence

import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxseg import batch as batch_module
from jaxseg.losses import Loss
from jaxseg.method import Method, State, descend, forward, learner
from jaxseg.methods.labelled import supervision
from jaxseg.schedules import Schedule


def supervised(
  network: nn.Module,
  loss: Loss,
  optimiser: optax.GradientTransformation,
  *,
  head_decay: float = 0.5,
  drop_last_head: bool = False,
  head_weights: Sequence[float] | None = None,
  auxiliary: float | Schedule = 1.0,
  freeze_statistics: bool = False,
) -> Method:
  """Minimises `loss` between a network's logits and the labels.

  Args:
    network: returns {"logits" (or "image"), and "aux" in training if it has deep-supervision
      heads}.
    loss: (logits, Target) -> scalar.
    optimiser: an Optax transformation.
    head_decay: weight of each coarser head relative to the next finer one (1909.07330's recipe
      as nnU-Net uses it: 1/2).
    drop_last_head: gives the coarsest head no weight, as nnU-Net does.
    head_weights: fixed weights instead, the finest head's first.
    auxiliary: factor of all heads but the finest, or a schedule of it.
    freeze_statistics: normalises with the running statistics and leaves them as they are, for
      training that starts from another run's weights.
  """
  heads = supervision(
    loss,
    decay=head_decay,
    drop_last=drop_last_head,
    weights=head_weights,
    auxiliary=auxiliary,
  )

  def init(key, batch):
    step = jnp.zeros((), jnp.int32)
    return State(step, {"network": learner(network, optimiser, key, batch["image"])})

  def train_step(state, batch, key):
    current = state.learners["network"]
    target = batch_module.target(batch, state.step)

    def objective(params):
      outputs, stats = forward(
        network,
        params,
        current.stats,
        batch["image"],
        key=key,
        update_stats=not freeze_statistics,
        train=True,
      )
      return heads(outputs, target), (stats, {})

    updated, metrics = descend(optimiser, current, objective)
    return state.replace(step=state.step + 1, learners={"network": updated}), metrics

  def apply(state, batch):
    current = state.learners["network"]
    return forward(network, current.params, current.stats, batch["image"])[0]

  return Method(init, train_step, apply)
